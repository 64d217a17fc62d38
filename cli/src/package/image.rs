//! The image in memory: its blobs and its manifest, every byte determined by the module and the annotations.
//!
//! The necessary types of the OCI image specification are defined here, with fields in a fixed order and
//! sorted annotations, because the digest of an image is that of its manifest's text.

use std::collections::BTreeMap;

use flate2::Crc;
use miniz_oxide::deflate::compress_to_vec;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Layout;
use super::module::Module;
use crate::digest::sha256;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The two kinds of layers of a "Wasm artifact image"; Istio's agent wants exactly two layers, one of them of the second kind.
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// The name of the module in a layer, which Istio's agent expects.
const FILE: &str = "plugin.wasm";

/// What refers to a blob.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    pub(super) digest: String,
    size: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<&'a str, &'a str>,
}

/// An image: its blobs, and what refers to its manifest.
pub(super) struct Image {
    pub(super) manifest: Descriptor,
    /// By digest; the manifest's is the last.
    pub(super) blobs: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// The image of a module.
    ///
    /// # Errors
    ///
    /// None in practice: everything is written to memory.
    pub(super) fn new(
        module: &Module,
        layout: Layout,
        extra: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let empty = Descriptor {
            media_type: MANIFEST.to_owned(),
            digest: String::new(),
            size: 0,
            annotations: BTreeMap::new(),
        };
        let mut image = Self { manifest: empty, blobs: Vec::new() };
        let mut annotations = BTreeMap::from([
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.title", "sidetrack"),
            ("org.opencontainers.image.version", module.version.as_str()),
        ]);
        let (config, layers) = match layout {
            Layout::Compat => {
                annotations.insert("module.wasm.image/variant", "compat");
                let tar = archive(&module.bytes)?;
                // The platform of a module that runs everywhere, in Go's words as the specification has it.
                let config = json!({
                    "architecture": "wasm", "os": "wasip1", "config": {},
                    "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
                });
                (image.add(CONFIG, text(&config)?, None), vec![image.add(LAYER, gzip(&tar), None)])
            }
            Layout::Artifact => {
                let runtime = json!({"type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {"root_ids": []}});
                let runtime = text(&runtime)?;
                let about = image.add(WASM_CONFIG, runtime.clone(), Some("runtime-config.json"));
                let module = image.add(WASM_LAYER, module.bytes.clone(), Some(FILE));
                (image.add(WASM_CONFIG, runtime, None), vec![about, module])
            }
        };
        annotations.extend(extra.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let manifest =
            Manifest { schema_version: 2, media_type: MANIFEST, config, layers, annotations };
        let manifest = text(&manifest)?;
        image.manifest = image.add(MANIFEST, manifest, None);
        Ok(image)
    }

    fn add(&mut self, media_type: &str, bytes: Vec<u8>, title: Option<&str>) -> Descriptor {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.blobs.push((digest.clone(), bytes));
        let title =
            title.map(|title| ("org.opencontainers.image.title".to_owned(), title.to_owned()));
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: title.into_iter().collect(),
        }
    }
}

/// `sha256:` and 64 hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// JSON on one line, with its newline: people look at blobs with `cat`.
fn text(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text)
}

/// A tar of the one file, which belongs to root and is of 1970.
fn archive(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(module.len())?);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, FILE, module)?;
    Ok(tar.into_inner()?)
}

/// A gzip stream without a time, a name or a word about the system (RFC 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, the slowest compression, an unknown system.
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    let mut sum = Crc::new();
    sum.update(bytes);
    [&HEAD[..], &compress_to_vec(bytes, 9), &sum.sum().to_le_bytes(), &sum.amount().to_le_bytes()]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of the digest here changes the digests of all releases that are built again.
    #[test]
    fn the_same_module_is_the_same_image_on_every_machine() {
        let bytes: Vec<u8> =
            (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7).to_le_bytes()[0]).collect();
        let module = Module { bytes, version: "1.2.3".to_owned() };
        let annotations: Vec<_> =
            ["b", "a", "d", "c"].map(|key| (key.to_owned(), "x".to_owned())).into();
        let digest = |layout| Image::new(&module, layout, &annotations).unwrap().manifest.digest;
        assert_eq!(
            digest(Layout::Compat),
            "sha256:17bca4dd5eca0211e3a23722253bbe33821733b2b5e393e37c1f38ac75c3cafb"
        );
        assert_eq!(
            digest(Layout::Artifact),
            "sha256:1a9c7005d77095585b0963519ad900bc275ae606468e29594f99a5df3c7f9bb2"
        );
    }

    #[test]
    fn nothing_of_this_machine_is_in_the_layer() {
        let tar = archive(b"module").unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!(
            (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
            (0, 0, 0)
        );
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        assert_eq!(header.mode().unwrap(), 0o644);
        assert_eq!(
            gzip(&tar).get(3..10).unwrap(),
            [0, 0, 0, 0, 0, 2, 255],
            "flags, time, level, system"
        );
    }
}
