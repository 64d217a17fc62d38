//! `render prometheus`: recording rules and alerts for the experiments of a file, with unit tests.
//!
//! Limits, shares, phases and the expected configuration come from the file, so thresholds are
//! defined once. Each alert carries the case that tests it ([`alerts::Case`]), so no alert is
//! untested.
//!
//! Not included: the routing of alerts, which belongs to Alertmanager, and a scrape configuration,
//! which depends on where the proxies run.

mod alerts;
mod args;
mod records;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use sidetrack::names::label;
use sidetrack::plan::{BreakerMode, Experiment, PerVariant, Plan};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;

use self::alerts::Alert;
use self::records::Record;
pub(super) use self::records::{answered, watched_slow};
use crate::template::{self, quote};
pub(super) use args::{Args, run};

const TEMPLATES: [(&str, &str); 3] = [
    ("rules", include_str!("../../templates/prometheus-rules.yaml")),
    ("operator", include_str!("../../templates/prometheus-operator.yaml")),
    ("tests", include_str!("../../templates/prometheus-tests.yaml")),
];

/// What the output depends on besides the experiments.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The job under which Prometheus scrapes the proxies.
    pub(crate) job: String,
    /// The URL of the runbook; the name of the alert is appended as an anchor.
    pub(crate) runbook: String,
    /// What baselines can serve, as far as it is known.
    pub(crate) capacities: Vec<Capacity>,
    pub(crate) output: Output,
}

/// What a baseline can serve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capacity {
    /// `None`: the baselines of all experiments without a capacity of their own.
    pub(crate) experiment: Option<String>,
    /// Requests per second through all proxies of the job; more than zero.
    pub(crate) rate: f64,
}

/// What is written.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// A file of rules for Prometheus.
    Rules,
    /// A PrometheusRule for the Prometheus Operator.
    Operator,
    /// The unit tests of the rules with this clock. `rules` is the path of the rules, relative to
    /// the tests.
    Tests { clock: Clock, rules: String },
}

/// The clock of unit tests. It begins in 1970, and Prometheus evaluates every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// Steps of a minute, for all alerts except the ends of rollouts.
    Minutes,
    /// Steps of half a year, for the ends of rollouts.
    Calendar,
}

impl Clock {
    /// The step, in the format of promtool.
    const fn step(self) -> &'static str {
        match self {
            Self::Minutes => "1m",
            Self::Calendar => "180d",
        }
    }
}

/// Rules that Prometheus evaluates one after another.
#[derive(Serialize)]
struct Group {
    name: String,
    about: String,
    records: Vec<Record>,
    alerts: Vec<Alert>,
}

/// The rules, or their unit tests.
pub(crate) fn render(plan: &Plan, options: &Options) -> anyhow::Result<String> {
    plan.experiments
        .first()
        .context("the file has no experiments, so there is nothing to watch")?;
    for capacity in &options.capacities {
        capacity.known(plan)?;
    }
    let mut groups: Vec<Group> =
        plan.experiments.iter().map(|e| of_experiment(e, options)).collect();
    groups.push(of_proxies(plan, &options.job));
    let mut context = json!({
        "hash": plan.hash.to_string(), "groups": groups, "runbook": options.runbook,
    });
    let template = match &options.output {
        Output::Rules => "rules",
        Output::Operator => "operator",
        Output::Tests { clock, rules } => {
            let alerts = groups.iter().flat_map(|group| &group.alerts);
            let cases: Vec<&Alert> = alerts.filter(|alert| alert.case.clock == *clock).collect();
            anyhow::ensure!(
                *clock != Clock::Calendar || !cases.is_empty(),
                "--tests=calendar requires an experiment with a rollout, but the file has none"
            );
            if let Some(context) = context.as_object_mut() {
                context.insert("cases".to_owned(), json!(cases));
                context.insert("rules".to_owned(), rules.as_str().into());
                context.insert("step".to_owned(), clock.step().into());
            }
            "tests"
        }
    };
    template::render(&TEMPLATES, template, &context)
}

