//! `sidetrack package`: the filter as an image that Istio's agent fetches from a registry.
//!
//! The same module gives the same bytes and digest on any machine at any time: the image contains no
//! times and no names of users or hosts. Deliberately, the command does not push: the tools for
//! registries know credentials and certificates, so it prints their command instead.

mod image;
mod layout;
mod module;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::out::Out;
use crate::words::visible;
use image::Image;
pub(crate) use module::Module;

/// Write the filter as an OCI image that Istio's agent accepts
///
/// The result is an OCI image layout: a folder that skopeo, crane, oras and others push to a registry.
/// The same module always gives the same image and digest. An existing OCI layout keeps its other
/// images.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sidetrack package --wasm dist/sidetrack.wasm --out dist/image\n  \
    sidetrack package --wasm dist/sidetrack.wasm --out dist/image \\\n    --repository ghcr.io/acme/sidetrack --json"
)]
pub(crate) struct Args {
    /// The filter's module, which `make wasm` builds
    #[arg(long, value_name = "FILE")]
    wasm: PathBuf,
    /// The folder to write; it must be new, empty or an OCI layout
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The format of the image
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// The image's tag [default: the filter's version]
    #[arg(long, value_parser = tag)]
    tag: Option<String>,
    /// An annotation of the image's manifest, included in the digest; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// The repository to push to, for the printed commands
    #[arg(long, value_name = "NAME", default_value = "registry.example.com/sidetrack", value_parser = repository)]
    repository: String,
    /// Print JSON: {"digest", "sha256", "layout", "size", "tag", "version", "url"}
    #[arg(long)]
    json: bool,
}

/// The two formats of OCI images that Istio's agent accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// One gzip layer with the file plugin.wasm, for all registries and image tools
    #[default]
    Compat,
    /// A layer with the module and a layer with its description, with their own media types
    Artifact,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Of the image's manifest.
    digest: &'a str,
    /// The digest without the algorithm, for a WasmPlugin.
    sha256: &'a str,
    layout: Layout,
    /// Of the module, in bytes.
    size: usize,
    tag: &'a str,
    /// Of the filter.
    version: &'a str,
    /// The URL of the pushed image, for a WasmPlugin.
    url: String,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let module = Module::read(&args.wasm)?;
    let image = Image::new(&module, args.layout, &args.annotation)?;
    let tag = args.tag.clone().unwrap_or_else(|| module.version.replace('+', "_"));
    layout::write(&args.out, &image, &tag)?;
    let digest = image.manifest.digest.as_str();
    let sha256 = digest.trim_start_matches("sha256:");
    let url = format!("oci://{}:{tag}", args.repository);
    let (layout, size, version) = (args.layout, module.bytes.len(), module.version.as_str());
    if args.json {
        out.json(&Report { digest, sha256, layout, size, tag: &tag, version, url })?;
        return Ok(ExitStatus::Success);
    }
    let (ink, folder) = (out.ink(), visible(&args.out.to_string_lossy()));
    let name = visible(&args.wasm.to_string_lossy());
    writeln!(out, "{} {folder} holds {name} as an OCI image", ink.good("✓"))?;
    writeln!(out, "  {} Sidetrack {version}, {size} bytes", ink.dim("filter "))?;
    let kind = match layout {
        Layout::Compat => "compat: one gzip layer with plugin.wasm",
        Layout::Artifact => "artifact: two layers, one of them the bare module",
    };
    writeln!(out, "  {} {kind}", ink.dim("layout "))?;
    writeln!(out, "  {} {tag}", ink.dim("tag    "))?;
    writeln!(out, "  {} {digest}, of the manifest", ink.dim("digest "))?;
    writeln!(out, "\nPush it:\n")?;
    let source = shell(&format!("oci:{folder}:{tag}"));
    writeln!(out, "  skopeo copy --preserve-digests {source} docker://{}:{tag}", args.repository)?;
    writeln!(out, "\nThen, in the WasmPlugin:\n")?;
    writeln!(out, "  url: {url}\n  sha256: {sha256}")?;
    Ok(ExitStatus::Success)
}

/// Quoted for a shell, if necessary.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+@%,=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn tag(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first && rest && text.len() <= 128 {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 letters, digits, '_', '.' and '-', without '.' or '-' first".to_owned())
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            Err("expected KEY=VALUE, such as org.opencontainers.image.source=https://…".to_owned())
        }
    }
}

fn repository(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:[]".contains(c);
    let last = text.rsplit('/').next().unwrap_or_default();
    if text.contains("://") {
        return Err(
            "must not have a scheme; expected a name such as registry.example.com/sidetrack"
                .to_owned(),
        );
    }
    if !text.contains('/') || last.is_empty() || last.contains(':') || !text.chars().all(allowed) {
        return Err(
            "expected a registry and a name without a tag, such as registry.example.com/sidetrack"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_repositories_are_what_registries_take() {
        for good in ["0.1.0", "_x", "v1-rc.1"] {
            assert!(tag(good).is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a:b", "a+b", &"x".repeat(129)] {
            assert!(tag(bad).is_err(), "{bad}");
        }
        for good in ["registry.example.com/sidetrack", "127.0.0.1:5000/a/b", "[::1]:5000/a"] {
            assert!(repository(good).is_ok(), "{good}");
        }
        for bad in ["", "sidetrack", "docker://r/x", "r.example.com/x:1", "r.example.com/", "r/x y"]
        {
            assert!(repository(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_with_odd_characters_survives_a_shell() {
        assert_eq!(shell("dist/image"), "dist/image");
        assert_eq!(shell("it's mine"), r"'it'\''s mine'");
    }
}
