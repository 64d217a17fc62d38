//! `render flagger`: a MetricTemplate for each metric of each candidate.

use std::io::Write as _;

use serde_json::json;

use super::{Source, TEMPLATES};
use crate::exit::ExitStatus;
use crate::load::{File, load};
use crate::out::Out;
use crate::template;

/// The window of a query: Flagger puts the metric's interval here.
const WINDOW: &str = "{{ interval }}";

/// Write MetricTemplates for Flagger, with the limits of an experiment file
///
/// One template for each metric of each candidate: errors and latency against the baseline, the breaker,
/// and the share of the requests. A comment at the top of the output has the limits, for `metrics` of a
/// Canary. Flagger counts a metric without a value as a failed check. The templates only measure.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render flagger experiment.yaml --job envoy \\\n    \
    --prometheus http://prometheus.monitoring:9090 > metrics.yaml\n  \
    kubectl apply -n models -f metrics.yaml")]
pub(in crate::render) struct Args {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    source: Source,
    /// The Secret with the credentials for Prometheus, in the namespace of the objects
    #[arg(long, value_name = "NAME", value_parser = crate::render::labels::name)]
    secret: Option<String>,
}

pub(in crate::render) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load(&args.file.file)?.plan;
    let mut objects = Vec::new();
    for candidate in args.source.candidates(&plan, WINDOW)? {
        for query in &candidate.queries {
            let (min, max) = query.bound.range();
            objects.push(json!({
                "name": super::object(&[&candidate.object, query.name])?, "metric": query.name,
                "experiment": candidate.experiment.name, "candidate": candidate.name,
                "about": query.about, "query": query.query, "min": min, "max": max,
            }));
        }
    }
    let context = json!({
        "objects": objects, "hash": plan.hash.short(), "namespace": args.source.namespace,
        "prometheus": args.source.prometheus, "secret": args.secret,
    });
    out.write_all(template::render(&TEMPLATES, "flagger.yaml", &context)?.as_bytes())?;
    Ok(ExitStatus::Success)
}