fn of_experiment(experiment: &Experiment, options: &Options) -> Group {
    let series = Series::new(&options.job, Some(experiment));
    let capacity = Capacity::of(experiment, &options.capacities);
    let mut records = records::all(experiment, &series);
    let mut alerts = alerts::of_experiment(experiment, &series);
    if experiment.breaker.mode == BreakerMode::Enforce {
        records.push(records::takeover(experiment, &series, capacity));
        alerts.push(alerts::headroom(experiment, &series, capacity));
    }
    Group {
        name: format!("sidetrack-{}", experiment.name),
        about: format!("The experiment {}.", experiment.name),
        records,
        alerts,
    }
}

impl Capacity {
    /// Checks that the file has the experiment.
    fn known(&self, plan: &Plan) -> anyhow::Result<()> {
        let names: Vec<&str> = plan.experiments.iter().map(|e| e.name.as_str()).collect();
        let stray = self.experiment.as_deref().filter(|name| !names.contains(name));
        anyhow::ensure!(
            stray.is_none(),
            "--baseline-capacity: unknown experiment \"{}\"; expected one of: {}",
            stray.unwrap_or_default(),
            names.join(", ")
        );
        Ok(())
    }

    /// What the baseline of this experiment can serve, in requests per second.
    fn of(experiment: &Experiment, capacities: &[Self]) -> Option<f64> {
        let given = |name: Option<&str>| {
            capacities.iter().rev().find(|capacity| capacity.experiment.as_deref() == name)
        };
        given(Some(&experiment.name)).or_else(|| given(None)).map(|capacity| capacity.rate)
    }
}

fn of_proxies(plan: &Plan, job: &str) -> Group {
    Group {
        name: "sidetrack-proxies".to_owned(),
        about: "All proxies of the job, with any experiment.".to_owned(),
        records: Vec::new(),
        alerts: alerts::of_proxies(plan, &Series::new(job, None)),
    }
}

/// Selectors of the series of the filter and of Envoy.
pub(super) struct Series {
    job: String,
    experiment: Option<String>,
}

impl Series {
    pub(super) fn new(job: &str, experiment: Option<&Experiment>) -> Self {
        Self { job: job.to_owned(), experiment: experiment.map(|e| e.name.clone()) }
    }

    /// A selector: `name{job="…",experiment="…",more}`.
    pub(super) fn of(&self, name: &str, more: &str) -> String {
        let experiment =
            self.experiment.iter().map(|name| format!("{}={}", label::EXPERIMENT, quote(name)));
        let labels = std::iter::once(format!("job={}", quote(&self.job))).chain(experiment);
        let more = Some(more.to_owned()).filter(|more| !more.is_empty());
        format!("{name}{{{}}}", labels.chain(more).collect::<Vec<_>>().join(","))
    }

    /// A selector of Envoy's own series, which have no experiment.
    fn of_envoy(&self, name: &str, more: &str) -> String {
        Self { job: self.job.clone(), experiment: None }.of(name, more)
    }

    /// One series of one proxy, for a test.
    fn one(&self, name: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        self.of(name, &format!("instance=\"proxy-1\"{comma}{more}"))
    }
}

/// The names of the candidates, in the file's order.
fn candidates(experiment: &Experiment) -> Vec<&str> {
    experiment.candidates().map(|id| crate::words::variant(experiment, id)).collect()
}

/// The name of the baseline.
fn baseline(experiment: &Experiment) -> &str {
    crate::words::variant(experiment, experiment.baseline)
}

/// The phases with their weights by variant; without a rollout, one phase without a name.
fn phases(experiment: &Experiment) -> Vec<(&str, &PerVariant<Ppm>)> {
    match &experiment.schedule {
        Schedule::Fixed(weights) => vec![("", weights)],
        Schedule::Rollout(rollout) => {
            rollout.phases.iter().map(|phase| (phase.name.as_str(), &phase.weights)).collect()
        }
    }
}
