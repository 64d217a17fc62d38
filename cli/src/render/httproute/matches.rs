//! The `matches` of rules: the requests of an experiment, with and without the filter's headers.
//!
//! A gateway chooses among the rules of all routes: by path, then by method, then by the number of
//! headers. So a rule for tagged requests repeats the path and the method of the experiment, and wins
//! by its headers.
//!
//! An experiment compares a path letter by letter, but `PathPrefix` compares whole elements of it:
//! `/v1/models/iris` does not match `/v1/models/iris:predict`. Where an experiment's prefix may end
//! inside an element, a regular expression matches the rest. Implementations rank it differently, so
//! tagged requests also match the parent of the prefix: only the filter tags, so this takes no other
//! requests.

use serde_json::{Map, Value, json};
use sidetrack::matching::{Header, Text, ValueRule};
use sidetrack::rewrite::Rewrite;

use anyhow::ensure;

/// The methods of the Gateway API.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The most headers of a match.
const MOST_HEADERS: usize = 16;

/// A match without its headers: `path` and `method`.
pub(super) type Target = Map<String, Value>;

/// A condition on a header.
pub(super) fn header(name: &str, value: &str) -> Value {
    json!({"type": "Exact", "name": name, "value": value})
}

fn header_pattern(name: &str, regex: &str) -> Value {
    json!({"type": "RegularExpression", "name": name, "value": regex})
}

/// The headers of an experiment's conditions. `present: false` cannot be written, so it is left out.
pub(super) fn headers(conditions: &[Header]) -> Vec<Value> {
    let one = |condition: &Header| match &condition.rule {
        ValueRule::Value(Text::Exact(text)) => Some(header(&condition.name, text)),
        ValueRule::Value(Text::Prefix(text)) => {
            Some(header_pattern(&condition.name, &format!("{}.*", escaped(text))))
        }
        ValueRule::Present(true) => Some(header_pattern(&condition.name, ".*")),
        ValueRule::Present(false) => None,
    };
    conditions.iter().filter_map(one).collect()
}

/// The paths of requests with this condition, as an experiment means it.
pub(super) fn paths(condition: Option<&Text>) -> Vec<Value> {
    match condition {
        None => Vec::new(),
        Some(Text::Exact(path)) => vec![exact(path)],
        Some(Text::Prefix(prefix)) => {
            let mut paths = Vec::new();
            if is_path(prefix) {
                paths.push(typed("PathPrefix", prefix));
                if !prefix.ends_with('/') {
                    paths.push(typed("RegularExpression", &format!("{}[^/].*", escaped(prefix))));
                }
            } else {
                paths.push(typed("RegularExpression", &format!("{}.*", escaped(prefix))));
            }
            paths
        }
    }
}

/// The paths of requests with this condition after the filter has rewritten them, and for prefixes
/// also their parents.
pub(super) fn tagged_paths(condition: Option<&Text>, rewrite: Option<&Rewrite>) -> Vec<Value> {
    let mut paths = Vec::new();
    for condition in rewritten(condition, rewrite) {
        for path in self::paths(condition.as_ref()) {
            push(&mut paths, path);
        }
        if let Some(Text::Prefix(prefix)) = &condition
            && !prefix.ends_with('/')
            && let Some((parent, _)) = prefix.rsplit_once('/')
        {
            let parent = if parent.is_empty() { "/" } else { parent };
            if is_path(parent) {
                push(&mut paths, typed("PathPrefix", parent));
            }
        }
    }
    paths
}

/// The condition for the paths that reach the routes.
fn rewritten(condition: Option<&Text>, rewrite: Option<&Rewrite>) -> Vec<Option<Text>> {
    let (Some(condition), Some(rewrite)) = (condition, rewrite) else {
        return vec![condition.cloned()];
    };
    let changed =
        |path: &str| path.strip_prefix(&rewrite.from).map(|rest| rewrite.to.clone() + rest);
    match condition {
        Text::Exact(path) => {
            vec![Some(Text::Exact(changed(path).unwrap_or_else(|| path.clone())))]
        }
        Text::Prefix(prefix) => match changed(prefix) {
            Some(prefix) => vec![Some(Text::Prefix(prefix))],
            // Only some of the requests begin with what is replaced.
            None if rewrite.from.starts_with(prefix) => {
                [prefix, &rewrite.to].map(|prefix| Some(Text::Prefix(prefix.clone()))).to_vec()
            }
            None => vec![Some(Text::Prefix(prefix.clone()))],
        },
    }
}

