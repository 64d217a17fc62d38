//! The filter as an image: through a real registry and back, as Istio's agent fetches it, into a
//! real Envoy.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

mod agent;
mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest, OciLayout};
use registry::{Registry, copy};
use serde_json::{Value, json};
use sidetrack_lab::{Client, Envoy, EnvoyBinary, EnvoyOptions, ModelStub, Request};
use sidetrack_tests::artifact;
use sidetrack_tests::world::sidetrack_command;

fn package(wasm: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(artifact::cli());
    command
        .arg("package")
        .arg("--wasm")
        .arg(wasm)
        .arg("--out")
        .arg(out)
        .args(more)
        .env("NO_COLOR", "1");
    command.output().unwrap()
}

/// Packages the filter that ships; the report for machines.
fn packaged(out: &Path, more: &[&str]) -> Value {
    let run = package(artifact::wasm(), out, &[&["--json"], more].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(
                self::files(&path)
                    .into_iter()
                    .map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn a_compat_image_goes_through_a_registry_and_runs_in_envoy() {
    through_a_registry("compat").await;
}

#[tokio::test]
async fn an_artifact_image_goes_through_a_registry_and_runs_in_envoy() {
    through_a_registry("artifact").await;
}

async fn through_a_registry(layout: &str) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let report = packaged(&image, &["--layout", layout, "--tag", "v1"]);
    let (digest, sha256) = (report["digest"].as_str().unwrap(), report["sha256"].as_str().unwrap());

    let registry = Registry::start().await;
    let remote = format!("docker://{}/mesh/sidetrack:v1", registry.addr);
    copy(&format!("oci:{}:v1", image.display()), &remote);
    let told =
        registry.get("/v2/mesh/sidetrack/manifests/v1").await.header_text("docker-content-digest");
    assert_eq!(told.as_deref(), Some(digest), "the registry's digest is the one that we print");

    let back = dir.path().join("back");
    copy(&remote, &format!("oci:{}:v1", back.display()));
    let blobs = |folder: &Path| files(&folder.join("blobs"));
    assert!(blobs(&back) == blobs(&image), "other blobs came back");

    let module = agent::fetch(&registry, "mesh/sidetrack", "v1", sha256).await.unwrap();
    assert_eq!(
        agent::hexadecimal(&module),
        agent::hexadecimal(&fs::read(artifact::wasm()).unwrap())
    );
    let refused = agent::fetch(&registry, "mesh/sidetrack", "v1", &"0".repeat(64)).await;
    assert!(refused.unwrap_err().contains("the WasmPlugin says"));
    let pulled = dir.path().join("pulled.wasm");
    fs::write(&pulled, module).unwrap();
    splits(&pulled, dir.path()).await;
}

/// Runs a module in Envoy: half of the users get the candidate, and a header reports it.
async fn splits(wasm: &Path, dir: &Path) {
    let (old, new) =
        (ModelStub::start("old").await.unwrap(), ModelStub::start("new").await.unwrap());
    let file = dir.join("experiment.json");
    let experiment = json!({"experiments": [{
        "name": "pulled", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old", "cluster": "old"}, {"name": "new", "cluster": "new", "weight": 50}],
    }]});
    fs::write(&file, experiment.to_string()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut arguments: Vec<String> =
        vec!["render".into(), "envoy".into(), text(&file), "--wasm".into(), text(wasm)];
    arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(ToOwned::to_owned));
    arguments.extend(["--access-log".to_owned(), text(&dir.join("access.log"))]);
    for stub in [&old, &new] {
        arguments.extend(["--endpoint".to_owned(), format!("{}={}", stub.name(), stub.addr())]);
    }
    let bootstrap = sidetrack_command(&arguments).unwrap();
    let envoy =
        Envoy::start(EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap)).await.unwrap();
    let addr = ([127, 0, 0, 1], envoy.listener_port("predictors").await.unwrap()).into();
    let client = Client::new(addr);
    for user in 0..40 {
        let answer =
            client.send(Request::get("/").header("x-user-id", user.to_string())).await.unwrap();
        let (model, told) = (answer.header_text("x-model"), answer.header_text("x-ab-variant"));
        assert!(model.is_some() && model == told, "{user}: {model:?} served, {told:?} was told");
    }
    assert!(old.count() > 5 && new.count() > 5, "{} and {}", old.count(), new.count());
    envoy.stop().await.unwrap();
}

#[test]
fn the_layout_is_what_the_specification_says() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    packaged(&image, &["--annotation", "org.opencontainers.image.source=https://example.com/s"]);
    packaged(&image, &["--layout", "artifact", "--tag", "artifact"]);
    let layout = OciLayout::from_file(image.join("oci-layout")).unwrap();
    assert_eq!(layout.image_layout_version(), "1.0.0");
    let index = ImageIndex::from_file(image.join("index.json")).unwrap();
    let names: Vec<_> =
        index.manifests().iter().map(|m| m.annotations().clone().unwrap()).collect();
    assert_eq!(names.len(), 2, "an image more keeps the one before: {names:?}");
    assert_eq!(names[0]["org.opencontainers.image.ref.name"], env!("CARGO_PKG_VERSION"));
    assert_eq!(names[1]["org.opencontainers.image.ref.name"], "artifact");
    let read = |descriptor: &oci_spec::image::Descriptor| {
        let digest = descriptor.digest().digest();
        let bytes = fs::read(image.join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(
            (descriptor.size(), agent::hexadecimal(&bytes).as_str()),
            (bytes.len() as u64, digest)
        );
        bytes
    };
    for entry in index.manifests() {
        let manifest = ImageManifest::from_reader(read(entry).as_slice()).unwrap();
        manifest.layers().iter().for_each(|layer| drop(read(layer)));
        read(manifest.config());
    }
    let manifest = ImageManifest::from_reader(read(&index.manifests()[0]).as_slice()).unwrap();
    let annotations = manifest.annotations().clone().unwrap();
    assert_eq!(annotations["org.opencontainers.image.source"], "https://example.com/s");
    assert_eq!(annotations["module.wasm.image/variant"], "compat");
    let config = ImageConfiguration::from_reader(read(manifest.config()).as_slice()).unwrap();
    let layer = read(&manifest.layers()[0]);
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer.as_slice()), &mut tar)
        .unwrap();
    assert_eq!(config.rootfs().diff_ids(), &[format!("sha256:{}", agent::hexadecimal(&tar))]);
}

