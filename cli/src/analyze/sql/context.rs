//! What the template of the query needs, and what no query carries yet.

use serde_json::{Value, json};
use sidetrack::plan::{Assignment, Experiment};
use sidetrack::quantity::{Millis, Timestamp};
use sidetrack_analysis::answer::Kind;
use sidetrack_analysis::summary::{Column, Measure, Of};
use sidetrack_analysis::{Moment, Settings, Strata};

use super::{Args, By};
use crate::fault::Fault;

/// More candidates than those of the file that a line may name: the file may have had others.
const OTHER_CANDIDATES: usize = 4;

/// What is asked of the query.
pub(super) struct Asked<'a> {
    pub(super) args: &'a Args,
    pub(super) experiment: &'a Experiment,
    pub(super) strata: &'a Strata,
    pub(super) settings: &'a Settings,
    /// The plan asks for results by segment.
    pub(super) has_segments: bool,
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
        Ok(json!({
            "dialect": args.dialect.name(),
            "has_run": args.dialect.has_run(),
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
            "exposures": args.exposures,
            "typed": args.typed,
            "outcomes": self.outcomes(columns),
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
        } else {
            return Ok(());
        };
        Err(Fault(problem.to_owned()).into())
    }

    fn outcomes(&self, columns: &[(String, Column)]) -> Value {
        let Some(table) = &self.args.outcomes else { return Value::Null };
        let by_request = self.args.by == Some(By::RequestId);
        let binary = columns.iter().filter(|(_, column)| column.binary);
        json!({
            "table": table,
            "key": if by_request { "request_id" } else { "unit" },
            "by_request": by_request,
            "time": !self.args.untimed,
            "columns": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "names": columns.iter().map(|(_, column)| &column.name).collect::<Vec<_>>(),
            "binary": binary.map(|(name, _)| name).collect::<Vec<_>>(),
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
                let (y, x, holds) = match kind {
                    Kind::Proportion => (
                        format!("CASE WHEN sum{at} > 0 THEN 1 ELSE 0 END"),
                        "1".to_owned(),
                        String::new(),
                    ),
                    Kind::Mean => (format!("sum{at}"), "1".to_owned(), String::new()),
                    Kind::Ratio | Kind::Quantile => {
                        (format!("sum{at}"), format!("count{at}"), format!(" AND count{at} > 0"))
                    }
                };
                let known =
                    if measure.missing { format!(" AND count{at} > 0") } else { String::new() };
                (y, x, format!("is_open = 0{holds}{known}"))
            }
        };
        if let Of::Column(at) = measure.of {
            if self.settings.attribution.is_some() {
                holds += &format!(" AND unknown{at} = 0");
            }
            // Outcomes without times belong to the first phase of their unit.
            if by_unit && self.args.untimed {
                holds += " AND place = 1";
            }
        }
        json!({"name": measure.name, "y": y, "x": x, "holds": holds})
    }

    /// Checks that need the rows themselves.
    fn not_checked(&self) -> Vec<&'static str> {
        let always = ["effect_trend: the query makes no sums by day"];
        let segments = [
            "segment_values: the query makes no sums by segment",
            "segment_split: the query makes no sums by segment",
            "segment_sum: the query makes no sums by segment",
        ];
        let by_unit = [
            "unmatched_rows: the query does not look up other spellings and buckets of units",
            "repeated_rows: the query does not look for rows that come again a moment later",
        ];
        let segments = segments.iter().filter(|_| self.has_segments);
        let by_unit = by_unit.iter().filter(|_| self.args.by == Some(By::Unit));
        always.iter().chain(segments).chain(by_unit).copied().collect()
    }
}

/// Text as hexadecimal digits.
fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
