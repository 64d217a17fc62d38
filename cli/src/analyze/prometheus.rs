//! `sidetrack analyze prometheus`: error rates and latencies from the filter's counters.
//!
//! Counters hold requests by the variant that served, not users and not assignments. So the results
//! are by the variant that served, phase by phase, with intervals that assume independent requests.
//! They never name a winner: decisions come from `analyze run`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as Arguments;
use serde::Serialize;
use sidetrack::names::label::{EXPERIMENT, LE, MODEL, PHASE, STATUS};
use sidetrack::names::metric;
use sidetrack::names::status::{ABORTED, ERROR, SUCCESS};
use sidetrack::plan::{Experiment, VariantId};
use sidetrack_stats::input::{Fraction, Proportion};
use sidetrack_stats::score::Score;

use super::figures::{digits, signed};
use crate::load::{File, chosen, load};
use crate::out::Out;
use crate::prometheus::{Prometheus, Sample};
use crate::table::{Align, Table};
use crate::words::variant;

/// Report error rates and latencies from Prometheus, by the variant that served
///
/// A first look, not a decision: counters do not identify users, so the intervals assume independent
/// requests, and no variant wins.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  sidetrack analyze prometheus experiment.yaml \\\n    --url http://prometheus:9090 --since 24h"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The address of the Prometheus server
    #[arg(long, value_name = "URL")]
    url: String,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    since: Duration,
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const RIGHT: Align = Align::Right;

/// Limitations of all numbers.
const CAVEATS: [&str; 3] = [
    "Assumes independent requests. Requests of one user are not independent, so the intervals are too narrow, and nothing is tested.",
    "By the variant that served, not the assigned one: while a breaker is open, its requests count for the baseline.",
    "Not a decision: for a decision, use analyze run on the access log.",
];

