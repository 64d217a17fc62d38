//! `render prometheus`: recording rules and alerts for the experiments of a file, and unit tests for those very rules.
//!
//! Limits, shares, phases and the expected configuration come from the file, so that nobody writes a threshold twice.
//! Each alert carries the case that proves it ([`alerts::Case`]), so that there is none without a test.
//!
//! Deliberately absent: routing of alerts, which is Alertmanager's, and a scrape configuration, which depends on where the
//! proxies run.

mod alerts;
mod records;

use std::io::Write;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use sidetrack::names::label;
use sidetrack::plan::{Experiment, PerVariant, Plan};
use sidetrack::quantity::Ppm;
use sidetrack::rollout::Schedule;

use self::alerts::Alert;
use self::records::Record;
use crate::exit::ExitStatus;
use crate::load::{self, File};
use crate::out::Out;
use crate::template::{self, quote};

const TEMPLATES: [(&str, &str); 3] = [
    ("rules", include_str!("../../templates/prometheus-rules.yaml")),
    ("operator", include_str!("../../templates/prometheus-operator.yaml")),
    ("tests", include_str!("../../templates/prometheus-tests.yaml")),
];

/// Write recording rules and alerts for Prometheus, with the limits of an experiment file
///
/// Write them anew whenever the experiment file changes: they hold its limits, its phases and its hash. With --tests, the
/// unit tests of the same rules for `promtool test rules`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    sidetrack render prometheus experiment.yaml --job envoy > sidetrack.rules.yaml\n  \
    sidetrack render prometheus experiment.yaml --job envoy --tests > sidetrack.tests.yaml\n  \
    promtool check rules sidetrack.rules.yaml\n  \
    promtool test rules sidetrack.tests.yaml")]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The job under which Prometheus scrapes the proxies
    #[arg(long, value_name = "NAME", default_value = "sidetrack")]
    job: String,
    /// Where alerts send people for what to do; the alert's name is appended as an anchor
    #[arg(long, value_name = "URL", default_value = "docs/operations.md")]
    runbook: String,
    /// Wrap the rules in a PrometheusRule for the Prometheus Operator
    #[arg(long, conflicts_with = "tests")]
    operator: bool,
    /// Write the unit tests of the rules instead. Those of a rollout's end need another clock and stand in a file of their own:
    /// --tests=calendar
    #[arg(long, value_name = "CLOCK", num_args = 0..=1, require_equals = true, default_missing_value = "minutes")]
    tests: Option<Clock>,
    /// With --tests, where the rules are, as seen from the tests
    #[arg(long, value_name = "PATH", default_value = "sidetrack.rules.yaml", requires = "tests")]
    rules: String,
}

/// How the time goes in unit tests. They begin in 1970 and Prometheus looks at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Clock {
    /// Minute by minute: all alerts but the ends of rollouts.
    Minutes,
    /// Half a year at a time, up to the ends of rollouts.
    Calendar,
}

impl Clock {
    /// As promtool writes it.
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

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    let plan = load::load(&args.file.file)?.plan;
    plan.experiments
        .first()
        .context("the file has no experiments, so there is nothing to watch")?;
    let mut groups: Vec<Group> =
        plan.experiments.iter().map(|e| of_experiment(e, &args.job)).collect();
    groups.push(of_proxies(&plan, &args.job));
    let text = render(args, &plan, groups)?;
    out.write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

fn of_experiment(experiment: &Experiment, job: &str) -> Group {
    let series = Series::new(job, Some(experiment));
    Group {
        name: format!("sidetrack-{}", experiment.name),
        about: format!("The experiment {}.", experiment.name),
        records: records::all(experiment, &series),
        alerts: alerts::of_experiment(experiment, &series),
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

fn render(args: &Args, plan: &Plan, groups: Vec<Group>) -> anyhow::Result<String> {
    let (template, cases) = match args.tests {
        None if args.operator => ("operator", Vec::new()),
        None => ("rules", Vec::new()),
        Some(clock) => {
            let alerts = groups.iter().flat_map(|group| &group.alerts);
            ("tests", alerts.filter(|alert| alert.case.clock == clock).collect())
        }
    };
    anyhow::ensure!(
        args.tests != Some(Clock::Calendar) || !cases.is_empty(),
        "--tests=calendar: no experiment of the file has a rollout, so no alert depends on the calendar"
    );
    let context = json!({
        "hash": plan.hash.to_string(), "cases": cases, "groups": groups, "runbook": args.runbook, "rules": args.rules,
        "step": args.tests.map(Clock::step),
    });
    template::render(&TEMPLATES, template, &context)
}

/// Names series the way the filter and Envoy do.
struct Series {
    job: String,
    experiment: Option<String>,
}

impl Series {
    fn new(job: &str, experiment: Option<&Experiment>) -> Self {
        Self { job: job.to_owned(), experiment: experiment.map(|e| e.name.clone()) }
    }

    /// A selector: `name{job="…",experiment="…",more}`.
    fn of(&self, name: &str, more: &str) -> String {
        let experiment =
            self.experiment.iter().map(|name| format!("{}={}", label::EXPERIMENT, quote(name)));
        let labels = std::iter::once(format!("job={}", quote(&self.job))).chain(experiment);
        let more = Some(more.to_owned()).filter(|more| !more.is_empty());
        format!("{name}{{{}}}", labels.chain(more).collect::<Vec<_>>().join(","))
    }

    /// The same of Envoy's own series, which know of no experiment.
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

/// The phases with their weights by variant; one without a name when there is no rollout.
fn phases(experiment: &Experiment) -> Vec<(&str, &PerVariant<Ppm>)> {
    match &experiment.schedule {
        Schedule::Fixed(weights) => vec![("", weights)],
        Schedule::Rollout(rollout) => {
            rollout.phases.iter().map(|phase| (phase.name.as_str(), &phase.weights)).collect()
        }
    }
}
