//! `sidetrack analyze run`: from access logs and outcomes to a decision.
//!
//! The order of work: lines that count → is the split what the file promises → metrics, stratum by stratum → decision.
//! Everything is by the variant that was *assigned*, whoever answered (intention to treat): the breaker moves only a
//! candidate's units, so to leave its requests out would compare the candidate's good hours with all of the baseline's.

mod account;
mod analysis;
mod estimate;
mod growth;
mod histogram;
mod html;
mod judge;
mod ledger;
mod line;
mod metric;
mod outcomes;
mod read;
mod report;
mod sieve;
mod source;
mod srm;
mod strata;
mod textfile;
mod verdict;
mod worth;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::Timestamp;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::sequential::ConfidenceSequence;

use crate::assign::chosen;
use crate::fault::Fault;
use crate::load::{File, Source};
use crate::out::Out;
use account::{line_counts, share, torn};
use analysis::{Analysis, MetricResult};
use estimate::{Data, Found, Placed};
use growth::Plots;
use judge::{Look, Names};
use ledger::Ledger;
use metric::{Menu, Metric, Wish, Wishes};
use outcomes::Outcomes;
use read::{Lines, Reading};
use sieve::Excluded;
use source::Logs;
pub(crate) use strata::MARK;
use strata::Strata;
use worth::Price;

