//! `sidetrack analyze run`: arguments and printers of the analysis of access logs.

mod asked;
pub(crate) mod exposures;
mod memory;
mod methods;
mod mistake;
pub(crate) mod planned;
mod progress;
mod report;
mod textfile;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack::plan::Experiment;
use sidetrack::quantity::Millis;
use sidetrack_analysis::plan::AnalysisPlan;
use sidetrack_analysis::summary::Choices;
use sidetrack_analysis::{
    Cap, CheckName, Dimension, EqualRows, Input, LlmSource, Moment, Outcomes, Settings, Short,
    Strata, Subject, Wanted, Window, conclude, dimension, summarize,
};

use crate::fault::Fault;
use crate::load::{File, Loaded, Source, chosen};
use crate::out::Out;
pub(super) use asked::{Asked, Metrics};
use memory::MemoryArgs;
pub(super) use mistake::mistake;
use progress::Progress;

/// Analyze an experiment from its access logs
///
/// Reads the access logs of the rendered proxies, joins outcomes, checks the split, and compares each candidate with the
/// baseline. The unit of analysis is the unit in the log, else the request. Until the planned number of units is
/// reached, intervals and p-values are always valid: look as often as you like.
#[derive(Arguments)]
#[command(
    after_help = "A METRIC is NAME[=KIND][:increase|decrease], a guardrail ends in a margin:\n  \
    --metric accuracy --metric revenue=mean --guardrail error_rate:0.5pt\n\
    Built in: error_rate, latency_mean, latency_p50, latency_p95, latency_p99,\n\
    abort_rate; accuracy if the outcomes have `correct` or `prediction,label`; and\n\
    each of their other columns. Of language models, from the access log: tokens_in,\n\
    tokens_out, cost, first_token, tokens_per_second. Of models whose columns\n\
    `analysis.model` of the file names: auc, f1, log_loss and others.\n\n\
    Example:\n  sidetrack analyze run experiment.yaml --exposures access.log* \\\n    \
    --outcomes outcomes.csv --html report.html"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Exposures: JSON lines, CSV, Parquet or OTLP, plain, gzip or zstd; files, folders that contain them, or quoted
    /// patterns; "-" reads stdin
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
    /// Outcomes by request_id or unit: CSV with a header, JSON or Parquet, plain, gzip or zstd; several files may have
    /// different columns; "-" reads stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    outcomes: Vec<PathBuf>,
    /// How long outcomes count, from the first request of their unit in a phase, as in 7d
    #[arg(long, value_name = "TIME", value_parser = attribution)]
    attribution: Option<Millis>,
    /// Cap the values of units at this quantile of all units, as in revenue=99.9%
    #[arg(long, value_name = "METRIC=QUANTILE")]
    cap: Vec<Cap>,
    /// Show the results by a column of the outcomes or a field of the log as well, as in country;
    /// segments decide nothing
    #[arg(long, value_name = "NAME", value_parser = dimension)]
    segment: Vec<String>,
    /// Leave out, for all variants, the minutes in which a breaker was open
    #[arg(long)]
    exclude_breaker: bool,
    /// Write the sums that the verdict is made of as a CSV table, which `analyze summary` reads
    #[arg(long, value_name = "FILE")]
    summary_out: Option<PathBuf>,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    asked: Asked,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    args.check_stdin()?;
    let source = Source::read(&args.file.file)?;
    let loaded = source.good()?;
    let (experiment, planned) = planned_experiment(&loaded, args.experiment.as_deref())?;
    let text = String::from_utf8_lossy(source.bytes());
    let strata = Strata::new(experiment, &text).map_err(mistake)?;
    let named = args.asked.named(planned);
    let dimensions = args.dimensions(planned);
    let segments: Vec<&str> = dimensions.iter().map(|it| it.name.as_str()).collect();
    let equal = if args.asked.allow.contains(&CheckName::RepeatedRows) {
        EqualRows::Count
    } else {
        EqualRows::Skip
    };
    let model = planned.and_then(|plan| plan.model.as_ref());
    let wanted = Wanted { named: &named, segments: &segments, equal, model };
    let outcomes = exposures::outcomes(&args.outcomes, experiment, wanted)?;
    let logs = exposures::read(&args.exposures)?;
    let choices = args.choices()?;
    let (required, optional) = args.asked.needs(planned);
    let llm = LlmSource {
        experiment,
        strata: &strata,
        logs: &logs,
        trial: choices.trial,
        window: choices.window,
        prices: planned.map_or(&[], |plan| &plan.prices),
        required: &required,
        optional: &optional,
    };
    let outcomes = exposures::with_llm(outcomes, llm)?;
    let columns = outcomes.as_ref().map_or(&[][..], Outcomes::columns);
    let settings = args.asked.settings(planned, columns, &choices)?;
    let spill = Some(args.memory.spill());
    let settings = Settings { segments: dimensions.clone(), spill, ..settings };
    let config_hash = loaded.plan.hash.to_string();
    let subject = Subject { experiment, strata: &strata, config_hash: &config_hash };
    let input = Input {
        experiment,
        strata: &strata,
        config_hash: &config_hash,
        logs: &logs,
        outcomes: outcomes.as_ref(),
    };
    let progress = Progress::new(&logs);
    let summary = summarize(input, &settings, &|pass, lines| progress.report(pass, lines))
        .map_err(mistake)?;
    progress.end();
    let (analysis, series) = conclude(subject, &settings, &summary).map_err(mistake)?;
    if let Some(path) = &args.summary_out {
        let mut table = Vec::new();
        summary.table(subject).write(&mut table)?;
        crate::atomic::write(path, &table)
            .with_context(|| format!("--summary-out: cannot write {}", path.display()))?;
    }
    args.asked.report(&analysis, &series, out)
}

/// The experiment of this name, and its plan.
pub(super) fn planned_experiment<'l>(
    loaded: &'l Loaded,
    name: Option<&str>,
) -> anyhow::Result<(&'l Experiment, Option<&'l AnalysisPlan>)> {
    let experiment = chosen(&loaded.plan, name)?;
    let mut experiments = loaded.plan.experiments.iter();
    let place = experiments.position(|other| other.name == experiment.name);
    Ok((experiment, place.and_then(|place| loaded.analyses.get(place)?.as_ref())))
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
pub(super) fn attribution(text: &str) -> Result<Millis, String> {
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

    /// By what results are shown separately.
    fn dimensions(&self, planned: Option<&AnalysisPlan>) -> Vec<Dimension> {
        planned.cloned().unwrap_or_default().dimensions(&self.segment)
    }

    /// Which data are summed up.
    fn choices(&self) -> anyhow::Result<Choices> {
        let window = Window { since: self.since, until: self.until };
        if let (Some(since), Some(until)) = (window.since, window.until)
            && since >= until
        {
            return Err(Fault(format!(
                "--until is {until}, but must be later than --since ({since})"
            ))
            .into());
        }
        Ok(Choices {
            trial: self.trial,
            window,
            attribution: self.attribution,
            caps: self.cap.clone(),
            exclude_breaker: self.exclude_breaker,
        })
    }
}
