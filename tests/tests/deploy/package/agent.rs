//! What Istio's agent does with an image that a WasmPlugin names, in our own words (Istio's `pkg/wasm/imagefetcher.go`):
//! it asks the registry for the manifest, compares the manifest's digest with `sha256`, and looks for the module in three
//! ways, of which the first that fits the manifest's kind counts.

use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::registry::Registry;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// Fetches the module of an image, or says why the agent would refuse it.
pub(crate) async fn fetch(
    registry: &Registry,
    name: &str,
    tag: &str,
    sha256: &str,
) -> Result<Vec<u8>, String> {
    let manifest = registry.get(&format!("/v2/{name}/manifests/{tag}")).await.body;
    let digest = hexadecimal(&manifest);
    if digest != sha256 {
        return Err(format!("the manifest's digest is {digest}, and the WasmPlugin says {sha256}"));
    }
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    if manifest["mediaType"] == DOCKER_MANIFEST {
        return last_layer(registry, name, &layers, DOCKER_LAYER).await;
    }
    let compat = last_layer(registry, name, &layers, OCI_LAYER).await;
    let Err(no_compat) = compat else { return compat };
    let artifact = raw_layer(registry, name, &layers).await;
    artifact.map_err(|no_artifact| format!("as compat: {no_compat}; as artifact: {no_artifact}"))
}

/// The file `plugin.wasm`, in whatever folder, of the last layer, which must be of this type.
async fn last_layer(
    registry: &Registry,
    name: &str,
    layers: &[Value],
    kind: &str,
) -> Result<Vec<u8>, String> {
    let last = layers.last().ok_or("there is no layer")?;
    if last["mediaType"] != kind {
        return Err(format!("the last layer is {}, not {kind}", last["mediaType"]));
    }
    let layer = blob(registry, name, last).await?;
    let mut archive = tar::Archive::new(GzDecoder::new(layer.as_slice()));
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        if path.file_name() == Path::new("plugin.wasm").file_name() {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).map_err(|error| error.to_string())?;
            return Ok(module);
        }
    }
    Err("there is no plugin.wasm in the last layer".to_owned())
}

/// The layer of modules, which is not compressed, of exactly two.
async fn raw_layer(registry: &Registry, name: &str, layers: &[Value]) -> Result<Vec<u8>, String> {
    if layers.len() != 2 {
        return Err(format!("there are {} layers, not two", layers.len()));
    }
    let layer = layers.iter().find(|layer| layer["mediaType"] == WASM_LAYER);
    blob(registry, name, layer.ok_or_else(|| format!("no layer is {WASM_LAYER}"))?).await
}

/// A blob whose digest and size are what its descriptor says.
async fn blob(registry: &Registry, name: &str, descriptor: &Value) -> Result<Vec<u8>, String> {
    let digest = descriptor["digest"].as_str().ok_or("a layer without a digest")?;
    let body = registry.get(&format!("/v2/{name}/blobs/{digest}")).await.body;
    if format!("sha256:{}", hexadecimal(&body)) != digest || descriptor["size"] != body.len() {
        return Err(format!("{digest} has other content"));
    }
    Ok(body.to_vec())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