#[test]
fn the_same_module_gives_the_same_bytes_and_a_tag_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let first = packaged(&one, &[]);
    fs::create_dir(&two).unwrap();
    let elsewhere = dir.path().join("other-name.wasm");
    fs::copy(artifact::wasm(), &elsewhere).unwrap();
    let run = package(&elsewhere, &two, &["--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&run.stdout).unwrap(), first);
    assert!(files(&one) == files(&two));
    assert_eq!(packaged(&two, &[]), first, "again, into the same folder");
    assert!(files(&one) == files(&two));
    // A run that was cut off before the index was there.
    fs::remove_file(two.join("index.json")).unwrap();
    packaged(&two, &[]);
    assert!(files(&one) == files(&two));
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["digest", "layout", "sha256", "size", "tag", "url", "version"]);
    assert_eq!(first["size"], fs::read(artifact::wasm()).unwrap().len());
}

#[test]
fn people_get_the_next_commands() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let run = package(
        artifact::wasm(),
        &image,
        &["--tag", "v1", "--repository", "127.0.0.1:5000/mesh/sidetrack"],
    );
    let said = String::from_utf8(run.stdout).unwrap();
    let sha256 = packaged(&image, &["--tag", "v1"])["sha256"].as_str().unwrap().to_owned();
    let skopeo = format!(
        "\n  skopeo copy --preserve-digests oci:{}:v1 docker://127.0.0.1:5000/mesh/sidetrack:v1\n",
        image.display()
    );
    assert!(said.contains(&skopeo), "{said}");
    assert!(
        said.contains(&format!(
            "\n  url: oci://127.0.0.1:5000/mesh/sidetrack:v1\n  sha256: {sha256}\n"
        )),
        "{said}"
    );
}

/// A folder that holds something else is left as it is.
#[test]
fn a_folder_of_somebody_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, file) = (dir.path().join("mine"), dir.path().join("file"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("thesis.tex"), "years of work").unwrap();
    fs::write(&file, "").unwrap();
    let broken = dir.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("oci-layout"), "{}").unwrap();
    fs::write(broken.join("index.json"), "{").unwrap();
    for (out, why) in
        [(&folder, "contains \"thesis.tex\""), (&file, "is a file"), (&broken, "is not valid JSON")]
    {
        let run = package(artifact::wasm(), out, &[]);
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let before = files(dir.path());
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        ["broken/index.json", "broken/oci-layout", "file", "mine/thesis.tex"]
    );
}

#[test]
fn what_is_no_filter_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let module = |text: &str| wat::parse_str(text).unwrap();
    let whole = fs::read(artifact::wasm()).unwrap();
    let other_abi = r#"(module (func (export "proxy_abi_version_0_1_0")))"#;
    let other_filter = r#"(module (func (export "proxy_abi_version_0_2_1")))"#;
    let unfit =
        r#"(module (@custom "sidetrack" "\1b[31m") (func (export "proxy_abi_version_0_2_1")))"#;
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", vec![], "is too short to be a module"),
        ("text", b"#!/bin/sh".to_vec(), "begins with \"#!/b\""),
        ("gzip", vec![0x1f, 0x8b, 8, 0], "is a gzip archive"),
        ("cut-off", whole[..whole.len() - 1000].to_vec(), "is not a valid WebAssembly module"),
        (
            "no-filter",
            module("(module)"),
            "is a WebAssembly module, but not a proxy filter: it does not export",
        ),
        (
            "other-abi",
            module(other_abi),
            "exports proxy_abi_version_0_1_0, but must export proxy_abi_version_0_2_1",
        ),
        ("other-filter", module(other_filter), "is a proxy filter, but not Sidetrack's"),
        ("unfit", module(unfit), "is a proxy filter, but not Sidetrack's"),
        ("for-tests", fs::read(artifact::crashing_wasm()).unwrap(), "is a build for tests"),
    ];
    for (name, bytes, why) in cases {
        let (wasm, out) = (dir.path().join(name), dir.path().join("out"));
        fs::write(&wasm, bytes).unwrap();
        let run = package(&wasm, &out, &[]);
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("{}: {why}", wasm.display())), "{name}: {said}");
        assert!(said.contains("hint: "), "{name}: {said}");
        assert!(!out.exists(), "{name}: nothing is written");
    }
    let missing = package(&dir.path().join("missing"), &dir.path().join("out"), &[]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
}
