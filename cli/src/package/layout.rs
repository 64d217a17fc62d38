//! The image on disk: an OCI image layout, which keeps the other images that it has.
//!
//! Each file is replaced atomically and the index comes last. A concurrent reader finds the images before or after, and
//! an interrupted run can be repeated.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use sidetrack::config::json_problem;

use super::image::Image;
use crate::atomic;
use crate::fault::Fault;
use crate::words::visible;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes an image into the folder, under the tag.
///
/// # Errors
///
/// A [`Fault`] if the folder holds something else; otherwise if it cannot be written.
pub(super) fn write(folder: &Path, image: &Image, tag: &str) -> anyhow::Result<()> {
    let name = visible(&folder.to_string_lossy());
    let mut index = existing(folder, &name)?;
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
    let entries =
        entries.ok_or_else(|| Fault(format!("{name}/index.json has no list \"manifests\"")))?;
    let tagged = format!("/annotations/{}", REF_NAME.replace('/', "~1"));
    entries.retain(|entry| entry.pointer(&tagged).and_then(Value::as_str) != Some(tag));
    let mut entry = image.manifest.clone();
    entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    entries.push(serde_json::to_value(entry)?);

    let written = || -> io::Result<()> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        atomic::write(&folder.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}\n")?;
        for (digest, bytes) in &image.blobs {
            atomic::write(&blobs.join(digest.trim_start_matches("sha256:")), bytes)?;
        }
        atomic::write(&folder.join("index.json"), format!("{index}\n").as_bytes())
    };
    written().with_context(|| format!("cannot write {name}"))
}

/// The index of the images that the folder holds already.
fn existing(folder: &Path, name: &str) -> anyhow::Result<Value> {
    let new = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(new),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Fault(format!(
                "--out {name} is a file, but must be a new or empty folder, or an OCI layout"
            ))
            .into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    let Some(first) = entries.next() else { return Ok(new) };
    if !folder.join("oci-layout").is_file() {
        let first =
            first.map(|entry| visible(&entry.file_name().to_string_lossy())).unwrap_or_default();
        return Err(Fault(format!(
            "--out {name} contains \"{first}\", but must be a new or empty folder, or an OCI layout\n  \
             hint: choose another --out; nothing was changed"
        ))
        .into());
    }
    match fs::read(folder.join("index.json")) {
        // An earlier run was interrupted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(new),
        read => {
            let text = read.with_context(|| format!("cannot read {name}/index.json"))?;
            let index = serde_json::from_slice(&text);
            Ok(index.map_err(|error| {
                Fault(format!(
                    "{name}/index.json is not valid JSON: {}\n  hint: nothing was changed",
                    json_problem(&error)
                ))
            })?)
        }
    }
}
