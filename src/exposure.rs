//! Exposures: what the access log says about the assignment of a request, as one text.
//!
//! `trial=f45f1a44 config=9a3b0c11 weights=new=300000/500000 reason=hash bucket=4711 unit=anna`: keys and values with a
//! space in between, as in logfmt. A value that does not exist is left out. The unit comes last and extends to the end
//! of the text, because it may contain anything; no other value contains a space.
//!
//! It is one text because each value that a filter gives to the log costs a host call. What the configuration
//! determines is prepared once, so a request adds only what is its own. With these values a log explains itself: it
//! says which trial a request belongs to, which weights were in force, and by which analysis plan it may be judged.

use core::iter;

use crate::decide::Decision;
use crate::draw::sha256;
use crate::names::log;
use crate::plan::{Experiment, Plan, VariantId};
use crate::quantity::Ppm;
use crate::rollout::Schedule;

/// The beginnings of an experiment's exposures.
#[derive(Clone, Debug)]
pub struct Exposures {
    /// What the configuration determines: first without a phase, then by phase.
    heads: Vec<String>,
}

impl Exposures {
    /// Prepares the exposures of an experiment of this plan.
    #[must_use]
    pub fn new(plan: &Plan, experiment: &Experiment) -> Self {
        let enabled = experiment.enabled;
        let trial = trial(experiment);
        let mut fixed = format!("{}={trial} {}={}", log::TRIAL, log::CONFIG, plan.hash.short());
        if let Some(digest) = &experiment.analysis {
            fixed += &format!(" {}={}", log::PLAN, short(digest));
        }
        let head = |weight: &dyn Fn(VariantId) -> Ppm| {
            format!("{fixed} {}={}", log::WEIGHTS, weights(experiment, weight))
        };
        let without_phase = match &experiment.schedule {
            Schedule::Fixed(weights) if enabled => head(&|variant| weights[variant]),
            Schedule::Fixed(_) | Schedule::Rollout(_) => head(&|_| Ppm::ZERO),
        };
        let phases = experiment.schedule.phases().iter();
        let by_phase = phases
            .map(|phase| head(&|variant| if enabled { phase.weights[variant] } else { Ppm::ZERO }));
        Self { heads: iter::once(without_phase).chain(by_phase).collect() }
    }

    /// The exposure of a request; `unit` as `settings.exposure_unit` allows it.
    #[inline]
    #[must_use]
    pub fn text(&self, decision: &Decision, unit: Option<&[u8]>) -> Vec<u8> {
        let phase = decision.phase.map_or(0, |phase| phase.saturating_add(1));
        let head = self.heads.get(phase).map_or("", String::as_str);
        let unit = unit.unwrap_or_default();
        // Room for the longest reason and bucket.
        let mut text = Vec::with_capacity(head.len() + unit.len() + 48);
        text.extend_from_slice(head.as_bytes());
        let mut add = |key: &str, value: &[u8]| {
            text.push(b' ');
            text.extend_from_slice(key.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value);
        };
        add(log::REASON, decision.reason.as_str().as_bytes());
        if let Some(bucket) = decision.bucket {
            add(log::BUCKET, bucket.to_string().as_bytes());
        }
        if !unit.is_empty() {
            add(log::UNIT, unit);
        }
        text
    }
}

/// The values of an exposure with their keys, of [`crate::names::log`].
pub fn values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    iter::from_fn(move || {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match key {
            log::UNIT => (after, ""),
            _ => after.split_once(' ').unwrap_or((after, "")),
        };
        rest = next;
        Some((key, value))
    })
}

/// The trial of an experiment, as [`log::TRIAL`].
#[must_use]
pub fn trial(experiment: &Experiment) -> String {
    let Experiment { name, salt, .. } = experiment;
    short(&sha256(format!("trial1\0{name}\0{salt}").as_bytes()))
}

