//! A request to try: one that the experiment matches, with a unit.

use std::net::SocketAddr;

use sidetrack::matching::{Host, Text, ValueRule};
use sidetrack::plan::Experiment;
use sidetrack::unit::UnitSource;

/// A command for a shell.
pub(super) fn example(experiment: &Experiment, addr: SocketAddr) -> String {
    let conditions = &experiment.conditions;
    let mut path = match &conditions.path {
        Some(Text::Exact(path) | Text::Prefix(path)) => path.clone(),
        None => "/".to_owned(),
    };
    let mut options = Vec::new();
    let mut body = false;
    match experiment.units.first() {
        Some(UnitSource::Header(name)) => options.push(header(name, "user-1")),
        Some(UnitSource::Cookie(name)) => {
            options.push(format!("--cookie {}", quoted(&format!("{name}=user-1"))))
        }
        Some(UnitSource::Query(name)) => path += &format!("?{name}=user-1"),
        Some(UnitSource::Body(pointer)) => {
            body = true;
            let inside = pointer.split('/').skip(1).collect::<Vec<_>>();
            let json = inside
                .iter()
                .rev()
                .fold("\"user-1\"".to_owned(), |value, key| format!("{{\"{key}\": {value}}}"));
            options.push(header("content-type", "application/json"));
            options.push(format!("-d {}", quoted(&json)));
        }
        None => {}
    }
    match conditions.hosts.first() {
        Some(Host::Exact(name)) => options.push(header("host", name)),
        Some(Host::Below(suffix)) => options.push(header("host", &format!("www{suffix}"))),
        None => {}
    }
    for header_rule in &conditions.headers {
        if let ValueRule::Value(Text::Exact(value) | Text::Prefix(value)) = &header_rule.rule {
            options.push(header(&header_rule.name, value));
        }
    }
    let methods = &conditions.methods;
    let posts = methods.is_empty() || methods.iter().any(|method| method == "POST");
    if posts && !body {
        options.push("-d '{}'".to_owned());
    } else if !posts && methods.first().is_some_and(|method| method != "GET") {
        options.push(format!("-X {}", methods.first().map_or("", String::as_str)));
    }
    format!("curl -i {} {}", quoted(&format!("http://{addr}{path}")), options.join(" "))
}

fn header(name: &str, value: &str) -> String {
    format!("-H {}", quoted(&format!("{name}: {value}")))
}

/// For a shell, in quotes only where needed.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(experiment: &str) -> String {
        let json = format!(
            r#"{{"experiments": [{{"name": "e", "baseline": "b", "variants": [{{"name": "b"}},
            {{"name": "c", "weight": 10}}], {experiment}}}]}}"#
        );
        let plan = sidetrack::config::parse_json(json.as_bytes()).unwrap();
        example(plan.experiments.first().unwrap(), SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    #[test]
    fn a_request_has_the_unit_and_all_conditions() {
        for (experiment, expected) in [
            (
                r#""unit": [{"header": "x-user-id"}], "match": {"path": {"exact": "/invocations"}}"#,
                "curl -i http://127.0.0.1:80/invocations -H 'x-user-id: user-1' -d '{}'",
            ),
            (
                r#""unit": [{"query": "u"}], "match": {"hosts": ["*.example.com"], "methods": ["GET"]}"#,
                "curl -i 'http://127.0.0.1:80/?u=user-1' -H 'host: www.example.com'",
            ),
            (
                r#""unit": [{"cookie": "id"}], "match": {"methods": ["PUT"], "headers": [{"name": "x-t", "exact": "it's"}]}"#,
                r"curl -i http://127.0.0.1:80/ --cookie id=user-1 -H 'x-t: it'\''s' -X PUT",
            ),
            (
                r#""unit": [{"body": "/user/id"}]"#,
                r#"curl -i http://127.0.0.1:80/ -H 'content-type: application/json' -d '{"user": {"id": "user-1"}}'"#,
            ),
        ] {
            assert_eq!(of(experiment), expected);
        }
    }
}
