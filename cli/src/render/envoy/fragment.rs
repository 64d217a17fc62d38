//! `--fragment`: one piece of the bootstrap, for an Envoy that has a configuration already.

use sidetrack::config::Node;
use sidetrack::plan::Plan;

use super::{Options, render};

/// A piece of the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// The filter.
    Filter,
    /// The removal of the filter's own headers from client requests.
    Guard,
    /// The routes that the filter selects, and those to the baselines.
    Routes,
    /// The clusters of these routes.
    Clusters,
    /// The rules that extract labels from the names of the filter's stats.
    StatsTags,
    /// The log of exposures, and the logger that reports failures to the filter.
    AccessLog,
    /// The attributes of spans.
    Traces,
}

impl Fragment {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Filter,
        Self::Guard,
        Self::Routes,
        Self::Clusters,
        Self::StatsTags,
        Self::AccessLog,
        Self::Traces,
    ];

    /// The template, and where its text belongs.
    pub(super) const fn part(self) -> (&'static str, &'static str) {
        match self {
            Self::Filter => {
                ("http_filter", "`http_filters` of the connection manager, before the router")
            }
            Self::Guard => ("guard", "the connection manager itself"),
            Self::Routes => ("routes", "`routes` of a virtual host, before its own routes"),
            Self::Clusters => ("clusters", "`static_resources.clusters`"),
            Self::StatsTags => ("stats_tags", "`stats_config.stats_tags`"),
            Self::AccessLog => ("access_log", "`access_log` of the connection manager"),
            Self::Traces => {
                ("traces", "the connection manager itself, beside your `tracing.provider`")
            }
        }
    }

    /// The text, with comments that say where it belongs and what it assumes.
    pub(super) fn render(
        self,
        plan: &Plan,
        node: &Node,
        options: &Options,
    ) -> anyhow::Result<String> {
        render("fragment", Some(self), plan, node, options)
    }
}
