//! `render argo-rollouts`: an AnalysisTemplate for each candidate.

use std::io::Write as _;

use serde_json::json;

use super::{Source, TEMPLATES};
use crate::exit::ExitStatus;
use crate::load::{File, load};
use crate::out::Out;
use crate::template;

/// Write AnalysisTemplates for Argo Rollouts, with the limits of an experiment file
///
/// One template for each candidate: errors and latency against the baseline, the breaker, and the share
/// of the requests. A measurement without enough requests is inconclusive, which pauses a rollout. The
/// templates only measure: Argo Rollouts does not change weights of the experiment.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render argo-rollouts experiment.yaml --job envoy \\\n    \
    --prometheus http://prometheus.monitoring:9090 > analysis.yaml\n  \
    kubectl apply -n models -f analysis.yaml")]
pub(in crate::render) struct Args {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    source: Source,
    /// The window of each measurement, as Prometheus writes it
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::duration)]
    window: String,
    /// The time between two measurements
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = super::duration)]
    interval: String,
    /// How many measurements an analysis takes; without it, an analysis runs until its rollout ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// How many failed measurements an analysis tolerates
    #[arg(long, value_name = "N", default_value_t = 1)]
    failure_limit: u32,
    /// How many inconclusive measurements an analysis tolerates
    #[arg(long, value_name = "N", default_value_t = 3)]
    inconclusive_limit: u32,
}

pub(in crate::render) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load(&args.file.file)?.plan;
    let mut objects = Vec::new();
    for candidate in args.source.candidates(&plan, &args.window)? {
        let metric = |query: &super::Query| {
            let (success, failure) = query.bound.conditions();
            json!({
                "name": query.name, "about": query.about, "query": query.query,
                "success": success, "failure": failure,
            })
        };
        objects.push(json!({
            "name": candidate.object, "experiment": candidate.experiment.name, "candidate": candidate.name,
            "metrics": candidate.queries.iter().map(metric).collect::<Vec<_>>(),
        }));
    }
    let context = json!({
        "objects": objects, "hash": plan.hash.short(), "namespace": args.source.namespace,
        "prometheus": args.source.prometheus, "interval": args.interval, "count": args.count,
        "failure_limit": args.failure_limit, "inconclusive_limit": args.inconclusive_limit,
    });
    out.write_all(template::render(&TEMPLATES, "argo-rollouts.yaml", &context)?.as_bytes())?;
    Ok(ExitStatus::Success)
}
