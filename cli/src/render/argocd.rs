//! `render argocd`: a folder for a Git repository that Argo CD deploys from.
//!
//! The base holds everything with all weights at zero, and an overlay per phase says who gets how much. So a change of a
//! weight is a commit of one line that somebody reviews, and a promotion is a commit that points the Application to the
//! next overlay. The gate checks both with `sidetrack check` and `sidetrack plan`. Not here: phases by the clock, which
//! need no commit and no Argo CD; for them apply what `render istio` writes.

mod phases;
mod tree;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::istio;
use crate::atomic;
use crate::exit::ExitStatus;
use crate::load;
use crate::out::Out;
use phases::Phase;

/// Write a folder for Argo CD: an Application, a Kustomize base, an overlay per phase, and a gate for CI.
///
/// The phases are those of the experiments' rollout, or --phase; without both there is one, live, with the weights of
/// the file. A phase lasts until a commit ends it. Without --out the files are printed one after another.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    sidetrack render argocd experiment.yaml --out ab --repo https://git.example.com/models.git \\\n    \
    --gateway istio-ingress/predictor-gateway --namespace models --phase canary=5 --phase full=30")]
pub(crate) struct Args {
    /// The experiment file, YAML or JSON; "-" reads stdin.
    file: PathBuf,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that differ.
    #[arg(long, requires = "out")]
    force: bool,
    /// The Git repository that Argo CD reads.
    #[arg(long, value_name = "URL", default_value = "https://git.example.com/models.git")]
    repo: String,
    /// Where the folder lies in the repository; as --out says when left out.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The branch or tag that is deployed.
    #[arg(long, default_value = "main")]
    revision: String,
    /// The project in Argo CD.
    #[arg(long, default_value = "default")]
    project: String,
    /// Argo CD's namespace.
    #[arg(long, default_value = "argocd")]
    argocd_namespace: String,
    /// A phase and what the candidates get in it; who is not named gets nothing. May be repeated.
    #[arg(long, value_name = "NAME=PERCENT | NAME=VARIANT:PERCENT,…")]
    phase: Vec<Phase>,
    #[command(flatten)]
    options: istio::Options,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let loaded = load::load(&args.file)?;
    let files = tree::files(&loaded, args)?;
    let Some(folder) = &args.out else {
        for file in files.iter().filter(|file| !file.is_script()) {
            write!(out, "---\n# File: {}\n{}", file.path, file.text.trim_start_matches("---\n"))?;
        }
        return Ok(ExitStatus::Success);
    };
    // Nothing is written unless all of it can be.
    let lost: Vec<&str> = files
        .iter()
        .filter(|file| differs(&folder.join(&file.path), &file.text))
        .map(|file| file.path.as_str())
        .collect();
    anyhow::ensure!(
        args.force || lost.is_empty(),
        "--out {} — found other files there: {}; allowed: a folder without them\n  hint: --force replaces them. Look at \
         the difference with git afterwards",
        folder.display(),
        lost.join(", ")
    );
    for file in &files {
        let path = folder.join(&file.path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
        atomic::write(&path, file.text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        if file.is_script() {
            executable(&path)?;
        }
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitStatus::Success)
}

/// Whether something else is there already.
fn differs(path: &Path, text: &str) -> bool {
    path.exists() && std::fs::read(path).ok().as_deref() != Some(text.as_bytes())
}

#[cfg(unix)]
fn executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> anyhow::Result<()> {
    Ok(())
}
