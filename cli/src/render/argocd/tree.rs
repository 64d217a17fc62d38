//! The files of the folder.

use anyhow::ensure;
use serde_json::{Value, json};

use super::phases::{OFF, Weights, in_phase, overlays, written};
use super::{Args, istio};
use crate::load::Loaded;
use crate::render::istio::Kind;
use crate::{template, yaml};

const TEMPLATES: [(&str, &str); 4] = [
    ("application.yaml", include_str!("../../../templates/argocd/application.yaml")),
    ("base.yaml", include_str!("../../../templates/argocd/base.yaml")),
    ("overlay.yaml", include_str!("../../../templates/argocd/overlay.yaml")),
    ("github.yaml", include_str!("../../../templates/argocd/github.yaml")),
];

/// A file of the folder.
pub(super) struct File {
    /// Below the folder.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// Whether it is to be run.
    pub(super) fn is_script(&self) -> bool {
        self.path.ends_with(".sh")
    }
}

pub(super) fn files(loaded: &Loaded, args: &Args) -> anyhow::Result<Vec<File>> {
    let overlays = overlays(&loaded.plan, &args.phase)?;
    let options = &args.options;
    let base = in_phase(loaded, &overlays, None)?;
    let path = args.path.clone().unwrap_or_else(|| within(args));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    ensure!(
        path.chars().all(plain) && !path.starts_with('/') && !path.is_empty(),
        "--path — found \"{path}\"; allowed: letters, digits, '.', '_', '-', and '/' inside\n  hint: where the folder lies \
         in the repository, from its root"
    );
    let prefix = match options.kind {
        Kind::WasmPlugin => "/spec/pluginConfig/experiments",
        Kind::TrafficExtension => "/spec/wasm/pluginConfig/experiments",
    };
    let mut context = json!({
        "name": options.name, "namespace": options.namespace, "kind": options.kind,
        "argocd_namespace": args.argocd_namespace, "project": args.project,
        "repo": args.repo, "revision": args.revision, "path": path,
        "first": OFF,
        "phases": overlays.iter().map(|overlay| overlay.name.as_str()).collect::<Vec<_>>(),
        "file": args.file.file_name().map(|name| name.to_string_lossy()),
    });
    let mut files = vec![
        file("application.yaml", template::render(&TEMPLATES, "application.yaml", &context)?),
        file("base/kustomization.yaml", template::render(&TEMPLATES, "base.yaml", &context)?),
        file("base/istio.yaml", istio::manifests(&base, options, true)?),
    ];
    let mut overlay = |name: &str, patches: Vec<Value>| -> anyhow::Result<()> {
        if let Some(context) = context.as_object_mut() {
            context.insert("phase".to_owned(), name.into());
            context.insert("patches".to_owned(), patches.into());
        }
        files.push(file(
            &format!("overlays/{name}/kustomization.yaml"),
            template::render(&TEMPLATES, "overlay.yaml", &context)?,
        ));
        Ok(())
    };
    overlay(OFF, Vec::new())?;
    for phase in &overlays {
        // Each phase must be possible, not only the first.
        in_phase(loaded, &overlays, Some(phase))?;
        let patch = |(index, weights): (usize, &Weights)| -> anyhow::Result<Value> {
            let experiment = loaded
                .plan
                .experiments
                .as_slice()
                .get(index)
                .map(|experiment| experiment.name.as_str());
            Ok(json!({
                "experiment": experiment, "at": format!("{prefix}/{index}"),
                "phases": yaml::write(&written(&phase.name, weights))?,
            }))
        };
        overlay(
            &phase.name,
            phase.weights.iter().enumerate().map(patch).collect::<anyhow::Result<_>>()?,
        )?;
    }
    files.push(file("ci/github.yaml", template::render(&TEMPLATES, "github.yaml", &context)?));
    files.push(file("ci/gate.sh", include_str!("../../../templates/argocd/gate.sh").to_owned()));
    Ok(files)
}

fn file(path: &str, text: String) -> File {
    File { path: path.to_owned(), text }
}

/// Where the folder is in the repository, as far as `--out` tells.
fn within(args: &Args) -> String {
    let out = args.out.as_deref().unwrap_or_else(|| std::path::Path::new("ab"));
    let inside = |part: &std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    let parts: Vec<_> =
        out.components().filter(|part| *part != std::path::Component::CurDir).collect();
    if parts.iter().all(inside) {
        return parts
            .iter()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/");
    }
    out.file_name().map_or_else(|| "ab".to_owned(), |name| name.to_string_lossy().into_owned())
}
