//! The result of a comparison as text and as JSON: the verdict first, then all numbers with labels.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use sidetrack_stats::input::Fraction;
use sidetrack_stats::result::{Comparison, Decision, Interval, PValue, Undefined, decision};
use sidetrack_stats::score::Score;
use sidetrack_stats::sequential::{ConfidenceSequence, is_planned_look};

use super::Terms;
use super::figures::{digits, p, percent, signed};
use super::given::named;
use crate::fault::Fault;
use crate::out::{Ink, Out};
use crate::wrap;

/// What is compared; decides the format of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// Shares, with differences in points.
    Share,
    Mean,
}

/// A comparison and its context.
pub(super) struct Report {
    pub(super) metric: Metric,
    pub(super) comparison: Comparison,
    /// Of shares: the test and its intervals for any number of looks.
    pub(super) score: Option<Score>,
    /// Of both variants together.
    pub(super) units: u64,
    /// The smallest difference that these sizes detect with a power of 80 %.
    pub(super) detectable: Option<f64>,
    /// The names of the test, of the interval, and of the lift's interval.
    pub(super) methods: [&'static str; 3],
    pub(super) rows: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
}

/// A line with a label.
pub(super) fn row(label: impl Into<String>, text: impl Into<String>) -> (String, String) {
    (label.into(), text.into())
}

/// The always-valid intervals and p-value, which decide before the planned units and beyond them.
#[derive(Clone, Copy)]
struct Anytime {
    interval: Interval,
    lift: Option<Interval>,
    p: PValue,
}

#[derive(Serialize)]
struct Json<'a> {
    decision: &'static str,
    decided_by: &'static str,
    baseline: f64,
    candidate: f64,
    diff: f64,
    ci: Option<[f64; 2]>,
    relative_lift: Option<f64>,
    relative_lift_ci: Option<[f64; 2]>,
    p_value: Option<f64>,
    log10_p: Option<f64>,
    statistic: Option<f64>,
    df: Option<f64>,
    /// The probability of detecting a true difference of the observed size.
    power: Option<f64>,
    /// The smallest difference that a fixed test detects with a power of 80 %.
    detectable: Option<f64>,
    alpha: f64,
    units: u64,
    test: &'static str,
    /// Why there is no p-value: `zero_variance`, `few_events`.
    undefined: Option<&'static str>,
    always_valid: Option<JsonAnytime>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct JsonAnytime {
    ci: [f64; 2],
    p_value: f64,
    log10_p: f64,
    planned_units: u64,
}

const fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

impl Report {
    /// Prints the result. Any result is a success: exit 0.
    pub(super) fn write(
        mut self,
        terms: &Terms,
        level: Fraction,
        out: &mut Out,
    ) -> anyhow::Result<ExitCode> {
        let anytime = self.anytime(terms, level)?;
        if let (Some(_), Some(planned)) = (anytime, terms.planned_units)
            && self.units > planned
            && !terms.adaptive
        {
            self.notes.push(format!(
                "there are more than {planned} units and a tenth, so this is a look beyond the plan; the \
                 counts at {planned} units allow the fixed test"
            ));
        }
        if terms.adaptive {
            self.notes.push(
                "a bandit chose the weights, so each batch is compared separately, and a fixed test \
                 is not valid"
                    .to_owned(),
            );
        }
        let p = anytime.map_or_else(|| self.comparison.test.map(|test| test.p), |a| Ok(a.p));
        let decision = decision(self.comparison.estimate.difference, p, terms.goal(), level);
        if terms.json {
            out.json(&self.json(decision, anytime, terms, level))?;
        } else {
            self.print(decision, anytime, level, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn anytime(&self, terms: &Terms, level: Fraction) -> anyhow::Result<Option<Anytime>> {
        let Some(planned) = terms.planned() else { return Ok(None) };
        let flag = "--planned-units";
        let sequence = ConfidenceSequence::new(planned, level)
            .map_err(|error| named(flag, &planned.to_string(), &error))?;
        if is_planned_look(planned, self.units) && !terms.adaptive {
            return Ok(None);
        }
        let few = |_| {
            Fault(format!(
                "{flag} requires at least 100 units so far, but there are {}",
                self.units
            ))
        };
        let critical = sequence.critical(self.units).map_err(few)?;
        let Ok(test) = self.comparison.test else { return Ok(None) };
        if let Some(score) = &self.score {
            let p = sequence.p_of_score(test.statistic, self.units).map_err(few)?;
            let lift = score.lift_interval(critical).ok();
            return Ok(Some(Anytime { interval: score.interval(critical), lift, p }));
        }
        let estimate = self.comparison.estimate;
        let interval = sequence.interval(estimate, self.units).map_err(few)?;
        let p = sequence.p_value(estimate, self.units).map_err(few)?;
        // As much wider as the interval of the difference.
        let factor =
            0.5 * (interval.high - interval.low) / (estimate.critical(level) * estimate.se());
        let lift = self.comparison.lift.ok().zip(self.comparison.lift_interval.ok());
        let lift = lift.map(|(center, fixed)| Interval {
            low: center - (center - fixed.low) * factor,
            high: center + (fixed.high - center) * factor,
        });
        Ok(Some(Anytime { interval, lift, p }))
    }

    fn json(
        &self,
        decision: Decision,
        anytime: Option<Anytime>,
        terms: &Terms,
        level: Fraction,
    ) -> Json<'_> {
        let (comparison, test) = (&self.comparison, self.comparison.test.ok());
        let p = anytime.map(|anytime| anytime.p).or_else(|| test.map(|test| test.p));
        let interval = anytime.map(|anytime| anytime.interval).or(comparison.interval);
        let lift = match anytime {
            Some(anytime) => anytime.lift,
            None => comparison.lift_interval.ok(),
        };
        Json {
            decision: decision.code(),
            decided_by: if anytime.is_some() { "always_valid" } else { "fixed" },
            baseline: comparison.values.0,
            candidate: comparison.values.1,
            diff: comparison.estimate.difference,
            ci: interval.map(ends),
            relative_lift: comparison.lift.ok(),
            relative_lift_ci: lift.map(ends),
            p_value: p.map(PValue::get),
            log10_p: p.map(PValue::log10),
            statistic: test.map(|test| test.statistic),
            df: test.and_then(|test| test.df),
            power: comparison.power.filter(|_| anytime.is_none()),
            detectable: self.detectable.filter(|_| anytime.is_none()),
            alpha: level.get(),
            units: self.units,
            test: self.methods[0],
            undefined: comparison.test.err().map(|undefined| undefined.code()),
            always_valid: anytime.zip(terms.planned()).map(|(anytime, planned_units)| {
                JsonAnytime {
                    ci: ends(anytime.interval),
                    p_value: anytime.p.get(),
                    log10_p: anytime.p.log10(),
                    planned_units,
                }
            }),
            notes: &self.notes,
        }
    }

    fn print(
        &self,
        decision: Decision,
        anytime: Option<Anytime>,
        level: Fraction,
        out: &mut Out,
    ) -> anyhow::Result<()> {
        let ink = out.ink();
        let comparison = &self.comparison;
        let ci = format!("{} CI", percent(level.rest()));
        let interval = anytime.map(|anytime| anytime.interval).or(comparison.interval);
        let found = match interval {
            Some(interval) => format!("{} ({ci} {})", self.difference(), self.range(interval)),
            None => self.difference(),
        };
        let few = comparison.test.err() == Some(Undefined::FewEvents);
        writeln!(out, "{}\n", verdict(decision, few, &found, ink))?;
        let lift = match anytime {
            Some(anytime) => anytime.lift.ok_or(Undefined::ZeroBaseline),
            None => comparison.lift_interval,
        };
        let mut rows = self.rows.clone();
        let [test_name, interval_name, lift_name] =
            if anytime.is_some() { ["always valid"; 3] } else { self.methods };
        let range =
            |name: &str, interval: Interval| format!("  {ci} {} ({name})", self.range(interval));
        let shown = interval.map_or_else(String::new, |interval| range(interval_name, interval));
        rows.push(row("difference", format!("{}{shown}", self.difference())));
        rows.push(row(
            "relative lift",
            match (comparison.lift, lift) {
                (Ok(lift), Ok(Interval { low, high })) => {
                    format!(
                        "{} %  {ci} {} % to {} % ({lift_name})",
                        hundred(lift),
                        hundred(low),
                        hundred(high)
                    )
                }
                (Ok(lift), Err(why)) => format!("{} %  interval {why}", hundred(lift)),
                (Err(why), _) => why.to_string(),
            },
        ));
        rows.push(row("test", self.tested(anytime, test_name)));
        if let Some(power) = comparison.power.filter(|_| anytime.is_none()) {
            rows.push(row(
                "power",
                format!("{}, if the true difference is the observed one", percent(power)),
            ));
        }
        if let Some(detectable) = self.detectable.filter(|_| anytime.is_none()) {
            let size = if self.metric == Metric::Share { 100.0 * detectable } else { detectable };
            rows.push(row(
                "detectable",
                format!("{}{} with a power of 80 %", digits(size, 3), self.unit()),
            ));
        }
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, text) in rows {
            writeln!(out, "  {}  {text}", ink.dim(format!("{label:<width$}")))?;
        }
        for note in &self.notes {
            writeln!(out, "{}", wrap::note("  ", note, ink))?;
        }
        Ok(())
    }

    /// The test's line; of the kind that decides.
    fn tested(&self, anytime: Option<Anytime>, name: &str) -> String {
        match (self.comparison.test, anytime) {
            (Ok(_), Some(anytime)) => format!("{}, at any number of looks  ({name})", p(anytime.p)),
            (Ok(test), None) => {
                let df = test.df.map_or_else(String::new, |df| format!(", df {}", digits(df, 5)));
                let letter = if test.df.is_some() { "t" } else { "z" };
                format!(
                    "{letter} = {}{df}, {}, two-sided  ({name})",
                    digits(test.statistic, 4),
                    p(test.p)
                )
            }
            (Err(why), _) => untested(why),
        }
    }

    fn difference(&self) -> String {
        let difference = self.comparison.estimate.difference;
        match self.metric {
            Metric::Share => format!("{}{}", signed(100.0 * difference, 3), self.unit()),
            Metric::Mean => signed(difference, 4),
        }
    }

    const fn unit(&self) -> &'static str {
        match self.metric {
            Metric::Share => " points",
            Metric::Mean => "",
        }
    }

    fn range(&self, interval: Interval) -> String {
        let scale = if self.metric == Metric::Share { 100.0 } else { 1.0 };
        format!("{} to {}", signed(scale * interval.low, 3), signed(scale * interval.high, 3))
    }
}

/// Why there is no test.
fn untested(why: Undefined) -> String {
    match why {
        Undefined::ZeroVariance => format!("{why}: all units have the same value"),
        _ => why.to_string(),
    }
}

fn hundred(lift: f64) -> String {
    signed(100.0 * lift, 3)
}

fn verdict(decision: Decision, few: bool, found: &str, ink: Ink) -> String {
    match decision {
        Decision::Better => format!("{} {found}", ink.good("The candidate is better:")),
        Decision::Worse => format!("{} {found}", ink.bad("The candidate is worse:")),
        Decision::NoDifferenceShown => {
            format!(
                "{} {found}\nThis does not show that the variants are equal.",
                ink.bold("No significant difference:")
            )
        }
        Decision::Undefined => {
            let why = if few {
                "too few events for a test"
            } else {
                "all units have the same value, so no test is possible"
            };
            format!("{} {why}: {found}", ink.note("Undefined:"))
        }
    }
}