/// The candidates in the order of their names, each with its weight and the width of its span, in parts per million:
/// as [`log::WEIGHTS`].
pub fn weights(experiment: &Experiment, weight: &dyn Fn(VariantId) -> Ppm) -> String {
    let name = |id: VariantId| experiment.variants[id].name.as_str();
    let mut candidates: Vec<VariantId> = experiment.candidates().collect();
    candidates.sort_by_key(|&id| name(id));
    let one = |id: VariantId| {
        let spans = experiment.layout.spans();
        let width = spans.iter().find(|span| span.variant == id).map_or(0, |span| span.width.get());
        let weight = weight(id).get();
        // A weight of former times may be larger than the span of now.
        format!("{}={weight}/{}", name(id), weight.max(width))
    };
    candidates.into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// The first eight hexadecimal digits of a digest, as [`log::PLAN`].
#[must_use]
pub fn short(digest: &[u8; 32]) -> String {
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_json;
    use crate::decide::{Gate, Outcome, World, decide};
    use crate::quantity::Timestamp;

    fn file(more: &str) -> String {
        format!(
            r#"{{"experiments": [{{"name": "forecast", "salt": "2026-11", "unit": [{{"header": "u"}}],
            "baseline": "old", {more}}}]}}"#
        )
    }

    const FIXED: &str = r#""variants": [{"name": "z", "weight": 0, "reserve": 2.5}, {"name": "old"},
        {"name": "a", "weight": 30, "reserve": 50}, {"name": "m", "weight": 0}]"#;

    fn exposure(file: &str, now: u64) -> String {
        let plan = parse_json(file.as_bytes()).unwrap();
        let experiment = plan.experiments.first().unwrap();
        let gate = |_, _| Gate::Closed;
        let mut world = World { now: Timestamp::new(now), entropy: || 0, gate: &gate };
        let Outcome::Decided(decision) = decide(&plan, &vec![("u", "1")], &mut world, &mut ())
        else {
            panic!("undecided")
        };
        let text = Exposures::new(&plan, experiment).text(&decision, Some(b"anna unit=b c"));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_exposure_names_trial_configuration_and_the_weights_in_force() {
        let text = exposure(&file(FIXED), 0);
        let hash = parse_json(file(FIXED).as_bytes()).unwrap().hash.short();
        // printf 'trial1\0forecast\0002026-11' | sha256sum
        let expected = format!(
            "trial=5cda82bb config={hash} weights=a=300000/500000,m=0/0,z=0/25000 reason=hash bucket=789738 \
             unit=anna unit=b c"
        );
        assert_eq!(text, expected);
        let values: Vec<_> = values(&text).collect();
        let keys: Vec<&str> = values.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["trial", "config", "weights", "reason", "bucket", "unit"]);
        assert_eq!(values.last(), Some(&("unit", "anna unit=b c")));
        assert_eq!(values[2].1, "a=300000/500000,m=0/0,z=0/25000");
    }

    #[test]
    fn the_weights_are_those_of_the_moment() {
        let rollout = r#""variants": [{"name": "old"}, {"name": "new"}], "rollout": {"start": "1970-01-01T00:00:10Z",
            "phases": [{"name": "p", "for": "10s", "weights": {"new": 5}}, {"name": "q", "weights": {"new": 40}}]}"#;
        for (now, weights) in [(0, "0"), (10_000, "50000"), (20_000, "400000")] {
            let text = exposure(&file(rollout), now);
            assert!(text.contains(&format!(" weights=new={weights}/400000 ")), "{text}");
            let disabled = exposure(&file(&format!("{rollout}, \"enabled\": false")), now);
            assert!(disabled.contains(" weights=new=0/400000 reason=disabled unit="), "{disabled}");
        }
        let disabled = exposure(&file(&format!("{FIXED}, \"enabled\": false")), 0);
        assert!(disabled.contains(" weights=a=0/500000,m=0/0,z=0/25000 "), "{disabled}");
    }

    #[test]
    fn the_plan_covers_the_analysis_without_its_steps() {
        let plan = |analysis: &str| {
            let text = exposure(&file(&format!("{FIXED}, \"analysis\": {analysis}")), 0);
            values(&text).find(|(key, _)| *key == "plan").unwrap().1.to_owned()
        };
        // printf 'plan1\0{"metrics":["accuracy"],"planned_units":40000}' | sha256sum
        let digest = plan(r#"{"planned_units": 40000.0, "metrics": ["accuracy"]}"#);
        assert_eq!(digest, "21fd25d6");
        let steps =
            r#"{"steps": [{"weight": 5}], "planned_units": 40000, "metrics": ["accuracy"]}"#;
        assert_eq!(plan(steps), digest);
        assert_ne!(plan(r#"{"planned_units": 40001, "metrics": ["accuracy"]}"#), digest);
    }

    #[test]
    fn any_text_has_values_or_none() {
        for text in ["", "x", "=", "unit", "unit=", "a=b", "a=b ", "a= b=c", "  ", "a=b c"] {
            let all: Vec<_> = values(text).collect();
            assert!(all.len() <= 2, "{text:?} {all:?}");
        }
        assert_eq!(values("unit=").collect::<Vec<_>>(), [("unit", "")]);
        assert_eq!(values("a= b=c").collect::<Vec<_>>(), [("a", ""), ("b", "c")]);
    }
}
