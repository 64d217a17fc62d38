//! From the text of an experiment file to a [`Plan`], or to everything that is wrong with it.
//!
//! Three steps: the text becomes a [`Node`] tree (JSON here, YAML in the command); the tree becomes what was
//! written (`raw`), each value checked by itself; that becomes what is true (`check`), each value checked against
//! the others. Every step collects problems and goes on.

mod analysis;
mod check;
mod decode;
mod model;
mod node;
mod problem;
mod raw;
mod value;

pub use analysis::{
    AnalysisPlan, Bayes, BayesRule, MOST_SEGMENTS, Methods, ModelPrice, Step, analysis_plans,
};
use decode::Decode;
pub use decode::did_you_mean;
pub use model::{Model, Task};
pub use node::Node;
use problem::Path;
pub use problem::{Code, Problem, Problems};
pub use value::quantile;

use crate::plan::Plan;

/// Reads a configuration in JSON, as Envoy and Istio pass it.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse_json(text: &[u8]) -> Result<Plan, Problems> {
    if text.trim_ascii().is_empty() {
        return Err(syntax("it is empty"));
    }
    let node = serde_json::from_slice(text).map_err(|error| syntax(&json_problem(&error)))?;
    parse(&node)
}

/// Reads a configuration from its tree.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(node: &Node) -> Result<Plan, Problems> {
    let mut problems = Problems::default();
    let file = raw::File::decode(node, &Path::Root, &mut problems);
    let plan = file.map(|file| check::check(&file, node, &mut problems));
    match plan {
        Some(plan) if problems.0.is_empty() => Ok(plan),
        _ => Err(problems),
    }
}

/// The problem of a text that is no tree at all.
#[must_use]
pub fn syntax(error: &str) -> Problems {
    Problems(vec![Problem {
        path: String::new(),
        code: Code::Syntax,
        message: format!("cannot be read: {error}"),
        hint: "an experiment file is YAML or JSON".to_owned(),
    }])
}

/// Why a text is not JSON, or not what it must be, in words: `it ends in the middle of a value, at line 2 column 0`.
#[must_use]
pub fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    for (said, meant) in [
        ("EOF while parsing ", "it ends in the middle of "),
        ("invalid type: ", "it has "),
        ("invalid value: ", "it has "),
        ("missing field ", "it lacks the key "),
    ] {
        if let Some(rest) = text.strip_prefix(said) {
            return format!("{meant}{}", rest.replacen(" at line", ", at line", 1));
        }
    }
    text
}

/// The rules for single values, for generators of other checks: the JSON Schema with the keys `x-allowed` (the words
/// for what is allowed), `x-decimals` (of a number), `x-span` (from, to, in milliseconds) and `x-size` (from, to, in
/// bytes).
#[must_use]
pub fn rules() -> serde_json::Value {
    raw::File::schema()
}

/// The JSON Schema (2020-12) of the experiment file, for editors.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = rules();
    remove_extensions(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".to_owned(), "Sidetrack experiment file".into());
    }
    schema
}

/// Removes the keys of [`rules`] that JSON Schema does not know.
fn remove_extensions(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            object.retain(|key, _| !key.starts_with("x-"));
            object.values_mut().for_each(remove_extensions);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(remove_extensions),
        _ => {}
    }
}
