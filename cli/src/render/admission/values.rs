//! The rules for single values: an expression for each part of the experiment file, generated from
//! [`sidetrack::config::rules`].

use serde_json::{Map, Value};

use super::Variable;
use super::cel::{self, Place, Says, bytes, millis, shown};

/// The plan of the analysis is checked by the command only: the filter accepts any, so that a filter
/// runs with the plan of a newer command.
const NOT_CHECKED: &str = "analysis";

/// A variable for each key of an experiment and of the file, and `experiments`, the list.
pub(super) fn variables(rules: &Value) -> Vec<Variable> {
    let file = Place::default();
    let list = file.key("experiments");
    let item = list.item("i");
    let rule = |pointer: &str| rules.pointer(pointer).unwrap_or(&Value::Null);
    let experiment = rule("/properties/experiments/items");
    let empty = Map::new();
    let mut variables = Vec::new();
    let mut add = |name: &str, expression: String| {
        variables.push(Variable { name: name.to_owned(), expression });
    };

    add(
        "config",
        "object.kind == 'TrafficExtension'\n\
         ? (has(object.spec.wasm) && has(object.spec.wasm.pluginConfig) ? object.spec.wasm.pluginConfig : null)\n\
         : (has(object.spec.pluginConfig) ? object.spec.pluginConfig : null)"
            .to_owned(),
    );
    let missing =
        "the experiment file is missing: spec.pluginConfig must have the key experiments\n";
    let shape = keys(rules, "variables.config", &file);
    let not_a_list = Place::default().key("experiments").problem(&[
        Says::Text(" is "),
        Says::Computed(&shown("variables.config.experiments")),
        Says::Text(", but must be a list"),
    ]);
    add(
        "file",
        format!(
            "type(variables.config) != map ? {}\n: {shape}\n+ (has(variables.config.experiments) \
             && type(variables.config.experiments) != list ? {not_a_list} : '')",
            cel::text(missing)
        ),
    );
    add(
        "experiments",
        "type(variables.config) == map && has(variables.config.experiments)\n\
         && type(variables.config.experiments) == list ? variables.config.experiments : []"
            .to_owned(),
    );
    let settings =
        check(rule("/properties/settings"), "variables.config.settings", &file.key("settings"), 1);
    add(
        "settings",
        format!(
            "type(variables.config) == map && has(variables.config.settings)\n? {} : ''",
            settings.unwrap_or_else(|| "''".to_owned())
        ),
    );

    // The experiments themselves, then their keys one by one: each expression has a limit of its own
    // for its cost.
    let group =
        format!("type(e) == map ? {} : {}", keys(experiment, "e", &item), wrong("e", &item, GROUP));
    add("experiment", each_experiment(&group));
    let properties = experiment.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut singles = vec!["file".to_owned(), "settings".to_owned(), "experiment".to_owned()];
    for (key, rule) in properties {
        let value = format!("e[{}]", cel::text(key));
        let rule = if key == NOT_CHECKED { &any_group() } else { rule };
        let Some(problem) = check(rule, &value, &item.key(key), 1) else { continue };
        let name = format!("experiment_{key}");
        add(
            &name,
            each_experiment(&format!(
                "type(e) == map && {} in e\n? {problem} : ''",
                cel::text(key)
            )),
        );
        singles.push(name);
    }
    let sum: Vec<String> = singles.iter().map(|name| format!("variables.{name}")).collect();
    add("values", sum.join("\n+ "));
    variables
}

/// An expression over all experiments, `e`, with their numbers, `i`.
pub(super) fn each_experiment(problem: &str) -> String {
    format!("variables.experiments.transformList(i, e,\n{problem}).join('')")
}

fn any_group() -> Value {
    serde_json::json!({"type": "object", "additionalProperties": {}})
}

const GROUP: &str = "a group of keys and values";

/// An expression for the problems of `value`, a text that is empty without problems. `None`: any
/// value is right. `depth` numbers the variables of nested loops.
fn check(rule: &Value, value: &str, at: &Place, depth: usize) -> Option<String> {
    let word = |key: &str| rule.get(key).and_then(Value::as_str);
    let allowed = word("x-allowed").unwrap_or_default();
    if let Some(words) = rule.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let or_else = wrong(value, at, &format!("one of: {}", words.join(", ")));
        return Some(format!("({value} in {} ? '' : {or_else})", cel::list(words)));
    }
    if let Some([words, group]) = rule.get("oneOf").and_then(Value::as_array).map(Vec::as_slice)
        && words.get("enum").is_some()
    {
        let (words, group) = (check(words, value, at, depth)?, check(group, value, at, depth)?);
        return Some(format!("(type({value}) == map ? {group} : {words})"));
    }
    let holds = match rule.get("type")? {
        Value::String(kind) => match kind.as_str() {
            "object" => return Some(group(rule, value, at, depth)),
            "array" => return Some(list(rule, value, at, depth)),
            "boolean" => format!("type({value}) == bool"),
            "string" => string(rule, value),
            _ => number(rule, value),
        },
        // A size: text or a number.
        _ => {
            format!("(type({value}) == string ? {} : {})", string(rule, value), number(rule, value))
        }
    };
    let allowed = if allowed.is_empty() { "true or false" } else { allowed };
    Some(format!("({holds} ? '' : {})", wrong(value, at, allowed)))
}

