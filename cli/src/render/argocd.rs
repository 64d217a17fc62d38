//! `render argocd`: a folder for a Git repository that Argo CD deploys from.
//!
//! The base holds all resources with every weight at zero, and an overlay per phase sets the weights.
//! So a change of a weight is a commit of one line that is reviewed, and a promotion is a commit that
//! points the Application to the next overlay. The gate checks both with `sidetrack check` and
//! `sidetrack plan`. Rollouts by the clock need no commits and no Argo CD: for them, apply the output
//! of `render istio`.

mod args;
mod phases;
mod tree;

use super::istio;
pub(super) use args::{Args, run};
use phases::Phase;

/// What the folder depends on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The name of the experiment file, for comments.
    pub(crate) file: Option<String>,
    /// The URL of the Git repository.
    pub(crate) repo: String,
    /// The path of the folder in the repository.
    pub(crate) path: String,
    /// The branch or tag that is deployed.
    pub(crate) revision: String,
    /// The project in Argo CD.
    pub(crate) project: String,
    /// Argo CD's namespace.
    pub(crate) argocd_namespace: String,
    /// The phases; empty: those of the experiments' rollouts.
    pub(crate) phases: Vec<Phase>,
    /// The options of the manifests.
    pub(crate) istio: istio::Options,
}