/// Every path with every method; a single target without conditions if there are neither.
pub(super) fn targets(paths: &[Value], methods: &[String]) -> anyhow::Result<Vec<Target>> {
    for method in methods {
        ensure!(
            METHODS.contains(&method.as_str()),
            "the method {method} does not exist in the Gateway API\n  hint: match one of {}",
            METHODS.join(", ")
        );
    }
    let paths: Vec<Option<&Value>> =
        if paths.is_empty() { vec![None] } else { paths.iter().map(Some).collect() };
    let methods: Vec<Option<&String>> =
        if methods.is_empty() { vec![None] } else { methods.iter().map(Some).collect() };
    let mut targets = Vec::new();
    for path in paths {
        for method in &methods {
            let mut target = Map::new();
            target.extend(path.map(|path| ("path".to_owned(), path.clone())));
            target.extend(method.map(|method| ("method".to_owned(), json!(method))));
            targets.push(target);
        }
    }
    Ok(targets)
}

/// A target with headers.
pub(super) fn with_headers(target: &Target, headers: &[Value]) -> anyhow::Result<Value> {
    let mut target = target.clone();
    let mut all = match target.remove("headers") {
        Some(Value::Array(headers)) => headers,
        _ => Vec::new(),
    };
    for header in headers {
        push(&mut all, header.clone());
    }
    ensure!(
        all.len() <= MOST_HEADERS,
        "{} headers would have to match, but the Gateway API allows {MOST_HEADERS}\n  \
         hint: use fewer headers in the experiment's match",
        all.len()
    );
    for header in &all {
        let text = |key: &str| header.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, value) = (text("name"), text("value"));
        ensure!(
            is_value(value),
            "the condition on the header {name} has \"{value}\", but the Gateway API allows only visible ASCII \
             characters, with single spaces between them\n  hint: match another value, or only `present: true`"
        );
    }
    if !all.is_empty() {
        target.insert("headers".to_owned(), all.into());
    }
    Ok(target.into())
}

fn push(list: &mut Vec<Value>, value: Value) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn exact(path: &str) -> Value {
    if is_path(path) { typed("Exact", path) } else { typed("RegularExpression", &escaped(path)) }
}

fn typed(kind: &str, value: &str) -> Value {
    json!({"type": kind, "value": value})
}

/// Whether the Gateway API accepts this as the value of a header.
fn is_value(value: &str) -> bool {
    let words: Vec<&str> = value.split([' ', '\t']).collect();
    value.len() <= 4096
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic()))
}

/// Whether the Gateway API accepts this as an exact path or a prefix.
fn is_path(path: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte);
    path.starts_with('/')
        && path.bytes().all(good)
        && !["//", "/./", "/../"].iter().any(|bad| path.contains(bad))
        && !path.ends_with("/..")
        && !path.ends_with("/.")
}

/// As a regular expression that matches only this text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Option<Text> {
        Some(Text::Prefix(text.to_owned()))
    }

    #[test]
    fn values_of_headers_are_those_of_the_gateway_api() {
        let with = |value: &str| with_headers(&Map::new(), &[header("x-a", value)]);
        for good in ["a", "a b", "\"", "{x}", "a\tb"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in ["", "é", "a  b", " a", "a "] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_covers_the_rest_of_its_last_element() {
        assert_eq!(
            paths(prefix("/v1/models/iris.v2").as_ref()),
            [
                typed("PathPrefix", "/v1/models/iris.v2"),
                typed("RegularExpression", r"/v1/models/iris\.v2[^/].*"),
            ]
        );
        assert_eq!(paths(prefix("/v2/").as_ref()), [typed("PathPrefix", "/v2/")]);
        assert_eq!(paths(prefix("/a//b").as_ref()), [typed("RegularExpression", "/a//b.*")]);
        assert_eq!(paths(None), [] as [Value; 0]);
    }

    #[test]
    fn tagged_requests_are_matched_by_the_path_that_the_filter_writes() {
        let rewrite = Rewrite { from: "/v2/models/a".to_owned(), to: "/v2/models/b".to_owned() };
        let values = |condition: &str| {
            let paths = tagged_paths(prefix(condition).as_ref(), Some(&rewrite));
            paths.iter().map(|path| path["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            values("/v2/models/a/infer"),
            ["/v2/models/b/infer", "/v2/models/b/infer[^/].*", "/v2/models/b"]
        );
        // Other paths below the prefix stay as they are.
        assert_eq!(values("/v2/"), ["/v2/", "/v2/models/b", "/v2/models/b[^/].*", "/v2/models"]);
        assert_eq!(values("/v3/x"), ["/v3/x", "/v3/x[^/].*", "/v3"]);
        let exact = Text::Exact("/v2/models/a".to_owned());
        assert_eq!(tagged_paths(Some(&exact), Some(&rewrite)), [typed("Exact", "/v2/models/b")]);
    }
}
