//! The command line of `render argocd`.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use sidetrack::plan::Plan;

use super::phases::Phase;
use super::{Options, istio, tree};
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;
use crate::render::folder;

/// Write a folder for Argo CD: an Application, a Kustomize base, an overlay per phase, and a CI gate
///
/// The phases are those of --phase or of the experiments' rollouts. Without both, the only phase is
/// live, with the weights of the file. A phase lasts until a commit ends it. Without --out, all files
/// are printed.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    sidetrack render argocd experiment.yaml --out ab \\\n    \
    --repo https://git.example.com/models.git --namespace models \\\n    \
    --gateway istio-ingress/predictor-gateway --host predictor.example.com \\\n    \
    --phase canary=5 --phase full=30")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin
    file: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files with other contents
    #[arg(long, requires = "out")]
    force: bool,
    /// The Git repository that Argo CD reads
    #[arg(long, value_name = "URL", default_value = "https://git.example.com/models.git")]
    repo: String,
    /// The path of the folder in the repository [default: --out]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The branch or tag that is deployed
    #[arg(long, default_value = "main")]
    revision: String,
    /// The project in Argo CD
    #[arg(long, default_value = "default")]
    project: String,
    /// Argo CD's namespace
    #[arg(long, default_value = "argocd")]
    argocd_namespace: String,
    /// A phase and the weights of the candidates in it; candidates that are not named get 0. May be
    /// repeated
    #[arg(long, value_name = "NAME=PERCENT | NAME=VARIANT:PERCENT,…")]
    phase: Vec<Phase>,
    #[command(flatten)]
    flags: istio::Flags,
}

impl Args {
    fn options(&self, plan: &Plan) -> Options {
        let out = self.out.as_deref().unwrap_or_else(|| Path::new("ab"));
        Options {
            file: self.file.file_name().map(|name| name.to_string_lossy().into_owned()),
            repo: self.repo.clone(),
            path: self.path.clone().unwrap_or_else(|| within(out)),
            revision: self.revision.clone(),
            project: self.project.clone(),
            argocd_namespace: self.argocd_namespace.clone(),
            phases: self.phase.clone(),
            istio: self.flags.options(plan),
        }
    }
}

/// The path of the folder in the repository, derived from `--out`.
fn within(out: &Path) -> String {
    let inside = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let parts: Vec<_> = out.components().filter(|part| *part != Component::CurDir).collect();
    if parts.iter().all(inside) {
        return parts
            .iter()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/");
    }
    out.file_name().map_or_else(|| "ab".to_owned(), |name| name.to_string_lossy().into_owned())
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let files = tree::files(&loaded, &args.options(&loaded.plan))?;
    let Some(folder) = &args.out else {
        for file in files.iter().filter(|file| !file.is_script()) {
            write!(out, "---\n# File: {}\n{}", file.path, file.text.trim_start_matches("---\n"))?;
        }
        return Ok(ExitStatus::Success);
    };
    folder::write(folder, &files, args.force, out)?;
    Ok(ExitStatus::Success)
}
