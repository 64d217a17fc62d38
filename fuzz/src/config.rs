//! The text of an experiment file, as JSON and as YAML.
//!
//! Nothing panics; what is refused is refused with reasons that lead into the file; what is accepted decides any request,
//! and means the same after the way into Envoy, where a YAML file arrives as JSON.

use sidetrack::config::{self, Node, Problem};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack::request::Body;

use super::sound::{self, Asked};

/// One input.
pub fn run(data: &[u8]) {
    if let Err(problems) = config::parse_json(data) {
        assert!(!problems.0.is_empty());
    }
    if let Ok(node) = serde_json::from_slice::<Node>(data) {
        read(&node);
        assert_eq!(config::parse_json(data).is_ok(), config::parse(&node).is_ok());
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(node) = sidetrack_cli::yaml::parse(text)
    {
        read(&node);
    }
}

fn read(node: &Node) {
    match config::parse(node) {
        Ok(plan) => {
            let text = serde_json::to_vec(node).unwrap();
            let again =
                config::parse_json(&text).unwrap_or_else(|problems| panic!("{problems}\n{node:?}"));
            assert_eq!(plan.hash, again.hash, "{node:?}");
            assert_eq!(format!("{:?}", plan.experiments), format!("{:?}", again.experiments));
            decides(&plan);
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            problems.0.iter().for_each(|problem| leads_somewhere(problem, node));
        }
    }
}

/// The path begins at a key of the file, or at one that is missing there.
fn leads_somewhere(problem: &Problem, node: &Node) {
    assert!(!problem.message.is_empty(), "{problem:?}");
    let Node::Map(entries) = node else { return };
    let plain = problem.path.split(['.', '[']).next().unwrap_or_default();
    let known = ["experiments", "settings", ""].contains(&plain) || problem.path.starts_with('"');
    assert!(known || entries.iter().any(|(key, _)| problem.path.starts_with(key)), "{problem:?}");
}

/// A few requests, made of the words of the plan itself, at the times when it changes.
fn decides(plan: &Plan) {
    let mut headers: Vec<(&str, &[u8])> =
        vec![(":method", b"POST"), ("cookie", b"session_id=7; sid=7")];
    for experiment in &plan.experiments {
        for variant in &experiment.variants {
            let force = experiment.overrides.header.as_deref().unwrap_or("x-ab-force");
            headers.push((force, variant.name.as_bytes()));
        }
        headers.extend(
            experiment.conditions.headers.iter().map(|rule| (rule.name.as_str(), &b"acme"[..])),
        );
    }
    headers.extend([("x-user-id", &b"4711"[..]), (":authority", b"predictor.example.com")]);
    for path in ["/v2/models/forecast?user_id=%41", "/"] {
        for body in [Body::Absent, Body::Pending, Body::Whole(b"{\"user_id\": 1}")] {
            for now in [0, 1_764_000_000_000, u64::MAX] {
                let mut headers = headers.clone();
                headers.push((":path", path.as_bytes()));
                sound::decided(plan, &Asked { headers, body }, Timestamp::new(now));
            }
        }
    }
}
