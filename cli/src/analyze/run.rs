//! `sidetrack analyze run`: arguments and printers of the analysis of access logs.

mod exposures;
mod headline;
mod html;
mod mistake;
pub(crate) mod planned;
mod progress;
mod report;
mod textfile;
mod words;

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack::quantity::Millis;
use sidetrack_analysis::answer::Decision;
use sidetrack_analysis::plan::{AnalysisPlan, Exploratory};
use sidetrack_analysis::{
    ALPHA, Cap, CheckName, EqualRows, Input, Logs, MetricRequest, MetricRequests, Moment, Outcomes,
    Price, Settings, Short, Strata, Window, analyze,
};

use crate::fault::Fault;
use crate::load::{File, Loaded, Source, chosen};
use crate::out::Out;
use mistake::mistake;
use progress::Progress;

/// Analyze an experiment from its access logs
///
/// Reads the access logs of the rendered proxies, joins outcomes, checks the split, and compares each candidate with the
/// baseline. The unit of analysis is the unit in the log, else the request. Until the planned number of units is
/// reached, intervals and p-values are always valid: look as often as you like.
#[derive(Arguments)]
#[command(
    after_help = "A METRIC is NAME[=KIND][:increase|decrease], a guardrail ends in a margin:\n  \
    --metric accuracy --metric revenue=mean --guardrail latency_p95:20ms --guardrail error_rate:0.5pt\n\
    Built in: error_rate, latency_mean, latency_p50, latency_p95, latency_p99, abort_rate; accuracy if the\n\
    outcomes have `correct` or `prediction,label`; and each of their other columns.\n\n\
    Example:\n  sidetrack analyze run experiment.yaml --exposures access.log* --outcomes outcomes.csv --html report.html"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Access logs, plain or gzip, or folders that contain them (names with .log); "-" reads stdin
    #[arg(long, value_name = "LOG", required = true, num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// The trial to analyze, as `trial` in the log [default: that of the file]
    #[arg(long, value_name = "HEX")]
    trial: Option<Short>,
    /// Only requests since this time: RFC 3339, or a date (midnight UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only requests before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Outcomes by request_id or unit: CSV with a header, or JSON; "-" reads stdin
    #[arg(long, value_name = "FILE")]
    outcomes: Option<PathBuf>,
    /// A primary metric: it decides
    #[arg(long, value_name = "METRIC")]
    metric: Vec<MetricRequest>,
    /// A guardrail: a metric that must not get worse by more than its margin
    #[arg(long, value_name = "METRIC:MARGIN")]
    guardrail: Vec<MetricRequest>,
    /// An exploratory metric: it decides nothing
    #[arg(long, value_name = "METRIC")]
    explore: Vec<MetricRequest>,
    /// The value per prediction of a step in the good direction: a percentage point, a millisecond, one
    #[arg(long, value_name = "NAME=AMOUNT")]
    value_per: Vec<Price>,
    /// Units planned for all variants together (`sidetrack size`); once reached, a fixed test decides
    #[arg(long, value_name = "N", value_parser = planned_units)]
    planned_units: Option<u64>,
    /// How long outcomes count, from the first request of their unit in a phase, as in 7d
    #[arg(long, value_name = "TIME", value_parser = attribution)]
    attribution: Option<Millis>,
    /// Cap the values of units at this quantile of all units, as in revenue=99.9%
    #[arg(long, value_name = "METRIC=QUANTILE")]
    cap: Vec<Cap>,
    /// The level of significance
    #[arg(long, value_name = "A", default_value_t = ALPHA)]
    alpha: f64,
    /// Decide despite a sample ratio mismatch
    #[arg(long)]
    allow_srm: bool,
    /// Decide despite a check of the data that fails; the report names it. With repeated_rows, rows by
    /// unit that are equal, time and all, count each
    #[arg(long, value_name = "CHECK")]
    allow: Vec<CheckName>,
    /// Decide by requests although users were randomized
    #[arg(long)]
    assume_independent_requests: bool,
    /// Leave out, for all variants, the minutes in which a breaker was open
    #[arg(long)]
    exclude_breaker: bool,
    /// Write a report as a single HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write accuracy and business value of each model for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    prometheus_out: Option<PathBuf>,
    /// Exit with 0 for promote, 3 for keep_baseline, 4 for inconclusive (always: 1 for invalid)
    #[arg(long)]
    exit_code: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    args.check_stdin()?;
    let source = Source::read(&args.file.file)?;
    let Loaded { plan, analyses, .. } = source.good()?;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    let place = plan.experiments.iter().position(|other| other.name == experiment.name);
    let planned = place.and_then(|place| analyses.get(place)?.as_ref());
    let text = String::from_utf8_lossy(source.bytes());
    let strata = Strata::new(experiment, &text).map_err(mistake)?;
    let named = args.named(planned);
    let named: Vec<&str> = named.iter().map(MetricRequest::name).collect();
    let equal = if args.allow.contains(&CheckName::RepeatedRows) {
        EqualRows::Count
    } else {
        EqualRows::Skip
    };
    let read = |path| Outcomes::read_with(path, experiment, &named, equal);
    let outcomes = args.outcomes.as_deref().map(read);
    let outcomes = outcomes.transpose().map_err(mistake)?;
    let settings = args.settings(planned, outcomes.as_ref())?;
    let logs = Logs::new(&exposures::files(&args.exposures)?).map_err(mistake)?;
    let input = Input {
        experiment,
        strata: &strata,
        config_hash: &plan.hash.to_string(),
        logs: &logs,
        outcomes: outcomes.as_ref(),
    };
    let progress = Progress::new(&logs);
    let (analysis, series) =
        analyze(input, &settings, &|pass, lines| progress.report(pass, lines)).map_err(mistake)?;
    progress.end();
    if let Some(path) = &args.html {
        let page = html::page(&analysis, &series)?;
        crate::atomic::write(path, page.as_bytes())
            .with_context(|| format!("--html: cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.prometheus_out {
        textfile::write(path, &analysis)?;
    }
    if args.json {
        out.json(&analysis)?;
    } else {
        report::print(&analysis, out)?;
    }
    Ok(match analysis.decision {
        Decision::Invalid => ExitCode::from(1),
        Decision::KeepBaseline if args.exit_code => ExitCode::from(3),
        Decision::Inconclusive if args.exit_code => ExitCode::from(4),
        Decision::Promote | Decision::KeepBaseline | Decision::Inconclusive => ExitCode::SUCCESS,
    })
}

/// Reads a number of units.
fn planned_units(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|units| *units >= 100).ok_or_else(|| {
        "expected a whole number of at least 100; `sidetrack size` computes how many units an effect \
         needs"
            .to_owned()
    })
}