#[derive(Serialize)]
struct Answer {
    version: u32,
    experiment: String,
    since_seconds: u64,
    variants: Vec<Served>,
    candidates: Vec<Compared>,
    /// Always null: counters cannot decide.
    decision: Option<()>,
    caveats: [&'static str; 3],
}

#[derive(Default, Serialize)]
struct Served {
    name: String,
    requests: u64,
    errors: u64,
    aborted: u64,
    error_rate: Option<f64>,
    /// Seconds, interpolated within the histogram's buckets.
    latency_p50: Option<f64>,
    latency_p95: Option<f64>,
    /// Requests that were assigned to it and served by the baseline.
    fallbacks: u64,
}

#[derive(Serialize)]
struct Compared {
    variant: String,
    /// Error rate minus the baseline's, phase by phase and merged.
    diff: Option<f64>,
    ci: Option<[f64; 2]>,
    phases: usize,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let plan = load(&args.file.file)?.plan;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    let source = Prometheus::new(&args.url, "--url");
    let answer = ask(&source, experiment, args.since)?;
    if args.json {
        out.json(&answer)?
    } else {
        write_text(&answer, out)?
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(source: &Prometheus, experiment: &Experiment, since: Duration) -> anyhow::Result<Answer> {
    // Names consist of letters, digits, '.', '_' and '-', so PromQL needs no escapes.
    let of = |by: &str, metric: &str| {
        format!(
            "sum by ({by}) (increase({metric}{{{EXPERIMENT}=\"{}\"}}[{}s]))",
            experiment.name,
            since.as_secs().max(1)
        )
    };
    let requests = source.query(&of(&format!("{MODEL}, {PHASE}, {STATUS}"), metric::REQUESTS))?;
    anyhow::ensure!(
        !requests.is_empty(),
        "Prometheus at {} has no series {} for {}\n  hint: check that it scrapes the proxies, and the name of the experiment",
        source.url,
        metric::REQUESTS,
        experiment.name
    );
    let buckets = source.query(&of(&format!("{MODEL}, {LE}"), metric::RESPONSE_TIME_BUCKET))?;
    let fallbacks = source.query(&of(MODEL, metric::FALLBACKS))?;
    // By variant and phase: requests by status.
    let mut counts: BTreeMap<(String, String), BTreeMap<String, u64>> = BTreeMap::new();
    for sample in &requests {
        let place = (sample.label(MODEL).to_owned(), sample.label(PHASE).to_owned());
        *counts.entry(place).or_default().entry(sample.label(STATUS).to_owned()).or_default() +=
            sample.count();
    }
    let count = |name: &str, status: &str| -> u64 {
        let own = counts.iter().filter(|((variant, _), _)| variant == name);
        own.filter_map(|(_, by_status)| by_status.get(status)).sum()
    };
    let mut variants = Vec::new();
    for variant in &experiment.variants {
        let name = variant.name.as_str();
        let (success, errors) = (count(name, SUCCESS), count(name, ERROR));
        let histogram = histogram(&buckets, name);
        variants.push(Served {
            name: name.to_owned(),
            requests: success + errors,
            errors,
            aborted: count(name, ABORTED),
            error_rate: Proportion::new(errors, success + errors).ok().map(Proportion::share),
            latency_p50: quantile(&histogram, 0.5),
            latency_p95: quantile(&histogram, 0.95),
            fallbacks: fallbacks
                .iter()
                .filter(|sample| sample.label(MODEL) == name)
                .map(Sample::count)
                .sum(),
        });
    }
    let share = |variant: &str, phase: &str| {
        let by_status = counts.get(&(variant.to_owned(), phase.to_owned()))?;
        let get = |status: &str| by_status.get(status).copied().unwrap_or(0);
        Proportion::new(get(ERROR), get(ERROR) + get(SUCCESS)).ok()
    };
    let baseline = variant(experiment, experiment.baseline);
    let mut phases: Vec<&str> = counts.keys().map(|(_, phase)| phase.as_str()).collect();
    phases.sort_unstable();
    phases.dedup();
    let compare = |candidate: VariantId| {
        let candidate = variant(experiment, candidate);
        let pairs: Vec<(Proportion, Proportion)> = phases
            .iter()
            .filter_map(|phase| share(baseline, phase).zip(share(candidate, phase)))
            .collect();
        let score = Score::of_shares(&pairs, 1.0).ok();
        let compared = score.map(|score| score.comparison(Fraction::FIVE_PERCENT));
        Compared {
            variant: candidate.to_owned(),
            diff: compared.map(|compared| compared.estimate.difference),
            ci: compared
                .and_then(|compared| compared.interval)
                .map(|interval| [interval.low, interval.high]),
            phases: pairs.len(),
        }
    };
    Ok(Answer {
        version: 1,
        experiment: experiment.name.clone(),
        since_seconds: since.as_secs(),
        variants,
        candidates: experiment.candidates().map(compare).collect(),
        decision: None,
        caveats: CAVEATS,
    })
}

/// Upper bounds and counts up to them, in order.
fn histogram(buckets: &[Sample], variant: &str) -> Vec<(f64, f64)> {
    let own = buckets.iter().filter(|sample| sample.label(MODEL) == variant);
    let mut bounds: Vec<(f64, f64)> =
        own.filter_map(|sample| Some((sample.label(LE).parse().ok()?, sample.value()?))).collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    bounds
}

/// Like `histogram_quantile`: linear within a bucket, and the highest finite bound beyond it.
fn quantile(histogram: &[(f64, f64)], share: f64) -> Option<f64> {
    let (_, all) = histogram.last().filter(|(_, all)| *all > 0.0)?;
    let rank = share * all;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, up_to) in histogram {
        if *up_to >= rank {
            let inside = if up_to > &below { (rank - below) / (up_to - below) } else { 1.0 };
            return Some(if bound.is_finite() { low + (bound - low) * inside } else { low });
        }
        (low, below) = (*bound, *up_to);
    }
    None
}

fn write_text(answer: &Answer, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}", ink.bold("A look at the counters, not a decision"))?;
    for caveat in answer.caveats {
        writeln!(out, "  - {caveat}")?;
    }
    let since = humantime::format_duration(Duration::from_secs(answer.since_seconds));
    writeln!(out, "\n{}  {}", ink.bold(&answer.experiment), ink.dim(format!("the last {since}")))?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let ms = |seconds: Option<f64>| {
        or_dash(seconds.map(|seconds| format!("{} ms", digits(seconds * 1000.0, 3))))
    };
    let mut table = Table::new(&[Align::Left, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT]);
    table.head(["served by", "requests", "errors", "p50", "p95", "aborted", "fallbacks"], ink);
    for variant in &answer.variants {
        let rate = variant.error_rate.map(|rate| format!("{} %", digits(rate * 100.0, 3)));
        table.row([
            variant.name.as_str().into(),
            variant.requests.to_string().into(),
            or_dash(rate).into(),
            ms(variant.latency_p50).into(),
            ms(variant.latency_p95).into(),
            variant.aborted.to_string().into(),
            variant.fallbacks.to_string().into(),
        ]);
    }
    table.write(out)?;
    for candidate in &answer.candidates {
        let points = |value: f64| signed(value * 100.0, 3);
        match (candidate.diff, candidate.ci) {
            (Some(diff), Some([low, high])) => writeln!(
                out,
                "  {}: error rate {} points (naive 95 % interval {} to {})",
                candidate.variant,
                points(diff),
                points(low),
                points(high)
            )?,
            _ => writeln!(
                out,
                "  {}: not compared; no phase has requests of both variants",
                candidate.variant
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_histogram_quantile() {
        let histogram = [(0.05, 50.0), (0.1, 90.0), (0.2, 100.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&histogram, 0.5).unwrap() - 0.05).abs() < 1e-12);
        assert!((quantile(&histogram, 0.95).unwrap() - 0.15).abs() < 1e-12);
        assert_eq!(quantile(&[(0.1, 1.0), (f64::INFINITY, 10.0)], 0.95), Some(0.1));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