/// Analyse an experiment from its access logs
///
/// Reads the log lines that the rendered proxies write, joins outcomes, checks the split first, and compares each
/// candidate with the baseline. The unit of analysis is the unit of the log, else the request. As long as the planned
/// number of units is not reached, intervals and p-values are such that you may look at any time.
#[derive(Arguments)]
#[command(
    after_help = "A METRIC is NAME[=KIND][:increase|decrease], a guardrail ends in a margin:\n  \
    --metric accuracy --metric revenue=mean --guardrail latency_p95:20ms --guardrail error_rate:0.5pt\n\
    Built in: error_rate, latency_mean, latency_p50, latency_p95, latency_p99, abort_rate; accuracy when the\n\
    outcomes have `correct` or `prediction,label`; and each of their other columns.\n\n\
    Example:\n  sidetrack analyze run experiment.yaml --exposures access.log* --outcomes outcomes.csv --html report.html"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; needed when it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Access logs, plain or gzip; "-" reads stdin
    #[arg(long, value_name = "LOG", required = true, num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// What became of the predictions: a CSV with a header, request_id or unit, and values
    #[arg(long, value_name = "CSV")]
    outcomes: Option<PathBuf>,
    /// A metric that the experiment is for
    #[arg(long, value_name = "METRIC")]
    metric: Vec<Wish>,
    /// A metric that must not get worse by more than its margin
    #[arg(long, value_name = "METRIC:MARGIN")]
    guardrail: Vec<Wish>,
    /// A metric that is only looked at
    #[arg(long, value_name = "METRIC")]
    explore: Vec<Wish>,
    /// What a step in the good direction is worth per prediction: a point, a millisecond, one
    #[arg(long, value_name = "NAME=AMOUNT")]
    value_per: Vec<Price>,
    /// Units planned for all variants together (`sidetrack size`); reached, a single fixed test is made
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(100..))]
    planned_units: Option<u64>,
    /// The level of significance
    #[arg(long, value_name = "A", default_value_t = 0.05)]
    alpha: f64,
    /// Go on in spite of a sample ratio mismatch
    #[arg(long)]
    allow_srm: bool,
    /// Decide on requests although users were randomised
    #[arg(long)]
    assume_independent_requests: bool,
    /// Leave out, for all variants, the minutes in which a breaker was open
    #[arg(long)]
    exclude_breaker: bool,
    /// Write a report as one page of HTML
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write accuracy and value of each model for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    prometheus_out: Option<PathBuf>,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Which units are planned for when nobody says: the sequence is narrowest around so many.
const USUAL_UNITS: u64 = 10_000;

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let source = Source::read(&args.file.file)?;
    let plan = source.good()?.plan;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    let strata =
        Strata::new(experiment, &String::from_utf8_lossy(source.bytes())).map_err(Fault)?;
    let level = super::fraction("--alpha", args.alpha)?;
    let outcomes =
        args.outcomes.as_ref().map(|path| Outcomes::read(path, experiment)).transpose()?;
    let logs = Logs::new(&args.exposures)?;
    let work = Work { args, experiment, strata, level, outcomes: outcomes.unwrap_or_default() };
    let (analysis, plots) = work.analyse(&logs, plan.hash.to_string())?;
    if let Some(path) = &args.html {
        let page = html::page(&analysis, &plots)?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.prometheus_out {
        textfile::write(path, &analysis)?;
    }
    if args.json {
        out.json(&analysis)?;
    } else {
        report::tell(&analysis, out)?;
    }
    Ok(if analysis.decision == "invalid" { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// One analysis.
struct Work<'a> {
    args: &'a Args,
    experiment: &'a Experiment,
    strata: Strata,
    level: Fraction,
    outcomes: Outcomes,
}

/// What one reading of the logs came to.
struct Pass {
    lines: Lines,
    ledger: Ledger,
    placed: Option<Placed>,
    units: bool,
}

impl Work<'_> {
    fn analyse(&self, logs: &Logs, config_hash: String) -> anyhow::Result<(Analysis, Plots)> {
        let metrics = self.metrics()?;
        let mut pass = self.pass(logs, &BTreeSet::new(), "reading")?;
        let closed: BTreeSet<u64> = pass
            .ledger
            .minutes
            .iter()
            .filter(|(_, arms)| arms.iter().any(|minute| minute.breaker > 0))
            .map(|(minute, _)| *minute)
            .collect();
        let breaker = self.breaker(&pass.ledger);
        let again = (!closed.is_empty() && logs.can_repeat())
            .then(|| self.pass(logs, &closed, "reading again, without open breakers"))
            .transpose()?;
        let mut warnings = std::mem::take(&mut pass.lines.warnings);
        let (main, other) = match again {
            Some(again) if self.args.exclude_breaker => (again, None),
            again => (pass, again),
        };
        if self.args.exclude_breaker && !closed.is_empty() && !logs.can_repeat() {
            anyhow::bail!("--exclude-breaker: stdin can be read only once; give the log as a file");
        }
        let observed = self.observed(&main);
        let total: u64 = observed.iter().flatten().sum();
        let (look, planned_reached) = self.look(total)?;
        let names = self.names();
        let results = self.judged(&main, &metrics, look, &names);
        let without_breaker = other.map(|other| self.judged(&other, &metrics, look, &names));
        let srm = srm::srm(self.experiment, &self.strata, &observed, main.units);
        let request_level = !main.units && self.experiment.assignment == Assignment::UserHash;
        let other_weights = share(main.lines.excluded(Excluded::OtherWeights), main.lines.used);
        let candidates: Vec<&str> = self
            .experiment
            .candidates()
            .filter_map(|candidate| names.variants.get(candidate.index()).copied())
            .collect();
        let verdict = verdict::verdict(&verdict::Grounds {
            metrics: &results,
            without_breaker: without_breaker.as_deref(),
            srm_mismatch: srm.verdict == "mismatch",
            allow_srm: self.args.allow_srm,
            request_level: request_level && !self.args.assume_independent_requests,
            other_weights,
            planned_reached,
            candidates: &candidates,
            baseline: names.variants.get(names.baseline).copied().unwrap_or("the baseline"),
        });
        let plots =
            growth::plots(&self.data(&main), &metrics, look, &names, &self.strata, self.experiment);
        let mut reasons = verdict.reasons;
        if request_level {
            warnings.insert(0, "the log names no units, so this assumes independent requests, which those of one user are not".to_owned());
        }
        warnings.extend(self.warnings(&main, &breaker, other_weights));
        reasons.append(&mut warnings);
        let analysis = Analysis {
            version: 1,
            experiment: self.experiment.name.clone(),
            config_hash,
            from: main.ledger.span.map(|(first, _)| Timestamp::new(first).to_string()),
            to: main.ledger.span.map(|(_, last)| Timestamp::new(last).to_string()),
            unit_of_analysis: if main.units { "unit" } else { "request" },
            test: if matches!(look, Look::Fixed) { "fixed" } else { "always_valid" },
            alpha: self.level.get(),
            planned_units: self.args.planned_units,
            adaptive: self.strata.adaptive,
            lines: line_counts(&main),
            outcomes: self.outcome_counts(&main),
            variants: self.variants(&main, &observed),
            srm,
            breaker,
            torn_units: torn(&main.ledger),
            worth: worth::worth(&results, &self.args.value_per),
            metrics: results,
            without_breaker,
            decision: verdict.decision,
            winner: verdict.winner,
            reasons,
        };
        Ok((analysis, plots))
    }

    fn metrics(&self) -> anyhow::Result<Vec<Metric>> {
        let binary: Vec<bool> = (0..self.outcomes.columns.len())
            .map(|column| self.outcomes.is_binary(column))
            .collect();
        let menu = Menu {
            columns: &self.outcomes.columns,
            by_request: self.outcomes.by_request,
            binary: &binary,
        };
        let args = self.args;
        let wishes =
            Wishes { primary: &args.metric, guardrail: &args.guardrail, explore: &args.explore };
        let metrics = menu.order(&wishes).map_err(Fault)?;
        for price in &args.value_per {
            let known =
                || metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>().join(", ");
            if !metrics.iter().any(|metric| metric.name == price.metric) {
                return Err(Fault(format!(
                    "--value-per {}: there is no such metric; allowed: {}",
                    price.metric,
                    known()
                ))
                .into());
            }
        }
        Ok(metrics)
    }

    fn pass(
        &self,
        logs: &Logs,
        closed: &BTreeSet<u64>,
        title: &'static str,
    ) -> anyhow::Result<Pass> {
        let reading = Reading {
            experiment: self.experiment,
            strata: &self.strata,
            outcomes: &self.outcomes,
            closed,
            title,
        };
        let (lines, ledger) = reading.read(logs)?;
        let random = self.experiment.assignment == Assignment::RequestRandom;
        let units = ledger.named > 0 && !random;
        let by_unit = self.args.outcomes.is_some() && !self.outcomes.by_request;
        anyhow::ensure!(
            !by_unit || units || lines.used == 0,
            Fault(if random {
                "--outcomes: they are about units, but each request draws anew (assignment: request_random); give request_id".to_owned()
            } else {
                "--outcomes: they are about units, but the log names none; give request_id, or set settings.exposure_unit and log again"
                    .to_owned()
            })
        );
        let placed = (by_unit && units).then(|| estimate::place(&ledger, &self.outcomes));
        Ok(Pass { lines, ledger, placed, units })
    }

    fn data<'p>(&self, pass: &'p Pass) -> Data<'p> {
        Data {
            ledger: &pass.ledger,
            by_unit: pass.placed.as_ref().map_or(&[], |placed| placed.columns.as_slice()),
            strata: self.strata.list.len(),
            arms: self.experiment.variants.len(),
            baseline: self.experiment.baseline.index(),
            units: pass.units,
            level: self.level,
        }
    }

    fn judged(
        &self,
        pass: &Pass,
        metrics: &[Metric],
        look: Look,
        names: &Names<'_>,
    ) -> Vec<MetricResult> {
        let data = self.data(pass);
        // Callers that leave are worth a line only where some did.
        let aborts = (0..self.strata.list.len() * self.experiment.variants.len()).any(|slot| {
            let arms = self.experiment.variants.len();
            pass.ledger.totals(slot / arms, slot % arms).is_some_and(|totals| totals.aborted > 0)
        });
        let wanted = metrics.iter().filter(|metric| {
            aborts
                || metric.source != metric::Source::Aborts
                || metric.role != metric::Role::Exploratory
        });
        let measured: Vec<(Metric, Vec<Found>)> =
            wanted.map(|metric| (metric.clone(), data.measure(metric))).collect();
        judge::judge(&measured, look, self.level, names)
    }

    fn names(&self) -> Names<'_> {
        Names {
            variants: self
                .experiment
                .variants
                .iter()
                .map(|variant| variant.name.as_str())
                .collect(),
            baseline: self.experiment.baseline.index(),
            strata: self.strata.list.iter().map(|stratum| stratum.name.as_deref()).collect(),
        }
    }

    /// Fixed once the plan is met, and always valid before.
    fn look(&self, units: u64) -> anyhow::Result<(Look, bool)> {
        if self.args.planned_units.is_some_and(|planned| units >= planned) {
            return Ok((Look::Fixed, true));
        }
        let planned = self.args.planned_units.unwrap_or(USUAL_UNITS);
        let sequence = ConfidenceSequence::new(planned, self.level)
            .map_err(|error| Fault(format!("--planned-units: {error}")))?;
        Ok((Look::Always(sequence), false))
    }

    /// Units by stratum and variant, each once, by its first request; requests where there are no units.
    fn observed(&self, pass: &Pass) -> Vec<Vec<u64>> {
        let arms = self.experiment.variants.len();
        let mut observed = vec![vec![0; arms]; self.strata.list.len()];
        let mut add = |stratum: usize, arm: usize, more: u64| {
            if let Some(count) = observed.get_mut(stratum).and_then(|counts| counts.get_mut(arm)) {
                *count += more;
            }
        };
        if pass.units {
            for (_, cell) in pass.ledger.units().filter_map(ledger::Unit::first) {
                add(usize::from(cell.stratum), usize::from(cell.arm), 1);
            }
        } else {
            for (stratum, arm) in
                (0..self.strata.list.len()).flat_map(|s| (0..arms).map(move |arm| (s, arm)))
            {
                add(
                    stratum,
                    arm,
                    pass.ledger.totals(stratum, arm).map_or(0, |totals| totals.requests),
                );
            }
        }
        observed
    }
}
