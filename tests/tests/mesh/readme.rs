//! The commands of `istio/README.md`, one after the other, as a reader runs them: on the real API
//! server, with a gateway and two models behind it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sidetrack_tests::artifact;
use sidetrack_tests::mesh::{Mesh, PodOptions, Port, Role, program};

use crate::stand::{BASELINE, Caller, ENHANCED, GATEWAY_PORT, HOST, Stand, experiment};

/// What needs the internet: Istio's chart. The file that it reads is checked instead.
const NOT_RUN: &str = "helm upgrade istiod ";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The shell commands of the page, each with the heading above it.
fn commands(page: &str) -> Vec<(String, String)> {
    let (mut heading, mut inside, mut all) = (String::new(), false, Vec::new());
    for line in page.lines() {
        let text = line.trim();
        if text.starts_with("```") {
            inside = text == "```sh";
        } else if inside && !text.is_empty() {
            all.push((heading.clone(), text.to_owned()));
        } else if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        }
    }
    all
}

/// A copy of `istio/`, whose files the commands write.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["istio", "istio/rendered"] {
        fs::create_dir(copy.path().join(folder)).unwrap();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let file: PathBuf = entry.unwrap().path();
            if folder == "istio" && file.is_file() {
                fs::copy(&file, copy.path().join(folder).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work() {
    let mesh = Mesh::shared();
    let (ingress, models) = ("istio-ingress", "models");
    for namespace in [ingress, models] {
        // Another test may have made it.
        mesh.kubectl(&["create", "namespace", namespace]).ok();
    }
    let labels = |version: &str| json!({"app": "predictor", "version": version});
    let baseline = mesh.model(models, BASELINE, &labels(BASELINE)).await.unwrap();
    let enhanced = mesh.model(models, ENHANCED, &labels(ENHANCED)).await.unwrap();
    mesh.service("predictor", &json!({"app": "predictor"}), &[Port::HTTP], &[&baseline, &enhanced])
        .unwrap();
    let stand =
        Stand { mesh, ingress: ingress.to_owned(), models: models.to_owned(), baseline, enhanced };
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "predictor-gateway", "namespace": ingress},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{
            "port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]}]},
    });
    mesh.apply_objects(&[gateway]).unwrap();
    let labels = [("istio", "ingressgateway")];
    let gateway = mesh.pod(PodOptions::new(Role::Gateway, ingress, "gateway-0", &labels)).unwrap();
    let client = gateway.client(GATEWAY_PORT);
    let assigned = stand.assigned(&experiment(30.0), 300);
    let all_baseline: BTreeMap<String, String> =
        assigned.keys().map(|user| (user.clone(), BASELINE.to_owned())).collect();
    let page = fs::read_to_string(root().join("istio/README.md")).unwrap();
    let folder = copy();
    let path = format!(
        "{}:{}:{}",
        artifact::cli().parent().unwrap().display(),
        program("kubectl").unwrap().parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut run = 0;
    let commands = commands(&page);
    for (index, (heading, command)) in commands.iter().enumerate() {
        if command.starts_with(NOT_RUN) {
            continue;
        }
        // The registry of this mesh instead of the placeholder.
        let command = command.replace("oci://registry.example.com/sidetrack:0.1.0", mesh.image());
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("KUBECONFIG", mesh.kubeconfig())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{heading}: {command}\n{errors}");
        run += 1;
        if commands.get(index + 1).is_some_and(|(next, _)| next == heading) {
            continue;
        }
        let expected = match heading.as_str() {
            "Start the first test" | "Change a weight" => &assigned,
            "Stop an experiment" | "Roll back and remove" => &all_baseline,
            _ => continue,
        };
        // A push takes about a second to reach the proxy.
        let begun = std::time::Instant::now();
        loop {
            let served = Caller::new(HOST).served(&client, assigned.keys().cloned()).await;
            if served.as_ref().is_ok_and(|served| served == expected) {
                break;
            }
            let late = begun.elapsed() > std::time::Duration::from_secs(30);
            assert!(!late, "after {heading}: {served:?}\n{}", gateway.log_tail(20));
        }
    }
    assert!(run >= 18, "{run} commands");
    let left = mesh.kubectl(&["-n", ingress, "get", "wasmplugins", "-o", "name"]).unwrap();
    println!("{run} commands of istio/README.md; plugins left: {left}");
}