fn number(rule: &Value, value: &str) -> String {
    let limit = |key: &str| rule.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut holds = format!(
        "(type({value}) == int || type({value}) == double) && {value} >= {} && {value} <= {}",
        limit("minimum"),
        limit("maximum")
    );
    let whole = |value: &str| format!(" && double(int({value})) == {value}");
    match rule.get("x-decimals").and_then(Value::as_u64) {
        // Within a double's precision: 12.3456 times 10000 need not be whole.
        Some(_) => holds.push_str(&format!(
            " && double(int(double({value}) * 10000.0 + 0.5)) - double({value}) * 10000.0 < 0.001 \
             && double({value}) * 10000.0 - double(int(double({value}) * 10000.0 + 0.5)) < 0.001"
        )),
        None => holds.push_str(&whole(&format!("double({value})"))),
    }
    holds
}

fn string(rule: &Value, value: &str) -> String {
    let mut holds = vec![format!("type({value}) == string")];
    let length = |key: &str| rule.get(key).and_then(Value::as_u64);
    if let Some(least) = length("minLength") {
        holds.push(format!("size({value}) >= {least}"));
    }
    if let Some(most) = length("maxLength") {
        holds.push(format!("size({value}) <= {most}"));
    }
    if let Some(pattern) = rule.get("pattern").and_then(Value::as_str) {
        holds.push(format!("{value}.matches({})", cel::text(pattern)));
    }
    if rule.get("format").is_some() {
        holds.push(format!("{value}.matches({})", cel::text(MOMENT)));
    }
    for (key, quantity) in [("x-span", millis as fn(&str) -> String), ("x-size", bytes)] {
        let limits = rule.get(key).and_then(Value::as_array).map(Vec::as_slice);
        if let Some([least, most]) = limits {
            // Numbers of more digits would overflow.
            holds.push(format!("!{value}.matches('[0-9]{{10}}')"));
            holds.push(format!("{} >= {least}", quantity(value)));
            holds.push(format!("{} <= {most}", quantity(value)));
        }
    }
    holds.join(" && ")
}

/// A moment in RFC 3339 from 1970 on.
const MOMENT: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

fn list(rule: &Value, value: &str, at: &Place, depth: usize) -> String {
    let or_else = |allowed: &str| wrong(value, at, allowed);
    let length = rule.get("minItems").and_then(Value::as_u64);
    let (index, item) = (format!("i{depth}"), format!("e{depth}"));
    let items =
        rule.get("items").and_then(|items| check(items, &item, &at.item(&index), depth + 1));
    let items = items.map_or_else(
        || "''".to_owned(),
        |items| format!("{value}.transformList({index}, {item}, {items}).join('')"),
    );
    let allowed = rule.get("x-allowed").and_then(Value::as_str).unwrap_or("a list");
    let right_length =
        length.map_or_else(String::new, |length| format!(" && size({value}) == {length}"));
    format!("(type({value}) == list{right_length} ? {items} : {})", or_else(allowed))
}

fn group(rule: &Value, value: &str, at: &Place, depth: usize) -> String {
    let mut parts = Vec::new();
    match rule.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            parts.push(keys(rule, value, at));
            for (key, rule) in properties {
                let inner = format!("{value}[{}]", cel::text(key));
                if let Some(problem) = check(rule, &inner, &at.key(key), depth) {
                    parts.push(format!("({} in {value} ? {problem} : '')", cel::text(key)));
                }
            }
        }
        None => {
            let key = format!("k{depth}");
            let inner = format!("{value}[{key}]");
            let rule = rule.get("additionalProperties").unwrap_or(&Value::Null);
            if let Some(problem) = check(rule, &inner, &at.computed(&key), depth + 1) {
                parts.push(format!("{value}.map({key}, {problem}).join('')"));
            }
        }
    }
    let inside = if parts.is_empty() { "''".to_owned() } else { parts.join("\n+ ") };
    format!("(type({value}) == map\n? {inside}\n: {})", wrong(value, at, GROUP))
}

/// An expression for the problems with the keys of a group.
fn keys(rule: &Value, value: &str, at: &Place) -> String {
    let empty = Map::new();
    let properties = rule.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    let expected = format!(" is an unknown key; expected one of: {}", known.join(", "));
    let unknown = at.computed("k").problem(&[Says::Text(&expected)]);
    let mut parts =
        vec![format!("{value}.filter(k, !(k in {})).map(k, {unknown}).join('')", cel::list(known))];
    for key in rule.get("required").and_then(Value::as_array).into_iter().flatten() {
        let Some(key) = key.as_str() else { continue };
        let missing = at.key(key).problem(&[Says::Text(" is missing")]);
        parts.push(format!("({} in {value} ? '' : {missing})", cel::text(key)));
    }
    let one_of: Vec<&str> = rule
        .get("oneOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| one.pointer("/required/0")?.as_str())
        .collect();
    if !one_of.is_empty() {
        let says = format!(" must have exactly one of the keys {}", one_of.join(", "));
        let problem = at.problem(&[Says::Text(&says)]);
        let given = format!("{}.filter(k, k in {value}).size()", cel::list(one_of));
        parts.push(format!("({given} == 1 ? '' : {problem})"));
    }
    parts.join("\n+ ")
}

/// An expression for the problem that `value` is not what is allowed.
fn wrong(value: &str, at: &Place, allowed: &str) -> String {
    let says = format!(", but must be {allowed}");
    at.problem(&[Says::Text(" is "), Says::Computed(&shown(value)), Says::Text(&says)])
}
