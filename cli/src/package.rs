//! `sidetrack package`: the filter as an image that Istio's agent fetches from a registry.
//!
//! The same module gives the same bytes, and so the same digest, on any machine and at any time: no clock, no name of
//! a user or a host enters the image. What is deliberately absent is pushing: the tools that people have for their
//! registries know its credentials and certificates; we print the command.

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
use module::Module;

/// Write the filter as an OCI image that Istio's agent accepts
///
/// The result is an OCI image layout: a folder that skopeo, crane, oras and others push to a registry. The same module
/// gives the same image and the same digest everywhere. A folder that holds an OCI layout already keeps its other images.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  sidetrack package --wasm dist/sidetrack.wasm --out dist/image\n  \
    sidetrack package --wasm dist/sidetrack.wasm --out dist/image --repository ghcr.io/acme/sidetrack --json"
)]
pub(crate) struct Args {
    /// The filter, as `make wasm` builds it
    #[arg(long, value_name = "FILE")]
    wasm: PathBuf,
    /// The folder to write; it must be new, empty or an OCI layout
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the module lies in the image
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// The image's tag [default: the filter's version]
    #[arg(long, value_parser = tag)]
    tag: Option<String>,
    /// An annotation of the image's manifest; it becomes part of the digest. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// Where the image is going to be pushed, for the commands that are printed
    #[arg(long, value_name = "NAME", default_value = "registry.example.com/sidetrack", value_parser = repository)]
    repository: String,
    /// For machines: {"digest", "sha256", "layout", "size", "tag", "version", "url"}
    #[arg(long)]
    json: bool,
}

/// The two kinds of OCI images that Istio's agent takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// One gzip layer with the file plugin.wasm: what every registry and every tool for images can handle
    #[default]
    Compat,
    /// A layer with the bare module and one that describes it, with media types of their own
    Artifact,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Of the image's manifest.
    digest: &'a str,
    /// The same without the algorithm, as a WasmPlugin wants it.
    sha256: &'a str,
    layout: Layout,
    /// Of the module, in bytes.
    size: usize,
    tag: &'a str,
    /// Of the filter.
    version: &'a str,
    /// As a WasmPlugin names the image once it is pushed.
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
    let bytes = u64::try_from(size).unwrap_or(u64::MAX);
    writeln!(out, "{} {folder} holds {name} as an OCI image", ink.good("✓"))?;
    writeln!(out, "  {} Sidetrack {version}, {bytes} bytes", ink.dim("filter "))?;
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

/// For a shell: as it is, or in quotes.
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
    Err("allowed: 1 to 128 letters, digits, '_', '.' and '-', not '.' or '-' first".to_owned())
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as org.opencontainers.image.source=https://…".to_owned()),
    }
}

fn repository(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:[]".contains(c);
    let last = text.rsplit('/').next().unwrap_or_default();
    if text.contains("://") {
        return Err("write it without a scheme, such as registry.example.com/sidetrack".to_owned());
    }
    if !text.contains('/') || last.is_empty() || last.contains(':') || !text.chars().all(allowed) {
        return Err(
            "allowed: a registry and a name without a tag, such as registry.example.com/sidetrack"
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
