//! The fields of a summary, in the order of its table.

mod covariates;
mod lines;
mod rows;
mod segments;
mod sums;

use std::collections::BTreeMap;

use sidetrack::plan::Experiment;
use sidetrack::quantity::{Millis, Ppm, Timestamp};

use super::exchange::Exchange;
use super::settings::Choices;
use super::table::Table;
use super::{RowFacts, Summary};
use crate::analyze::{Read, Settings, Subject, selected, trial};
use crate::answer::Role;
use crate::attribution::Attribution;
use crate::cap::Cap;
use crate::check::CheckName;
use crate::checks::Touched;
use crate::error::{Error, Part};
use crate::join::Shape;
use crate::metric::{Absent, Available, Metric, Origin};
use crate::phases::Timeline;
use crate::source::Trial;

/// Minutes of a day.
pub(super) const DAY: u64 = 1440;
/// The version of the table.
const VERSION: u64 = 1;

impl Table {
    /// Which data the table sums up. A verdict from it has the same settings.
    ///
    /// # Errors
    /// A row that makes no sense.
    pub fn choices(&self) -> Result<Choices, String> {
        let mut exchange = Exchange::read(self.clone(), &[]);
        let mut choices = Choices::default();
        choices.exchange(&mut exchange);
        exchange.problem().map_or(Ok(choices), Err)
    }

    /// The columns of the outcomes that the table sums up.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let mut exchange = Exchange::read(self.clone(), &[]);
        let mut facts = RowFacts::default();
        facts.columns(&mut exchange);
        facts.columns
    }
}

impl Summary {
    /// The summary as a table.
    #[must_use]
    pub fn table(mut self, subject: Subject<'_>) -> Table {
        let variants = variants(subject.experiment);
        let mut exchange = Exchange::write(&variants);
        // Only reading can fail.
        self.exchange(&mut exchange, subject, None).ok();
        exchange.into_table()
    }

    /// The summary of a table. The settings must have the [`Table::choices`] of the table.
    ///
    /// # Errors
    /// A table of another experiment or version, with rows that make no sense, or without the sums of a metric.
    pub fn of_table(
        table: Table,
        subject: Subject<'_>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let variants = variants(subject.experiment);
        let mut exchange = Exchange::read(table, &variants);
        let of_file = trial(subject.experiment)?;
        let mut summary = Self {
            trial: Trial { wanted: of_file, of_file },
            choices: Choices::default(),
            files: Vec::new(),
            ids: Vec::new(),
            not_checked: BTreeMap::new(),
            breaker: Touched::default(),
            rows: None,
            main: Read::default(),
            other: None,
        };
        summary.exchange(&mut exchange, subject, Some(settings))?;
        exchange.end().map_err(bad)?;
        summary.adjusts(settings)?;
        Ok(summary)
    }

    /// With `settings`, reads.
    fn exchange(
        &mut self,
        x: &mut Exchange<'_>,
        subject: Subject<'_>,
        settings: Option<&Settings>,
    ) -> Result<(), Error> {
        header(x, subject.experiment)?;
        self.choices.exchange(x);
        let mut trial = Some(self.trial.wanted.to_string());
        x.text("summary", "trial", &mut trial);
        if let Some(trial) = trial.and_then(|trial| trial.parse().ok()) {
            self.trial.wanted = trial;
        }
        let mut refused = Vec::new();
        x.texts("refused", "", &mut refused);
        if let Some((_, problem)) = refused.pop() {
            return Err(bad(problem));
        }
        self.not_checked(x);
        self.breaker(x);
        let mut has_rows = self.rows.is_some();
        x.flag("outcomes", "given", &mut has_rows);
        if has_rows {
            self.rows.get_or_insert_with(RowFacts::default).exchange(x);
        }
        let facts = self.rows.clone().unwrap_or_default();
        let metrics = settings.map(|settings| metrics(&facts, settings)).transpose()?;
        read(&mut self.main, x, subject, &facts, metrics.as_deref())?;
        self.shown(x);
        let mut has_other = self.other.is_some();
        x.flag("breaker", "left_out", &mut has_other);
        if has_other {
            x.pass = 1;
            let other = self.other.get_or_insert_with(Read::default);
            read(other, x, subject, &facts, metrics.as_deref())?;
            x.pass = 0;
        }
        Ok(())
    }