/// Reads a time as the experiment file writes it.
fn attribution(text: &str) -> Result<Millis, String> {
    const LONGEST: Millis = Millis::new(400 * 86_400_000);
    let in_range = |time: &Millis| *time >= Millis::new(1000) && *time <= LONGEST;
    Millis::parse(text).filter(in_range).ok_or_else(|| {
        "not a time from 1s to 400d; expected a number with s, m, h or d, as in 7d".to_owned()
    })
}

impl Args {
    /// Refuses to read stdin twice.
    fn check_stdin(&self) -> anyhow::Result<()> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
        let files = std::iter::once(&self.file.file).chain(&self.exposures).chain(&self.outcomes);
        if files.filter(is_stdin).count() > 1 {
            let problem = "\"-\" is given twice, but stdin can be read only once; give files";
            return Err(Fault(problem.to_owned()).into());
        }
        Ok(())
    }

    /// The metrics that are named, by an option or the plan.
    fn named(&self, planned: Option<&AnalysisPlan>) -> Vec<MetricRequest> {
        let asked = [&self.metric, &self.guardrail, &self.explore].into_iter().flatten();
        let planned = planned.map(|plan| plan.metrics.iter().chain(&plan.guardrails));
        asked.chain(planned.into_iter().flatten()).cloned().collect()
    }

    /// Options that change what is decided and are not in the plan; metrics and the time aside, whose effect the data show.
    fn unplanned(&self, planned: &AnalysisPlan) -> Vec<Exploratory> {
        let units = self.planned_units.filter(|units| planned.planned_units != Some(*units));
        let attribution = self.attribution.filter(|time| planned.attribution != Some(*time));
        let options = [
            units.map(|units| format!("--planned-units {units}")),
            attribution.map(|time| format!("--attribution {time}")),
            ((self.alpha - ALPHA).abs() > f64::EPSILON).then(|| format!("--alpha {}", self.alpha)),
            self.allow_srm.then(|| "--allow-srm".to_owned()),
            self.assume_independent_requests.then(|| "--assume-independent-requests".to_owned()),
            self.exclude_breaker.then(|| "--exclude-breaker".to_owned()),
        ];
        options.into_iter().flatten().map(Exploratory::Unplanned).collect()
    }

    fn settings(
        &self,
        planned: Option<&AnalysisPlan>,
        outcomes: Option<&Outcomes>,
    ) -> anyhow::Result<Settings> {
        let window = Window { since: self.since, until: self.until };
        if let (Some(since), Some(until)) = (window.since, window.until)
            && since >= until
        {
            return Err(Fault(format!(
                "--until is {until}, but must be later than --since ({since})"
            ))
            .into());
        }
        let asked = MetricRequests {
            primary: self.metric.clone(),
            guardrail: self.guardrail.clone(),
            exploratory: self.explore.clone(),
        };
        let mut exploratory = planned.map_or_else(Vec::new, |planned| self.unplanned(planned));
        let planned = planned.map(|plan| plan.within(outcomes, &asked, &mut exploratory));
        let planned = planned.as_ref();
        Ok(Settings {
            trial: self.trial,
            window,
            metrics: planned.map_or_else(
                || asked.clone(),
                |planned| planned.metrics(asked.clone(), &mut exploratory),
            ),
            caps: planned.map_or_else(
                || self.cap.clone(),
                |planned| planned.caps(&self.cap, &mut exploratory),
            ),
            attribution: self.attribution.or_else(|| planned?.attribution),
            exploratory,
            prices: self.value_per.clone(),
            planned_units: self.planned_units.or_else(|| planned?.planned_units),
            level: super::fraction("--alpha", self.alpha)?,
            allow_srm: self.allow_srm,
            allowed: self.allow.clone(),
            assume_independent_requests: self.assume_independent_requests,
            exclude_breaker: self.exclude_breaker,
            threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        })
    }
}
