//! The analysis plan of each experiment: what its `analysis` says, and everything that is wrong with it.
//!
//! The filter accepts any object there, so that a plan for a newer version of the analysis never stops a proxy; the
//! digest of the plan in the access log needs no meaning. The command reads it here.

pub(in crate::config) mod methods;
pub(in crate::config) mod prices;

use serde_json::{Value, json};

use super::decode::{Decode, List, wrong_type};
use super::model::Model;
use super::node::Node;
use super::problem::{Code, Path, Problems};
use super::raw;
use crate::quantity::{Millis, Ppm};
pub use methods::{Bayes, BayesRule, Methods};
pub use prices::ModelPrice;

/// An analysis plan, written before the data exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalysisPlan {
    /// Primary metrics, as `analyze run --metric` writes them.
    pub metrics: Vec<String>,
    /// Guardrails, as `analyze run --guardrail` writes them.
    pub guardrails: Vec<String>,
    /// Units of all variants together, at the end of the last step.
    pub planned_units: Option<u64>,
    /// How long after a unit's first request in a phase its outcomes count.
    pub attribution: Option<Millis>,
    /// By metric: the quantile of all units at which the values of units are capped.
    pub cap: Vec<(String, Ppm)>,
    /// Columns of the outcomes or fields of the access log by which results are shown separately.
    pub segments: Vec<String>,
    /// Which columns of the outcomes hold predictions and labels.
    pub model: Option<Model>,
    /// What the tokens of language models cost.
    pub prices: Vec<ModelPrice>,
    /// The weights through which `advance` raises the candidate.
    pub steps: Vec<Step>,
    /// How the metrics are tested.
    pub methods: Methods,
}

/// By how many columns or fields results are shown at most: each one is another chance of a false finding.
pub const MOST_SEGMENTS: usize = 8;

/// A step of a candidate's growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The candidate's weight.
    pub weight: Ppm,
    /// How long it lasts at least.
    pub min_for: Millis,
    /// How many units it needs at least.
    pub min_units: u64,
}

/// A metric or a column: any text that is not empty. The analysis knows the notation.
#[derive(Clone, Debug)]
pub(crate) struct PlainText(pub(crate) String);