    /// Checks that cannot be done.
    fn not_checked(&mut self, x: &mut Exchange<'_>) {
        let mut all: Vec<(u64, String)> =
            self.not_checked.iter().map(|(name, why)| (0, format!("{name}: {why}"))).collect();
        x.texts("not_checked", "", &mut all);
        let all = if x.writes() { Vec::new() } else { all };
        for (_, text) in &all {
            match text.split_once(": ").map(|(name, why)| (name.parse::<CheckName>(), why)) {
                Some((Ok(name), why)) => drop(self.not_checked.insert(name, why.to_owned())),
                _ => x.fail(format!("not_checked: \"{}\"", crate::figures::visible(text))),
            }
        }
    }

    fn breaker(&mut self, x: &mut Exchange<'_>) {
        x.count("breaker", "requests_of_candidates", &mut self.breaker.of_candidates);
        x.minutes("breaker_minutes", &mut self.breaker.minutes);
    }

    /// Files and lines that the report shows.
    fn shown(&mut self, x: &mut Exchange<'_>) {
        let numbered = |texts: &[String]| texts.iter().map(|text| (0, text.clone())).collect();
        for (name, texts) in [("file", &mut self.files), ("id", &mut self.ids)] {
            let mut all: Vec<(u64, String)> = numbered(texts);
            x.texts("log", name, &mut all);
            *texts = all.into_iter().map(|(_, text)| text).collect();
        }
    }
}

fn bad(problem: String) -> Error {
    Error::input(Part::Summary, problem)
}

fn variants(experiment: &Experiment) -> Vec<&str> {
    experiment.variants.iter().map(|variant| variant.name.as_str()).collect()
}

/// The version and the experiment.
fn header(x: &mut Exchange<'_>, experiment: &Experiment) -> Result<(), Error> {
    let mut version = VERSION;
    x.count("summary", "version", &mut version);
    let mut name = Some(experiment.name.clone());
    x.text("summary", "experiment", &mut name);
    if version != VERSION {
        let problem = match version {
            0 => "it is not a summary: the row `summary,…,version` is missing".to_owned(),
            _ => format!("it has version {version}, but this command reads version {VERSION}"),
        };
        return Err(bad(problem));
    }
    match name {
        Some(name) if name == experiment.name => Ok(()),
        name => Err(bad(format!(
            "it is about the experiment \"{}\", not \"{}\"",
            crate::figures::visible(&name.unwrap_or_default()),
            experiment.name
        ))),
    }
}

impl Choices {
    fn exchange(&mut self, x: &mut Exchange<'_>) {
        let text = |moment: Option<crate::window::Moment>| moment.map(|moment| moment.to_string());
        let (mut since, mut until) = (text(self.window.since), text(self.window.until));
        x.text("setting", "since", &mut since);
        x.text("setting", "until", &mut until);
        let mut trial = self.trial.map(|trial| trial.to_string());
        x.text("setting", "trial", &mut trial);
        let mut attribution = self.attribution.map(Millis::get);
        x.maybe("setting", "attribution", &mut attribution);
        let caps = self.caps.iter().map(|cap| (cap.quantile.get().into(), cap.metric.clone()));
        let mut caps: Vec<(u64, String)> = caps.collect();
        x.texts("setting", "cap", &mut caps);
        x.flag("setting", "exclude_breaker", &mut self.exclude_breaker);
        if x.writes() {
            return;
        }
        self.trial = trial.and_then(|trial| trial.parse().ok());
        self.window.since = since.and_then(|since| since.parse().ok());
        self.window.until = until.and_then(|until| until.parse().ok());
        self.attribution = attribution.map(Millis::new);
        let cap = |(quantile, metric): (u64, String)| {
            let quantile = u32::try_from(quantile).ok().and_then(Ppm::new)?;
            Some(Cap { metric, quantile })
        };
        self.caps = caps.into_iter().filter_map(cap).collect();
    }
}

/// The metrics that a verdict is about.
fn metrics(facts: &RowFacts, settings: &Settings) -> Result<Vec<Metric>, Error> {
    let available = Available {
        columns: &facts.columns,
        by_request: facts.by_request,
        binary: &facts.binary,
        ignored: &facts.ignored,
        caps: &settings.caps,
        modeled: facts.modeled,
        logged: &facts.logged,
        covariates: &settings.methods.covariates,
    };
    selected(&available, settings)
}

