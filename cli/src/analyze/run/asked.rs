//! What is asked of the data, whether they are logs or a summary: metrics, limits, and what is printed.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as Arguments;
use sidetrack_analysis::answer::Decision;
use sidetrack_analysis::plan::{AnalysisPlan, Exploratory};
use sidetrack_analysis::summary::Choices;
use sidetrack_analysis::{
    ALPHA, Analysis, CheckName, MetricRequest, MetricRequests, Price, Series, Settings,
};
use sidetrack_store::{TablesFormat, write_tables};

use super::methods::MethodArgs;
use super::{planned_units, report, textfile};
use crate::out::Out;

/// The metrics.
#[derive(Arguments)]
pub(in crate::analyze) struct Metrics {
    /// A primary metric: it decides
    #[arg(long, value_name = "METRIC")]
    metric: Vec<MetricRequest>,
    /// A guardrail: a metric that must not get worse by more than its margin
    #[arg(long, value_name = "METRIC:MARGIN")]
    guardrail: Vec<MetricRequest>,
    /// An exploratory metric: it decides nothing
    #[arg(long, value_name = "METRIC")]
    explore: Vec<MetricRequest>,
}

impl Metrics {
    /// The metrics as they are asked for, by their roles.
    fn requests(&self) -> MetricRequests {
        MetricRequests {
            primary: self.metric.clone(),
            guardrail: self.guardrail.clone(),
            exploratory: self.explore.clone(),
        }
    }

    /// The settings that decide which sums are made.
    pub(in crate::analyze) fn settings(
        &self,
        planned: Option<&AnalysisPlan>,
        columns: &[String],
        choices: &Choices,
    ) -> anyhow::Result<Settings> {
        let asked = self.requests();
        let mut exploratory = Vec::new();
        let planned = planned.map(|plan| plan.within(columns, &asked, &mut exploratory));
        let threads = NonZero::<usize>::MIN;
        let settings = Settings::planned(planned.as_ref(), threads)?;
        let planned = planned.as_ref();
        Ok(Settings {
            trial: choices.trial,
            window: choices.window,
            metrics: planned.map_or_else(
                || asked.clone(),
                |planned| planned.metrics(asked.clone(), &mut exploratory),
            ),
            caps: planned.map_or_else(
                || choices.caps.clone(),
                |planned| planned.caps(&choices.caps, &mut exploratory),
            ),
            attribution: choices.attribution.or_else(|| planned?.attribution),
            exploratory,
            ..settings
        })
    }
}

/// The metrics, and what is done with the result.
#[derive(Arguments)]
pub(in crate::analyze) struct Asked {
    #[command(flatten)]
    metrics: Metrics,
    /// The value per prediction of a step in the good direction: a percentage point, a millisecond, one
    #[arg(long, value_name = "NAME=AMOUNT")]
    pub(in crate::analyze) value_per: Vec<Price>,
    /// Units planned for all variants together (`sidetrack size`); once reached, a fixed test decides
    #[arg(long, value_name = "N", value_parser = planned_units)]
    pub(in crate::analyze) planned_units: Option<u64>,
    #[command(flatten)]
    pub(in crate::analyze) methods: MethodArgs,
    /// The level of significance
    #[arg(long, value_name = "A", default_value_t = ALPHA)]
    pub(in crate::analyze) alpha: f64,
    /// Decide despite a sample ratio mismatch
    #[arg(long)]
    pub(in crate::analyze) allow_srm: bool,
    /// Decide despite a check of the data that fails; the report names it. With repeated_rows, rows by
    /// unit that are equal, time and all, count each
    #[arg(long, value_name = "CHECK")]
    pub(in crate::analyze) allow: Vec<CheckName>,
    /// Decide by requests although users were randomized
    #[arg(long)]
    pub(in crate::analyze) assume_independent_requests: bool,
    /// Write a report as a single HTML page
    #[arg(long, value_name = "FILE")]
    pub(in crate::analyze) html: Option<PathBuf>,
    /// Write every table and the series of the plots into this folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::analyze) tables: Option<PathBuf>,
    /// How --tables writes them: csv or parquet
    #[arg(long, value_name = "FORMAT", requires = "tables", default_value = "csv")]
    pub(in crate::analyze) tables_format: TablesFormat,
    /// Write accuracy and business value of each model for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    pub(in crate::analyze) prometheus_out: Option<PathBuf>,
    /// Exit with 0 for promote, 3 for keep_baseline, 4 for inconclusive (always: 1 for invalid)
    #[arg(long)]
    pub(in crate::analyze) exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::analyze) json: bool,
}

