//! The statistical methods of an analysis plan: covariates, planned looks, corrections, and a prior.

use serde_json::{Value, json};

use super::PlainText;
use crate::config::decode::{Decode, List, choices, object, ruled, wrong_type};
use crate::config::node::Node;
use crate::config::problem::{Code, Path, Problems};
use crate::config::raw;
use crate::config::value::{Count, Percent};
use crate::plan::{Correction, SequentialMethod};

/// The most covariates of a plan.
const MOST: usize = 8;

/// How the plan's metrics are tested. The default is what happens without a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Methods {
    /// Columns of the outcomes that were measured before a unit's first exposure (CUPED).
    pub covariates: Vec<String>,
    /// How many planned looks there are, by the bounds of O'Brien and Fleming; `None`: look as often as you like.
    pub looks: Option<u32>,
    /// How p-values of metrics that decide are adjusted for each other; `None`: Holm.
    pub correction: Option<Correction>,
    /// What is believed of a difference before the data.
    pub bayes: Option<Bayes>,
}

/// A normal prior on the difference, and what follows from the posterior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bayes {
    /// The prior's mean, as a share of the baseline's value (`relative`) or in the metric's unit.
    pub mean: f64,
    /// The prior's standard deviation, above 0.
    pub sd: f64,
    /// Whether the difference is a share of the baseline's value.
    pub relative: bool,
    /// Differences that are smaller than this do not matter.
    pub equivalence: Option<f64>,
    /// When the posterior decides; `None`: it is reported, and decides nothing.
    pub decide: Option<BayesRule>,
}

/// When a posterior decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BayesRule {
    /// The least probability of being better, 0.5 to 1: a candidate is worse if it is better with at most the rest.
    pub probability: f64,
    /// The largest expected loss of choosing the candidate, in the unit of the prior.
    pub loss: f64,
}

choices!(Correction, SequentialMethod);

object! {
    /// How often the data may be looked at.
    Sequential {
        /// always_valid (the default): as often as you like. obrien_fleming: at equal parts of planned_units.
        method: SequentialMethod = "method" required,
        /// Of obrien_fleming: how many looks there are, the last one at planned_units.
        looks: Count<2, 10> = "looks",
    }
}

object! {
    /// A Bayesian analysis beside the tests.
    Posterior {
        /// The normal distribution of differences before the data.
        prior: Prior = "prior" required,
        /// true (the default): differences are shares of the baseline's value. false: in the metric's unit.
        relative: bool = "relative",
        /// Differences that are smaller than this do not matter.
        equivalence: Real = "equivalence",
        /// When the posterior decides instead of the test. It decides nothing when left out.
        decide: PosteriorRule = "decide",
    }
}

object! {
    /// A normal distribution.
    Prior {
        /// Its mean; 0 when left out.
        mean: Real = "mean",
        /// Its standard deviation.
        sd: Real = "sd" required,
    }
}

object! {
    /// When a posterior decides.
    PosteriorRule {
        /// Percent: the least probability that the candidate is better.
        probability: Percent = "probability" required,
        /// The largest expected loss of choosing the candidate, in the unit of the prior.
        loss: Real = "loss" required,
    }
}

/// A finite number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real(f64);

impl Decode for Real {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let parsed = match node {
            Node::Number(text) => text.parse().ok(),
            _ => None,
        };
        let real = parsed.filter(|value: &f64| value.abs() <= 1e150);
        if real.is_none() {
            wrong_type(node, at, problems, "a number", "write a bare number, such as 0.05");
        }
        real.map(Self)
    }

    fn schema() -> Value {
        ruled(json!({"type": "number"}), "a number")
    }
}

/// A column, or a list of columns.
#[derive(Clone, Debug)]
pub(crate) struct Columns(Vec<String>);