/// What one pass over the data found. With `metrics`, reads.
fn read(
    of: &mut Read,
    x: &mut Exchange<'_>,
    subject: Subject<'_>,
    facts: &RowFacts,
    metrics: Option<&[Metric]>,
) -> Result<(), Error> {
    timeline(of, x, subject).map_err(bad)?;
    of.shape = Shape::new(subject.experiment, of.timeline.phases.len());
    x.phases = of.shape.strata;
    x.flag("units", "compared", &mut of.units);
    let pass = x.pass;
    if pass == 0 {
        lines::tally(&mut of.joined.tally, x, of.shape);
        lines::lines(of, x);
    }
    let mut attribution = of.attribution.map(|at| at.known.get());
    x.maybe("outcomes", "known_until", &mut attribution);
    let mut length = of.attribution.map(|at| at.length.get());
    x.maybe("outcomes", "window", &mut length);
    of.attribution = attribution.zip(length).map(|(known, length)| Attribution {
        length: Millis::new(length),
        known: Timestamp::new(known),
    });
    if let Some(metrics) = metrics {
        of.metrics = metrics.to_vec();
    }
    measured(&mut of.metrics, x)?;
    sums::exchange(&mut of.sums, x, &of.metrics, (of.shape, of.units), &facts.columns);
    if of.units {
        segments::exchange(&mut of.sums.segments, &mut of.chosen, x, &of.metrics);
        segments::days(&mut of.sums.days, x, &of.metrics, of.shape.slots());
    }
    if pass == 0 {
        rows::exchange(of, x, facts);
    }
    Ok(())
}

/// The phases.
fn timeline(of: &mut Read, x: &mut Exchange<'_>, subject: Subject<'_>) -> Result<(), String> {
    let phases = of.timeline.phases.iter();
    let (mut weights, mut rollout): (Vec<_>, Vec<_>) = phases
        .map(|phase| {
            let name = phase.rollout.clone().unwrap_or_default();
            ((phase.minutes.0, phase.weights.clone()), (phase.minutes.1, name))
        })
        .unzip();
    x.texts("phase", "weights", &mut weights);
    x.texts("phase", "rollout", &mut rollout);
    if x.writes() {
        return Ok(());
    }
    if weights.len() != rollout.len() || weights.len() > usize::from(u8::MAX) {
        return Err(format!("it has {} and {} rows of phases", weights.len(), rollout.len()));
    }
    let phase = |((from, weights), (to, rollout)): ((u64, String), (u64, String))| {
        (Some(rollout).filter(|name| !name.is_empty()), weights, (from, to))
    };
    let phases: Vec<_> = weights.into_iter().zip(rollout).map(phase).collect();
    of.timeline = Timeline::of_phases(subject.experiment, subject.strata, &phases)?.into();
    Ok(())
}

/// How the table names the sums of a metric, and whether it decides.
pub(super) fn words(metric: &Metric) -> (String, &'static str) {
    let absent = if metric.absent == Absent::Missing { " missing" } else { "" };
    let decides = if metric.role == Role::Exploratory { "" } else { " decides" };
    (format!("{}{absent}", metric.measure.kind().as_str()), decides)
}

/// Which sums of each metric there are. Reading leaves out the rate of aborted requests if the table has none.
fn measured(metrics: &mut Vec<Metric>, x: &mut Exchange<'_>) -> Result<(), Error> {
    let mut known = Vec::new();
    for metric in metrics.iter() {
        let (words, decides) = words(metric);
        let mut found = Some(format!("{words}{decides}"));
        x.text("measure", &metric.name, &mut found);
        let Some(found) = found else {
            if metric.origin == Origin::Aborts {
                continue;
            }
            return Err(bad(format!("it has no sums of {}", metric.name)));
        };
        let of_table = found.trim_end_matches(" decides");
        if of_table != words {
            return Err(bad(format!(
                "it has the sums of {} as {of_table}, but the metric is {words}; make the table \
                 again with the same metrics",
                metric.name
            )));
        }
        if !decides.is_empty() && of_table == found {
            return Err(bad(format!(
                "{} decides, but was exploratory when the table was made, so what its checks need \
                 is missing; make the table again with the same metrics",
                metric.name
            )));
        }
        known.push(metric.clone());
    }
    *metrics = known;
    Ok(())
}

/// A time or a count as an item of a list.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The numbers of an item of a list; 0 where there are fewer.
pub(super) fn numbers<const N: usize>(item: &[i64]) -> [u64; N] {
    let mut numbers = [0; N];
    let all = numbers.iter_mut().zip(item);
    all.for_each(|(to, of)| *to = u64::try_from(*of).unwrap_or_default());
    numbers
}
