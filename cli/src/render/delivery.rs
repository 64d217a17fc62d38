//! `render argo-rollouts` and `render flagger`: the state of an experiment as metrics for controllers of progressive
//! delivery.
//!
//! Metrics only. These controllers own the routes and the steps; the filter owns the split. Each metric compares a
//! candidate with its baseline in the same window, and is absent while there are too few requests: no data is not a good
//! result.

mod argo_rollouts;
mod flagger;
mod queries;

use clap::Args;
use sidetrack::plan::{Experiment, Plan};

use crate::fault::Fault;
use crate::render::prometheus::Series;
use crate::words::{variant, visible};
pub(super) use argo_rollouts::{Args as ArgoRollouts, run as argo_rollouts};
pub(super) use flagger::{Args as Flagger, run as flagger};
use queries::Query;

const TEMPLATES: [(&str, &str); 2] = [
    ("argo-rollouts.yaml", include_str!("../../templates/delivery/argo-rollouts.yaml")),
    ("flagger.yaml", include_str!("../../templates/delivery/flagger.yaml")),
];

/// What both targets take.
#[derive(Args)]
struct Source {
    /// The URL of Prometheus, as the controller reaches it
    #[arg(long, value_name = "URL", default_value = "http://prometheus.monitoring:9090", value_parser = url)]
    prometheus: String,
    /// The job under which Prometheus scrapes the proxies
    #[arg(long, value_name = "NAME", default_value = "sidetrack")]
    job: String,
    /// Only this candidate [default: all]
    #[arg(long, value_name = "VARIANT")]
    candidate: Option<String>,
    /// How many requests of the candidate and of the baseline a comparison needs in its window
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    min_requests: u32,
    /// How much the candidate's share of failed requests may exceed the baseline's, in percentage points
    /// [default: the breaker's error_rate]
    #[arg(long, value_name = "POINTS", value_parser = positive)]
    max_errors: Option<f64>,
    /// How much the candidate's 95th percentile may exceed the baseline's, in percent
    #[arg(long, value_name = "PERCENT", default_value = "25", value_parser = positive)]
    max_latency: f64,
    /// How far the candidate's share of the requests may be from its weight, in percentage points.
    /// Requests are not users, so a busy user moves it
    #[arg(long, value_name = "POINTS", default_value = "5", value_parser = positive)]
    max_drift: f64,
    /// The namespace of the objects
    #[arg(long, default_value = "default", value_parser = super::labels::name)]
    namespace: String,
    /// How the names of the objects begin
    #[arg(long, default_value = "sidetrack", value_parser = super::labels::name)]
    name: String,
}

/// The metrics of one candidate.
struct Candidate<'p> {
    experiment: &'p Experiment,
    name: &'p str,
    /// The name of its objects.
    object: String,
    queries: Vec<Query>,
}

impl Source {
    /// The candidates of all experiments, with their queries over this window.
    fn candidates<'p>(&self, plan: &'p Plan, window: &str) -> anyhow::Result<Vec<Candidate<'p>>> {
        let mut all = Vec::new();
        for experiment in &plan.experiments {
            all.extend(experiment.candidates().map(|id| (experiment, variant(experiment, id))));
        }
        let names: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        if names.is_empty() {
            return Err(Fault(
                "the file has no experiments, so there is nothing to watch".to_owned(),
            )
            .into());
        }
        if let Some(wanted) = self.candidate.as_deref().filter(|wanted| !names.contains(wanted)) {
            let known = names.join(", ");
            anyhow::bail!(
                "--candidate: unknown candidate \"{}\"; expected one of: {known}",
                visible(wanted)
            );
        }
        all.retain(|(_, name)| self.candidate.as_deref().is_none_or(|wanted| wanted == *name));
        let mut candidates: Vec<Candidate<'p>> = Vec::new();
        for (experiment, name) in all {
            let series = Series::new(&self.job, Some(experiment));
            let object = object(&[&self.name, &experiment.name, name])?;
            // Letters and dots that Kubernetes does not take may be all that told two names apart.
            if let Some(twin) = candidates.iter().find(|other| other.object == object) {
                anyhow::bail!(
                    "{} of {} and {name} of {} would both be named {object}\n  \
                     hint: render them apart, with --candidate and --name",
                    twin.name,
                    twin.experiment.name,
                    experiment.name
                );
            }
            let queries = queries::of(experiment, name, &series, window, &self.limits(experiment));
            candidates.push(Candidate { experiment, name, object, queries });
        }
        Ok(candidates)
    }

    fn limits(&self, experiment: &Experiment) -> queries::Limits {
        queries::Limits {
            min_requests: self.min_requests,
            errors: self
                .max_errors
                .map_or_else(|| experiment.breaker.error_rate.fraction(), |points| points / 100.0),
            latency: 1.0 + self.max_latency / 100.0,
            drift: self.max_drift / 100.0,
        }
    }
}

/// A name that Kubernetes takes, of parts that may contain more.
fn object(parts: &[&str]) -> anyhow::Result<String> {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = parts.join("-").chars().map(clean).collect();
    let name = name.trim_matches('-').to_owned();
    anyhow::ensure!(
        name.len() <= 63,
        "the name {name} has {} characters, but must have at most 63\n  hint: choose a shorter --name",
        name.len()
    );
    Ok(name)
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("must be above 0".to_owned()) }
}

/// A duration in the notation of Prometheus and Go that both have, such as `90s`.
fn duration(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['s', 'm', 'h']).unwrap_or_default();
    let good = number.parse::<u32>().is_ok_and(|number| number > 0);
    if good { Ok(text.to_owned()) } else { Err("expected a time such as 30s, 5m or 1h".to_owned()) }
}

fn url(text: &str) -> Result<String, String> {
    let good = text.starts_with("http://") || text.starts_with("https://");
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || "{}\"".contains(c));
    if good && plain {
        Ok(text.to_owned())
    } else {
        Err("expected http://… or https://…".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_names_for_kubernetes() {
        assert_eq!(object(&["sidetrack", "A_b.c", "New.v2"]).unwrap(), "sidetrack-a-b-c-new-v2");
        assert!(object(&[&"x".repeat(64)]).is_err());
    }
}
