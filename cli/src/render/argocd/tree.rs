//! The files of the folder.

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::phases::{OFF, Weights, in_phase, overlays, written};
use super::{Options, istio};
use crate::load::Loaded;
use crate::render::folder::File;
use crate::render::istio::Kind;
use crate::{template, yaml};

const TEMPLATES: [(&str, &str); 4] = [
    ("application.yaml", include_str!("../../../templates/argocd/application.yaml")),
    ("base.yaml", include_str!("../../../templates/argocd/base.yaml")),
    ("overlay.yaml", include_str!("../../../templates/argocd/overlay.yaml")),
    ("github.yaml", include_str!("../../../templates/argocd/github.yaml")),
];

pub(super) fn files(loaded: &Loaded, options: &Options) -> anyhow::Result<Vec<File>> {
    let overlays = overlays(&loaded.plan, &options.phases)?;
    let base = in_phase(loaded, &overlays, None)?;
    let path = &options.path;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    ensure!(
        path.chars().all(plain) && !path.starts_with('/') && !path.is_empty(),
        "--path is \"{path}\", but must consist of letters, digits, '.', '_', '-' and '/', and not begin with '/'\n  \
         hint: the path is relative to the root of the repository"
    );
    let prefix = match options.istio.kind {
        Kind::WasmPlugin => "/spec/pluginConfig/experiments",
        Kind::TrafficExtension => "/spec/wasm/pluginConfig/experiments",
        Kind::EnvoyFilter => bail!(
            "--kind envoyfilter does not work with render argocd\n  hint: an overlay changes the weights in \
             `pluginConfig`, but an EnvoyFilter has the experiment file as a text; use --kind wasmplugin"
        ),
    };
    let mut context = json!({
        "name": options.istio.name, "namespace": options.istio.namespace,
        "kind": options.istio.kind,
        "argocd_namespace": options.argocd_namespace, "project": options.project,
        "repo": options.repo, "revision": options.revision, "path": path,
        "first": OFF,
        "phases": overlays.iter().map(|overlay| overlay.name.as_str()).collect::<Vec<_>>(),
        "file": options.file,
    });
    let mut files = vec![
        file("application.yaml", template::render(&TEMPLATES, "application.yaml", &context)?),
        file("base/kustomization.yaml", template::render(&TEMPLATES, "base.yaml", &context)?),
        file("base/istio.yaml", istio::manifests(&base, &options.istio, true)?),
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
        // Check every phase, not only the first.
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
