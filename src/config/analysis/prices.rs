//! Prices of language models in an analysis plan: what a million tokens cost, by model.

use serde_json::{Value, json};

use crate::config::decode::{Decode, object, ruled, wrong_type};
use crate::config::node::Node;
use crate::config::problem::{Code, Path, Problems};
use crate::config::raw;

/// What the tokens of a model cost, in any currency, per million.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPrice {
    /// The model, as the access log names it.
    pub model: String,
    /// Of tokens of the request.
    pub input: f64,
    /// Of tokens of the answer.
    pub output: f64,
    /// Of tokens of the request that come from a cache; `None`: as others.
    pub cached_input: Option<f64>,
}

object! {
    /// What a million tokens of a model cost.
    RawPrice {
        /// Per million tokens of requests.
        input: TokenPrice = "input" required,
        /// Per million tokens of answers.
        output: TokenPrice = "output" required,
        /// Per million tokens of requests that come from a cache; the price of input when left out.
        cached_input: TokenPrice = "cached_input",
    }
}

/// A price per million tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenPrice(f64);

impl Decode for TokenPrice {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let allowed = "a price per million tokens, from 0";
        let Node::Number(number) = node else {
            wrong_type(node, at, problems, allowed, "write a bare number, without a currency: 2.5");
            return None;
        };
        let found = number.parse().ok().filter(|price: &f64| (0.0..=1e9).contains(price));
        if found.is_none() {
            let message = format!("found {number}; allowed: {allowed}");
            problems.push(at, Code::OutOfRange, message, "2.5 is 0.0000025 per token");
        }
        found.map(Self)
    }

    fn schema() -> Value {
        ruled(
            json!({"type": "number", "minimum": 0, "maximum": 1_000_000_000}),
            "a price per million tokens, from 0",
        )
    }
}

/// The prices of a plan, in the file's order.
pub(super) fn read(
    raw: &raw::Analysis,
    written: &Node,
    at: &Path<'_>,
    problems: &mut Problems,
) -> Vec<ModelPrice> {
    let Some(pairs) = raw.prices.get() else { return Vec::new() };
    if matches!(written.get("prices"), Some(Node::Map(models)) if models.is_empty()) {
        let message = "found no model; allowed: at least one";
        problems.push(at, Code::Empty, message, "large: {input: 2.5, output: 10}");
    }
    let price = |(model, price): &(String, RawPrice)| {
        Some(ModelPrice {
            model: model.clone(),
            input: price.input.get()?.0,
            output: price.output.get()?.0,
            cached_input: price.cached_input.get().map(|price| price.0),
        })
    };
    pairs.0.iter().filter_map(price).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::analysis_plans;

    fn parsed(prices: &str) -> (Vec<ModelPrice>, Vec<String>) {
        let file = format!(
            r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "c", "weight": 5}}], "analysis": {{"prices": {prices}}}}}]}}"#
        );
        let node = serde_json::from_str(&file).unwrap();
        let (plans, problems) = analysis_plans(&node);
        let text = |problem: &crate::config::Problem| {
            let path = problem.path.replace("experiments[0].analysis.prices", "");
            format!("{path} {}", problem.code)
        };
        let prices = plans.into_iter().next().flatten().unwrap().prices;
        (prices, problems.0.iter().map(text).collect())
    }

    #[test]
    fn prices_are_by_model() {
        let (prices, problems) = parsed(
            r#"{"gpt-4o": {"input": 2.5, "output": 10, "cached_input": 1.25}, "own": {"input": 0, "output": 0}}"#,
        );
        assert_eq!(problems, [""; 0]);
        let of = |model: &str, input, output, cached_input| ModelPrice {
            model: model.to_owned(),
            input,
            output,
            cached_input,
        };
        assert_eq!(prices, [of("gpt-4o", 2.5, 10.0, Some(1.25)), of("own", 0.0, 0.0, None)]);
    }

    #[test]
    fn every_mistake_of_a_price_has_its_path() {
        for (prices, wanted) in [
            ("{}", [" empty"].as_slice()),
            ("[]", &[" wrong-type"]),
            (r#"{"a": 2.5}"#, &[".a wrong-type"]),
            (r#"{"a": {"input": 2.5}}"#, &[".a.output missing-key"]),
            (r#"{"a": {"input": "2.5", "output": 1}}"#, &[".a.input wrong-type"]),
            (r#"{"a": {"input": -1, "output": 1}}"#, &[".a.input out-of-range"]),
            (r#"{"a": {"input": 1, "output": 1e300}}"#, &[".a.output out-of-range"]),
            (r#"{"a": {"input": 1, "output": 1, "cache": 1}}"#, &[".a.cache unknown-key"]),
        ] {
            assert_eq!(parsed(prices).1, wanted, "{prices}");
        }
    }
}