impl Asked {
    /// The columns that are named, by an option or the plan.
    pub(in crate::analyze) fn named<'a>(
        &'a self,
        planned: Option<&'a AnalysisPlan>,
    ) -> Vec<&'a str> {
        let asked = [&self.metrics.metric, &self.metrics.guardrail, &self.metrics.explore];
        let covariates = self.methods.covariate.iter().map(String::as_str);
        let asked = asked.into_iter().flatten().flat_map(MetricRequest::columns).chain(covariates);
        asked.chain(planned.map(AnalysisPlan::named).into_iter().flatten()).collect()
    }

    /// The columns that options name, and that the data must have; and those that only the plan names, which may be
    /// about other data if a primary metric is asked for.
    pub(in crate::analyze) fn needs<'a>(
        &'a self,
        planned: Option<&'a AnalysisPlan>,
    ) -> (Vec<&'a str>, Vec<&'a str>) {
        if self.metrics.metric.is_empty() {
            (self.named(planned), Vec::new())
        } else {
            (self.named(None), self.named(planned))
        }
    }

    /// Options that change what is decided and are not in the plan; metrics and the time aside, whose effect the data show.
    fn unplanned(&self, planned: &AnalysisPlan, choices: &Choices) -> Vec<Exploratory> {
        let units = self.planned_units.filter(|units| planned.planned_units != Some(*units));
        let attribution = choices.attribution.filter(|time| planned.attribution != Some(*time));
        let options = [
            units.map(|units| format!("--planned-units {units}")),
            attribution.map(|time| format!("--attribution {time}")),
            ((self.alpha - ALPHA).abs() > f64::EPSILON).then(|| format!("--alpha {}", self.alpha)),
            self.allow_srm.then(|| "--allow-srm".to_owned()),
            self.assume_independent_requests.then(|| "--assume-independent-requests".to_owned()),
            choices.exclude_breaker.then(|| "--exclude-breaker".to_owned()),
        ];
        options.into_iter().flatten().map(Exploratory::Unplanned).collect()
    }

    /// The settings. `columns`: those of the outcomes; `choices`: which data are summed up.
    pub(in crate::analyze) fn settings(
        &self,
        planned: Option<&AnalysisPlan>,
        columns: &[String],
        choices: &Choices,
    ) -> anyhow::Result<Settings> {
        let mut exploratory =
            planned.map_or_else(Vec::new, |planned| self.unplanned(planned, choices));
        let made = self.metrics.settings(planned, columns, choices)?;
        exploratory.extend(made.exploratory.iter().cloned());
        Ok(Settings {
            methods: planned.map_or_else(
                || self.methods.methods(),
                |planned| planned.methods(&self.methods.methods(), &mut exploratory),
            ),
            exploratory,
            prices: self.value_per.clone(),
            planned_units: self.planned_units.or_else(|| planned?.planned_units),
            level: crate::analyze::fraction("--alpha", self.alpha)?,
            allow_srm: self.allow_srm,
            allowed: self.allow.clone(),
            assume_independent_requests: self.assume_independent_requests,
            exclude_breaker: choices.exclude_breaker,
            threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            ..made
        })
    }

    /// Prints and writes the result.
    pub(in crate::analyze) fn report(
        &self,
        analysis: &Analysis,
        series: &Series,
        out: &mut Out,
    ) -> anyhow::Result<ExitCode> {
        if let Some(path) = &self.html {
            let page = sidetrack_store::report(analysis, series)?;
            crate::atomic::write(path, page.as_bytes())
                .with_context(|| format!("--html: cannot write {}", path.display()))?;
        }
        if let Some(folder) = &self.tables {
            write_tables(folder, self.tables_format, analysis, series)
                .with_context(|| format!("--tables: cannot write into {}", folder.display()))?;
        }
        if let Some(path) = &self.prometheus_out {
            textfile::write(path, analysis)?;
        }
        if self.json {
            out.json(analysis)?;
        } else {
            report::print(analysis, out)?;
        }
        Ok(match analysis.decision {
            Decision::Invalid => ExitCode::from(1),
            Decision::KeepBaseline if self.exit_code => ExitCode::from(3),
            Decision::Inconclusive if self.exit_code => ExitCode::from(4),
            Decision::Promote | Decision::KeepBaseline | Decision::Inconclusive => {
                ExitCode::SUCCESS
            }
        })
    }
}
