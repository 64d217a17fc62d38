//! What the template of the query needs, and what no query carries yet.

use serde_json::{Value, json};
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::{Millis, Timestamp};
use sidetrack_analysis::answer::Kind;
use sidetrack_analysis::summary::{Column, DAYS_SINCE, LARGEST_SEGMENTS, Measure, Of};
use sidetrack_analysis::{Dimension, Moment, Settings, Strata};

use super::{Args, By};
use crate::dialect;
use crate::fault::Fault;

/// More candidates than those of the file that a line may name: the file may have had others.
const OTHER_CANDIDATES: usize = 4;

/// What is asked of the query.
pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) experiment: &'a Experiment,
    pub(super) strata: &'a Strata,
    pub(super) settings: &'a Settings,
}

impl Asked<'_> {
    /// The context of the template.
    ///
    /// # Errors
    /// Something that the query does not carry.
    pub(super) fn context(
        &self,
        columns: &[(String, Column)],
        measures: &[Measure],
    ) -> anyhow::Result<Value> {
        let Self { args, experiment, strata, settings, .. } = self;
        self.check()?;
        let trial = sidetrack::exposure::trial(experiment);
        let weights = strata.weights(experiment);
        let has_rollout = weights.iter().any(|(phase, _)| phase.is_some());
        let strata: Vec<Value> = weights
            .iter()
            .map(|(phase, weights)| json!({"phase": phase, "weights": weights}))
            .collect();
        let variants: Vec<&str> =
            experiment.variants.iter().map(|variant| variant.name.as_str()).collect();
        let with_caps = |cap: &sidetrack_analysis::Cap| {
            measures.iter().any(|measure| measure.name == cap.metric && measure.kind == Kind::Mean)
        };
        let caps = settings.caps.iter().filter(|cap| with_caps(cap));
        let caps: Vec<Value> =
            caps.map(|cap| json!({"metric": cap.metric, "ppm": cap.quantile.get()})).collect();
        let time = |moment: Option<Moment>| {
            moment.and_then(|moment| Timestamp::parse(&moment.to_string())).map(Timestamp::get)
        };
        let text = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
        let names = |chosen: fn(&Measure) -> bool| -> Vec<&str> {
            let chosen = measures.iter().filter(|measure| chosen(measure));
            chosen.map(|measure| measure.name.as_str()).collect()
        };
        let drawn = |measure: &&Measure| measure.primary && measure.kind != Kind::Quantile;
        let of_units = measures.iter().filter(|measure| measure.kind != Kind::Quantile);
        let of_days = measures.iter().filter(|measure| measure.daily);
        let covariates = self.covariates(columns);
        Ok(json!({
            "dialect": args.dialect.to_string(),
            "has_run": dialect::has_run(args.dialect),
            "experiment": experiment.name,
            "trial": settings.trial.map_or_else(|| trial.clone(), |trial| trial.to_string()),
            "trial_asked": settings.trial.is_some(),
            "of_file": trial,
            "digest_prefix": hexadecimal(&format!("exposure1\0{}\0", experiment.salt)),
            "variants": variants,
            "baseline": experiment.baseline.index(),
            "parts": variants.len() - 1 + OTHER_CANDIDATES,
            "strata": strata,
            "has_rollout": has_rollout,
            "user_hash": true,
            "exposures": one_line(&args.exposures),
            "typed": args.typed,
            "outcomes": self.outcomes(columns),
            "segments": self.segments(),
            "largest": LARGEST_SEGMENTS,
            "has_outcome_segments": !args.outcome_segment.is_empty(),
            "covariates": covariates.iter().map(|(name, column)| json!({
                "name": name,
                "column": column,
            })).collect::<Vec<_>>(),
            // Numerator, denominator, the covariates, and whether each is unknown.
            "width": 2 + 2 * covariates.len(),
            "since": time(settings.window.since),
            "until": time(settings.window.until),
            "since_text": text(settings.window.since),
            "until_text": text(settings.window.until),
            "attribution": settings.attribution.map(Millis::get).filter(|_| args.outcomes.is_some()),
            "caps": caps,
            "metrics": of_units.map(|measure| self.metric(measure)).collect::<Vec<_>>(),
            "measures": measures.iter().map(|measure| json!({
                "name": measure.name,
                "words": measure.words,
                // Without aborted requests, their rate is worth no line unless it was asked for.
                "always": measure.of != Of::Aborts || settings.decides_by("abort_rate"),
            })).collect::<Vec<_>>(),
            "day_metrics": of_days.map(|measure| self.metric(measure)).collect::<Vec<_>>(),
            "days_since": DAYS_SINCE,
            "segmented_metrics": names(|measure| measure.segmented),
            "adjusted_metrics": names(|measure| measure.adjusted),
            "large_metrics": names(|measure| measure.large),
            "tails_metrics": names(|measure| measure.tails),
            "drawn": measures.iter().find(drawn).map(|measure| measure.name.clone()),
            "not_checked": self.not_checked(),
        }))
    }

    /// Refuses by name what the query does not carry.
    fn check(&self) -> anyhow::Result<()> {
        let by_request = self.args.by == Some(By::RequestId);
        let problem = if self.experiment.assignment == Assignment::RequestRandom {
            "the query compares units, but each request is assigned by itself (assignment: \
             request_random); use analyze run"
        } else if self.strata.is_adaptive() {
            "the query does not read the steps of a bandit from the comments of the file; remove them \
             if all lines of the log have weights, or use analyze run"
        } else if by_request && self.settings.attribution.is_some() {
            "the query does not carry attribution of outcomes by request_id yet; use analyze run"
        } else if self.settings.attribution.is_some() && self.args.untimed {
            "attribution needs the column `time` of the outcomes"
        } else if by_request && !self.settings.methods.covariates.is_empty() {
            "a covariate is about a unit, but the rows are about requests; give outcomes by unit"
        } else {
            return Ok(());
        };
        Err(Fault(problem.to_owned()).into())
    }

    /// The segments: which table has them.
    fn segments(&self) -> Vec<Value> {
        let of = |(index, dimension): (usize, &Dimension)| {
            let in_outcomes = self.args.outcome_segment.contains(&dimension.name);
            let place = if in_outcomes { "outcomes" } else { "exposures" };
            json!({"index": index, "name": dimension.name, "place": place})
        };
        self.settings.segments.iter().enumerate().map(of).collect()
    }

    /// The covariates and their columns.
    fn covariates(&self, columns: &[(String, Column)]) -> Vec<(String, usize)> {
        let column = |name: &String| {
            let column = columns.iter().position(|(_, column)| column.name == *name)?;
            Some((name.clone(), column))
        };
        self.settings.methods.covariates.iter().filter_map(column).collect()
    }

    fn outcomes(&self, columns: &[(String, Column)]) -> Value {
        let Some(table) = &self.args.outcomes else { return Value::Null };
        let by_request = self.args.by == Some(By::RequestId);
        let binary = columns.iter().filter(|(_, column)| column.binary);
        let covariates = &self.settings.methods.covariates;
        let metrics = columns.iter().enumerate();
        let metrics = metrics.filter(|(_, (_, column))| !covariates.contains(&column.name));
        json!({
            "table": one_line(table),
            "key": if by_request { "request_id" } else { "unit" },
            "by_request": by_request,
            "time": !self.args.untimed,
            "columns": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "names": columns.iter().map(|(_, column)| &column.name).collect::<Vec<_>>(),
            "binary": binary.map(|(name, _)| name).collect::<Vec<_>>(),
            "metric_columns": metrics.map(|(index, _)| index).collect::<Vec<_>>(),
        })
    }

    /// Numerator, denominator and which units have them.
    fn metric(&self, measure: &Measure) -> Value {
        let by_unit = self.args.by == Some(By::Unit);
        let (y, x, mut holds) = match (measure.of, measure.kind) {
            (Of::Errors, _) => {
                ("failed".to_owned(), "answered".to_owned(), "answered > 0".to_owned())
            }
            (Of::Aborts, _) => {
                ("aborted".to_owned(), "requests".to_owned(), "requests > 0".to_owned())
            }
            (Of::Latency, _) => {
                ("latency / 1000.0".to_owned(), "answered".to_owned(), "answered > 0".to_owned())
            }
            (Of::Column(at), kind) => {
                let (y, x, holds) = match (kind, measure.per) {
                    // A unit without rows adds nothing to either sum.
                    (_, Some(per)) => {
                        let holds = format!(" AND count{at} + count{per} > 0");
                        (format!("sum{at}"), format!("sum{per}"), holds)
                    }
                    (Kind::Proportion, _) => (
                        format!("CASE WHEN sum{at} > 0 THEN 1 ELSE 0 END"),
                        "1".to_owned(),
                        String::new(),
                    ),
                    (Kind::Mean, _) => (format!("sum{at}"), "1".to_owned(), String::new()),
                    (Kind::Ratio | Kind::Quantile, _) => {
                        (format!("sum{at}"), format!("count{at}"), format!(" AND count{at} > 0"))
                    }
                };
                let is_known = measure.missing && measure.per.is_none();
                let known = if is_known { format!(" AND count{at} > 0") } else { String::new() };
                (y, x, format!("is_open = 0{holds}{known}"))
            }
        };
        let mut rows = "0".to_owned();
        if let Of::Column(at) = measure.of {
            rows = format!("count{at}");
            if self.settings.attribution.is_some() {
                let columns = std::iter::once(at).chain(measure.per);
                columns.for_each(|column| holds += &format!(" AND unknown{column} = 0"));
            }
            // Outcomes without times belong to the first phase of their unit.
            if by_unit && self.args.untimed {
                holds += " AND place = 1";
            }
        }
        json!({"name": measure.name, "y": y, "x": x, "holds": holds, "rows": rows})
    }

    /// Checks that need the rows themselves.
    fn not_checked(&self) -> Vec<&'static str> {
        if self.args.by != Some(By::Unit) {
            return Vec::new();
        }
        vec![
            "unmatched_rows: the query does not look up other spellings and buckets of units",
            "repeated_rows: the query does not look for rows that come again a moment later",
        ]
    }
}

/// A table as a comment can name it: a subquery may have several lines.
fn one_line(table: &str) -> String {
    table.replace(['\n', '\r'], " ")
}

/// Text as hexadecimal digits.
fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