impl Decode for PlainText {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "a text, such as accuracy or error_rate:0.5pt";
        match node {
            Node::Text(text) if !text.is_empty() => Some(Self(text.clone())),
            Node::Text(_) => {
                let message = format!("found an empty text; allowed: {allowed}");
                problems.push(at, Code::BadMetric, message, "name a metric, or remove the entry");
                None
            }
            _ => {
                wrong_type(node, at, problems, allowed, "put it in quotes");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// The analysis plans of a file, by experiment, and what is wrong with them. An entry that is no experiment has none.
#[must_use]
pub fn analysis_plans(node: &Node) -> (Vec<Option<AnalysisPlan>>, Problems) {
    let mut problems = Problems::default();
    let Some(Node::List(experiments)) = node.get("experiments") else {
        return (Vec::new(), problems);
    };
    let list = Path::Root.key("experiments");
    let plans = experiments.iter().enumerate().map(|(index, experiment)| {
        let written = experiment.get("analysis").filter(|node| matches!(node, Node::Map(_)))?;
        let at = list.item(index);
        let at = at.key("analysis");
        Some(plan(written, experiment, &at, &mut problems))
    });
    (plans.collect(), problems)
}

fn plan(node: &Node, experiment: &Node, at: &Path<'_>, problems: &mut Problems) -> AnalysisPlan {
    let Some(raw) = raw::Analysis::decode(node, at, problems) else {
        return AnalysisPlan::default();
    };
    let steps_at = at.key("steps");
    if experiment.get("rollout").is_some() && !raw.steps.is_absent() {
        let message = "found steps beside a rollout; allowed: one of the two";
        let hint = "a rollout changes weights by the clock, steps by what the data show; keep one";
        problems.push(&steps_at, Code::Conflict, message, hint);
    }
    let random =
        matches!(experiment.get("assignment"), Some(Node::Text(word)) if word == "request_random");
    if random && !raw.attribution.is_absent() {
        let message =
            "found attribution beside assignment: request_random; allowed: one of the two";
        let hint = "attribution counts from a unit's first request, and here each request is drawn by \
                    itself; remove it";
        problems.push(&at.key("attribution"), Code::Conflict, message, hint);
    }
    if random && !raw.segments.is_absent() {
        let message = "found segments beside assignment: request_random; allowed: one of the two";
        let hint = "segments are of units, and here each request is drawn by itself; remove them";
        problems.push(&at.key("segments"), Code::Conflict, message, hint);
    }
    let methods = methods::read(&raw, experiment, at, problems);
    let prices = prices::read(&raw, node, &at.key("prices"), problems);
    let mut steps: Vec<Step> = Vec::new();
    for (index, step) in filled(raw.steps.get(), &steps_at, problems) {
        let Some(weight) = step.weight.get() else { continue };
        let weight = weight.0;
        if let Some(before) = steps.last().filter(|before| before.weight >= weight) {
            let message = format!(
                "weight is {weight}, but must be greater than that of the step before ({})",
                before.weight
            );
            let hint = "steps raise the candidate; only a rollback lowers it";
            problems.push(&steps_at.item(index).key("weight"), Code::OutOfRange, message, hint);
        }
        let min_for = step.min_for.get().map_or(Millis::ZERO, |span| span.0);
        let min_units = step.min_units.get().map_or(0, |count| u64::from(count.0));
        steps.push(Step { weight, min_for, min_units });
    }
    let segments_at = at.key("segments");
    let segments = filled(raw.segments.get(), &segments_at, problems);
    let segments = distinct(segments, &segments_at, problems);
    let model = raw.model.get().and_then(|raw| Model::check(raw, &at.key("model"), problems));
    let mut texts = |given: Option<&List<PlainText>>, key: &str| -> Vec<String> {
        let texts = filled(given, &at.key(key), problems).into_iter();
        texts.map(|(_, text)| text.0).collect()
    };
    AnalysisPlan {
        segments,
        metrics: texts(raw.metrics.get(), "metrics"),
        guardrails: texts(raw.guardrails.get(), "guardrails"),
        planned_units: raw.planned_units.get().map(|count| u64::from(count.0)),
        attribution: raw.attribution.get().map(|span| span.0),
        cap: raw.cap.get().map_or_else(Vec::new, |cap| {
            cap.0.iter().map(|(metric, quantile)| (metric.clone(), quantile.0)).collect()
        }),
        model,
        prices,
        steps,
        methods,
    }
}

/// Segments, each named once.
fn distinct(names: Vec<(usize, PlainText)>, at: &Path<'_>, problems: &mut Problems) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for (index, PlainText(name)) in names {
        if kept.contains(&name) {
            let message = format!("\"{name}\" is given twice; allowed: once");
            problems.push(&at.item(index), Code::Conflict, message, "remove one of them");
        } else {
            kept.push(name);
        }
    }
    if kept.len() > MOST_SEGMENTS {
        let message = format!("found {} segments; allowed: at most {MOST_SEGMENTS}", kept.len());
        let hint = "each one is another chance of a false finding; keep those that matter";
        problems.push(at, Code::OutOfRange, message, hint);
    }
    kept
}

/// A list that, when given, has an entry.
fn filled<T: Clone>(
    given: Option<&List<T>>,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Vec<(usize, T)> {
    let Some(list) = given else { return Vec::new() };
    if list.written() == 0 {
        let message = "found an empty list; allowed: at least one entry";
        problems.push(at, Code::Empty, message, "add one, or remove the key");
    }
    list.0.clone()
}

/// The largest weight of the steps, as far as they can be read: the filter accepts any plan.
pub(in crate::config) fn largest_step(entries: &[(String, Node)]) -> Ppm {
    let steps = entries.iter().find(|(key, _)| key == "steps").map(|(_, steps)| steps);
    let Some(Node::List(steps)) = steps else { return Ppm::ZERO };
    let weight = |step: &Node| match step.get("weight") {
        Some(Node::Number(number)) => number.parse().ok(),
        _ => None,
    };
    steps.iter().filter_map(weight).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_json;

    fn file(analysis: &str, more: &str) -> String {
        format!(
            r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "c", "weight": 5}}]{more}, "analysis": {analysis}}}]}}"#
        )
    }

    fn read(analysis: &str) -> (Vec<Option<AnalysisPlan>>, Vec<String>) {
        let node = serde_json::from_str(&file(analysis, "")).unwrap();
        let (plans, problems) = analysis_plans(&node);
        let text = |problem: &crate::config::Problem| format!("{} {}", problem.path, problem.code);
        (plans, problems.0.iter().map(text).collect())
    }

    #[test]
    fn a_plan_says_what_will_be_judged() {
        let (plans, problems) = read(
            r#"{"metrics": ["accuracy"], "guardrails": ["error_rate:0.5pt", "latency_p95:10%"],
            "planned_units": 40000.0, "attribution": "7d", "segments": ["country", "plan"], "cap": {"revenue": "99.9%", "basket": "99%"}, "steps": [{"weight": 5, "min_for": "1d", "min_units": 2000}, {"weight": 15.5}]}"#,
        );
        assert_eq!(problems, [""; 0]);
        let step = |ppm, days: u64, min_units| Step {
            weight: Ppm::new(ppm).unwrap(),
            min_for: Millis::new(days * 86_400_000),
            min_units,
        };
        let wanted = AnalysisPlan {
            metrics: vec!["accuracy".to_owned()],
            guardrails: vec!["error_rate:0.5pt".to_owned(), "latency_p95:10%".to_owned()],
            planned_units: Some(40_000),
            attribution: Some(Millis::new(7 * 86_400_000)),
            cap: [("revenue", 999_000), ("basket", 990_000)]
                .map(|(metric, ppm)| (metric.to_owned(), Ppm::new(ppm).unwrap()))
                .to_vec(),
            segments: vec!["country".to_owned(), "plan".to_owned()],
            steps: vec![step(50_000, 1, 2000), step(155_000, 0, 0)],
            ..AnalysisPlan::default()
        };
        assert_eq!(plans, [Some(wanted)]);
        assert_eq!(read("{}"), (vec![Some(AnalysisPlan::default())], vec![]));
    }

    #[test]
    fn every_mistake_has_its_path() {
        let (_, problems) = read(
            r#"{"metrics": [], "guardrails": [7, ""], "planned_units": 99, "attribution": "900d",
            "covariate": "", "segments": ["country", "", "country"], "cap": {"a": "50%", "b": "100%", "c": 99.9, "d": "99,9%",
            "e": "99.99999%", "f": "999%", "g": "99.9"}, "metric": ["a"],
            "steps": [{"weight": 15}, {"weight": 15, "min_for": "soon"}, {"min_units": 1}, {"weight": 101}]}"#,
        );
        let at = "experiments[0].analysis.";
        let wanted = [
            "metric unknown-key",
            "metrics empty",
            "guardrails[0] wrong-type",
            "guardrails[1] bad-metric",
            "planned_units out-of-range",
            "attribution out-of-range",
            "covariate bad-metric",
            "segments[1] bad-metric",
            "segments[2] conflict",
            "cap.a out-of-range",
            "cap.b out-of-range",
            "cap.c wrong-type",
            "cap.d out-of-range",
            "cap.e out-of-range",
            "cap.f out-of-range",
            "cap.g out-of-range",
            "steps[1].weight out-of-range",
            "steps[1].min_for bad-duration",
            "steps[2].weight missing-key",
            "steps[3].weight out-of-range",
        ];
        let mut wanted: Vec<String> = wanted.iter().map(|text| format!("{at}{text}")).collect();
        let mut problems = problems;
        wanted.sort();
        problems.sort();
        assert_eq!(problems, wanted);
    }

    #[test]
    fn steps_and_a_rollout_exclude_each_other() {
        let rollout = r#", "rollout": {"start": "2026-11-23T09:00:00Z", "phases": []}"#;
        let node = serde_json::from_str(&file(r#"{"steps": [{"weight": 5}]}"#, rollout)).unwrap();
        let (_, problems) = analysis_plans(&node);
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].path, "experiments[0].analysis.steps");
    }

    #[test]
    fn attribution_and_segments_need_units() {
        let of = |analysis: &str, assignment: &str| {
            let more = format!(r#", "assignment": "{assignment}""#);
            let node = serde_json::from_str(&file(analysis, &more)).unwrap();
            let problems = analysis_plans(&node).1.0;
            problems.into_iter().map(|problem| (problem.path, problem.code)).collect::<Vec<_>>()
        };
        for (key, analysis) in
            [("attribution", r#"{"attribution": "7d"}"#), ("segments", r#"{"segments": ["x"]}"#)]
        {
            assert_eq!(of(analysis, "user_hash"), []);
            let at = format!("experiments[0].analysis.{key}");
            assert_eq!(of(analysis, "request_random"), [(at, Code::Conflict)]);
        }
    }

    #[test]
    fn there_are_not_too_many_segments() {
        let names: Vec<String> = (0..9).map(|number| format!("\"s{number}\"")).collect();
        let (_, problems) = read(&format!("{{\"segments\": [{}]}}", names.join(",")));
        assert_eq!(problems, ["experiments[0].analysis.segments out-of-range"]);
        let (plans, problems) = read(&format!("{{\"segments\": [{}]}}", names[..8].join(",")));
        assert!(problems.is_empty() && plans[0].as_ref().unwrap().segments.len() == MOST_SEGMENTS);
    }

    #[test]
    fn the_filter_accepts_any_object() {
        for analysis in [
            "{}",
            r#"{"steps": 7, "metrics": {"a": null}, "x": [1]}"#,
            r#"{"steps": [7, {"weight": "x"}]}"#,
        ] {
            assert!(parse_json(file(analysis, "").as_bytes()).is_ok(), "{analysis}");
        }
        assert!(parse_json(file("[]", "").as_bytes()).is_err());
    }

    #[test]
    fn the_largest_step_of_a_single_candidate_is_its_reserve() {
        let width = |analysis: &str, from: &str, to: &str| {
            let text = file(analysis, "").replace(from, to);
            let plan = parse_json(text.as_bytes()).unwrap();
            plan.experiments.first().unwrap().layout.spans()[0].width.get()
        };
        let steps = r#"{"steps": [{"weight": 5}, {"weight": 30}, {"weight": 20}]}"#;
        assert_eq!(width(steps, "", ""), 300_000);
        assert_eq!(width("{}", "", ""), 50_000);
        assert_eq!(width(steps, "\"weight\": 5}]", "\"weight\": 40}]"), 400_000);
        // What the file says goes first, and other candidates' units never move because of a plan.
        assert_eq!(width(steps, "\"weight\": 5}]", "\"weight\": 5, \"reserve\": 10}]"), 100_000);
        assert_eq!(
            width(steps, "\"weight\": 5}]", "\"weight\": 5}, {\"name\": \"d\", \"weight\": 5}]"),
            50_000
        );
    }
}