impl Decode for Columns {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if !matches!(node, Node::List(_)) {
            return PlainText::decode(node, at, problems).map(|text| Self(vec![text.0]));
        }
        let list = List::<PlainText>::decode(node, at, problems)?;
        let mut columns: Vec<String> = Vec::new();
        if list.written() == 0 || list.written() > MOST {
            let message = format!("found {} columns; allowed: 1 to {MOST}", list.written());
            problems.push(at, Code::Empty, message, "name the columns that predict most");
        }
        for (index, text) in list.0 {
            if columns.contains(&text.0) {
                let message = format!("found \"{}\" a second time; allowed: once", text.0);
                problems.push(&at.item(index), Code::Conflict, message, "remove one of the two");
            } else {
                columns.push(text.0);
            }
        }
        Some(Self(columns))
    }

    fn schema() -> Value {
        json!({"oneOf": [PlainText::schema(), List::<PlainText>::schema()]})
    }
}

/// The methods of a plan, and what is wrong with them.
pub(super) fn read(
    raw: &raw::Analysis,
    experiment: &Node,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Methods {
    let covariates = raw.covariate.get().map(|columns| columns.0.clone()).unwrap_or_default();
    let random =
        matches!(experiment.get("assignment"), Some(Node::Text(word)) if word == "request_random");
    if random && !raw.covariate.is_absent() {
        let message = "found covariate beside assignment: request_random; allowed: one of the two";
        let hint =
            "a covariate is about a unit, and here each request is drawn by itself; remove it";
        problems.push(&at.key("covariate"), Code::Conflict, message, hint);
    }
    Methods {
        covariates,
        looks: looks(raw, at, problems),
        correction: raw.correction.get().copied(),
        bayes: raw.bayes.get().and_then(|bayes| posterior(bayes, &at.key("bayes"), problems)),
    }
}

fn looks(raw: &raw::Analysis, at: &Path<'_>, problems: &mut Problems) -> Option<u32> {
    let at_key = at.key("sequential");
    let sequential = raw.sequential.get()?;
    let looks = &sequential.looks;
    match sequential.method.get()? {
        SequentialMethod::AlwaysValid => {
            if !looks.is_absent() {
                let message = "found looks beside method: always_valid; allowed: one of the two";
                let hint = "always valid is right at any number of looks; remove looks";
                problems.push(&at_key.key("looks"), Code::Conflict, message, hint);
            }
            None
        }
        SequentialMethod::ObrienFleming => {
            if looks.is_absent() {
                let message = "found nothing; obrien_fleming needs the number of looks";
                problems.push(&at_key.key("looks"), Code::MissingKey, message, "looks: 5");
            }
            if raw.planned_units.is_absent() {
                let message =
                    "found no planned_units, of which the looks of obrien_fleming are parts";
                let hint = "`sidetrack size` computes how many units an effect needs";
                problems.push(&at.key("planned_units"), Code::MissingKey, message, hint);
            }
            looks.get().map(|count| count.0)
        }
    }
}

fn posterior(raw: &Posterior, at: &Path<'_>, problems: &mut Problems) -> Option<Bayes> {
    let mut beyond = |at: &Path<'_>, value: f64, is_allowed: bool, allowed: &str| {
        if !is_allowed {
            let message = format!("found {value}; allowed: {allowed}");
            problems.push(at, Code::OutOfRange, message, "write a number within these");
        }
    };
    let prior = raw.prior.get()?;
    let prior_at = at.key("prior");
    let sd = prior.sd.get()?.0;
    beyond(&prior_at.key("sd"), sd, sd > 0.0, "a number above 0");
    let equivalence = raw.equivalence.get().map(|value| value.0);
    if let Some(value) = equivalence {
        beyond(&at.key("equivalence"), value, value > 0.0, "a number above 0");
    }
    let decide = raw.decide.get().and_then(|rule| {
        let decide_at = at.key("decide");
        let probability = rule.probability.get()?.0.fraction();
        let loss = rule.loss.get()?.0;
        let is_allowed = probability > 0.5 && probability < 1.0;
        let (value, allowed) = (100.0 * probability, "a percentage above 50 and below 100");
        beyond(&decide_at.key("probability"), value, is_allowed, allowed);
        beyond(&decide_at.key("loss"), loss, loss >= 0.0, "a number from 0");
        Some(BayesRule { probability, loss })
    });
    let mean = prior.mean.get().map_or(0.0, |mean| mean.0);
    let relative = raw.relative.get().copied().is_none_or(|relative| relative);
    Some(Bayes { mean, sd, relative, equivalence, decide })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::analysis_plans;

    fn read(analysis: &str) -> (Methods, Vec<String>) {
        let file = format!(
            r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "c", "weight": 5}}], "analysis": {analysis}}}]}}"#
        );
        let node = serde_json::from_str(&file).unwrap();
        let (plans, problems) = analysis_plans(&node);
        let text = |problem: &crate::config::Problem| {
            let path = problem.path.replace("experiments[0].analysis.", "");
            format!("{path} {}", problem.code)
        };
        let methods = plans.into_iter().next().flatten().unwrap().methods;
        (methods, problems.0.iter().map(text).collect())
    }

    #[test]
    fn methods_are_read() {
        let (methods, problems) = read(
            r#"{"covariate": "pre", "planned_units": 1000, "correction": "benjamini_hochberg",
            "sequential": {"method": "obrien_fleming", "looks": 5}, "bayes": {"prior": {"sd": 0.05},
            "equivalence": 0.01, "decide": {"probability": 95, "loss": 0.001}}}"#,
        );
        assert_eq!(problems, [""; 0]);
        let decide = Some(BayesRule { probability: 0.95, loss: 0.001 });
        let bayes = Bayes { mean: 0.0, sd: 0.05, relative: true, equivalence: Some(0.01), decide };
        let wanted = Methods {
            covariates: vec!["pre".to_owned()],
            looks: Some(5),
            correction: Some(Correction::BenjaminiHochberg),
            bayes: Some(bayes),
        };
        assert_eq!(methods, wanted);
        assert_eq!(read("{}").0, Methods::default());
        let (methods, _) = read(
            r#"{"covariate": ["a", "b"], "sequential": {"method": "always_valid"}, "correction": "none",
            "bayes": {"prior": {"mean": -1, "sd": 2}, "relative": false}}"#,
        );
        assert_eq!(methods.covariates, ["a", "b"]);
        assert_eq!((methods.looks, methods.correction), (None, Some(Correction::None)));
        let bayes = methods.bayes.unwrap();
        assert_eq!((bayes.mean, bayes.relative, bayes.decide), (-1.0, false, None));
    }

    #[test]
    fn every_mistake_of_a_method_has_its_path() {
        for (analysis, wanted) in [
            (r#"{"covariate": 7}"#, ["covariate wrong-type"].as_slice()),
            (r#"{"covariate": []}"#, &["covariate empty"]),
            (r#"{"covariate": ["a", "a"]}"#, &["covariate[1] conflict"]),
            (r#"{"sequential": {"method": "pocock"}}"#, &["sequential.method not-one-of"]),
            (
                r#"{"sequential": {"method": "obrien_fleming"}}"#,
                &["sequential.looks missing-key", "planned_units missing-key"],
            ),
            (
                r#"{"sequential": {"method": "always_valid", "looks": 3}}"#,
                &["sequential.looks conflict"],
            ),
            (r#"{"correction": "bonferroni"}"#, &["correction not-one-of"]),
            (r#"{"bayes": {}}"#, &["bayes.prior missing-key"]),
            (r#"{"bayes": {"prior": {"sd": 0}}}"#, &["bayes.prior.sd out-of-range"]),
            (r#"{"bayes": {"prior": {"sd": "1"}}}"#, &["bayes.prior.sd wrong-type"]),
            (
                r#"{"bayes": {"prior": {"sd": 1}, "equivalence": 0, "decide": {"probability": 50, "loss": -1}}}"#,
                &[
                    "bayes.equivalence out-of-range",
                    "bayes.decide.probability out-of-range",
                    "bayes.decide.loss out-of-range",
                ],
            ),
        ] {
            assert_eq!(read(analysis).1, wanted, "{analysis}");
        }
    }
}
