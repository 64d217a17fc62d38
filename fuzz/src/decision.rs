//! A plan of any shape, and any request to it.

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::quantity::Timestamp;
use sidetrack::request::Body;

use super::sound::{self, Asked};

const HOSTS: &[&str] = &["a.example.com", "*.example.com", "*.a.example.com", "[::1]", "B.test"];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/a/b/c", "/ab"];
const NAMES: &[&str] = &[
    ":authority",
    ":path",
    ":method",
    "cookie",
    "x-user-id",
    "x-tenant",
    "x-ab-force",
    "x-ab-token",
    "x-ab-debug",
    "x-ab-cluster",
    "content-length",
];
const VALUES: &[&str] = &[
    "a.example.com:80",
    "x.a.EXAMPLE.com",
    "[::1]:8",
    "/a/b/c?u=7&u=8",
    "/a?u=%41%",
    "POST",
    "acme",
    "sid=7; sid=8",
    "old",
    "new",
    "other",
    "test",
    "qa-1",
];
/// The digest of `test`.
const TOKEN: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// The rollout's start: 2026-11-23T09:00:00Z in milliseconds.
const START: u64 = 1_795_424_400_000;

/// One input.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(file) = file(&mut input) else { return };
    let Ok(plan) = config::parse_json(file.to_string().as_bytes()) else { return };
    for _ in 0..4 {
        let Ok((headers, body, now)) = asked(&mut input) else { return };
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let whole = body.as_deref().map_or(Body::Absent, Body::Whole);
        for body in [whole, Body::Pending] {
            sound::decided(&plan, &Asked { headers: headers.clone(), body }, Timestamp::new(now));
        }
    }
}

type Headers = Vec<(&'static str, Vec<u8>)>;

fn asked(input: &mut Unstructured<'_>) -> Result<(Headers, Option<Vec<u8>>, u64)> {
    let mut headers = Headers::new();
    for _ in 0..input.int_in_range(0..=12)? {
        let name = *input.choose(NAMES)?;
        let value = match input.ratio(3, 4)? {
            true => input.choose(VALUES)?.as_bytes().to_vec(),
            false => input.arbitrary()?,
        };
        headers.push((name, value));
    }
    let body = match input.int_in_range(0..=3)? {
        0 => None,
        1 => Some(b"{\"u\": 7}".to_vec()),
        2 => Some(b"{\"u\": {\"v\": \"qa-1\"}}".to_vec()),
        _ => Some(input.arbitrary()?),
    };
    let now = match input.int_in_range(0..=3)? {
        0 => 0,
        1 => START,
        2 => START + u64::from(input.arbitrary::<u32>()?),
        _ => input.arbitrary()?,
    };
    Ok((headers, body, now))
}

fn file(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut experiments = Vec::new();
    for number in 0..input.int_in_range(1..=4)? {
        experiments.push(experiment(input, number)?);
    }
    let settings = match input.int_in_range(0..=2)? {
        0 => json!({}),
        1 => json!({"debug": "allowed"}),
        _ => json!({"debug": {"token_sha256": TOKEN}, "header_prefix": "x-t-"}),
    };
    Ok(json!({"experiments": experiments, "settings": settings}))
}

fn experiment(input: &mut Unstructured<'_>, number: u32) -> Result<Value> {
    let units = input.choose(&[
        r#"[{"header": "x-user-id"}]"#,
        r#"[{"header": "x-user-id"}, {"body": "/u"}]"#,
        r#"[{"body": "/u/v"}, {"query": "u"}]"#,
        r#"[{"query": "u"}, {"cookie": "sid"}]"#,
        r#"[{"cookie": "sid", "mint": {"max_age": "1d"}}]"#,
    ])?;
    let mut file = json!({
        "name": format!("experiment-{number}"),
        "salt": input.choose(&["one", "two"])?,
        "enabled": input.ratio(7, 8)?,
        "unit": serde_json::from_str::<Value>(units).unwrap(),
        "missing_unit": input.choose(&["baseline", "random", "skip"])?,
        "assignment": input.choose(&["user_hash", "user_hash", "request_random"])?,
        "baseline": "old",
    });
    let mut conditions = json!({});
    if input.ratio(1, 3)? {
        conditions["hosts"] = json!([input.choose(HOSTS)?, "else.test"]);
    }
    if input.ratio(1, 3)? {
        let rule = if input.ratio(1, 2)? { "exact" } else { "prefix" };
        conditions["path"] = json!({ rule: input.choose(PATHS)? });
    }
    if input.ratio(1, 4)? {
        conditions["methods"] = json!(["POST"]);
    }
    if input.ratio(1, 4)? {
        let rule = *input.choose(&["exact", "prefix"])?;
        conditions["headers"] = json!([{"name": "x-tenant", rule: "acme"}]);
    }
    file["match"] = conditions;
    let (weight, reserve) = (input.int_in_range(0..=50_u32)?, input.int_in_range(0..=50_u32)?);
    let mut new = json!({"name": "new"});
    if input.ratio(1, 3)? {
        file["rollout"] = json!({
            "start": "2026-11-23T09:00:00Z",
            "phases": [
                {"name": "canary", "for": "1h", "weights": {"new": 1}},
                {"name": "all", "weights": {"new": weight, "other": 10}},
            ],
        });
        file["variants"] = json!([{"name": "old"}, new, {"name": "other"}]);
    } else {
        new["weight"] = json!(weight);
        if reserve >= weight {
            new["reserve"] = json!(reserve);
        }
        file["variants"] = json!([{"name": "other", "weight": 50}, {"name": "old"}, new]);
    }
    if input.ratio(1, 3)? {
        file["mirror"] = json!({"cluster": "shadow", "percent": input.int_in_range(0..=100_u32)?});
    }
    if input.ratio(1, 3)? {
        file["layer"] = json!({"name": "layer", "from": number * 25, "to": number * 25 + 25});
    }
    if input.ratio(1, 2)? {
        file["overrides"] = match input.int_in_range(0..=2)? {
            0 => json!({"header": "x-ab-force"}),
            1 => json!({"header": "x-ab-force", "token_sha256": TOKEN, "units": {"7": "new"}}),
            _ => json!({"units": {"qa-1": "other", "7": "new"}}),
        };
    }
    Ok(file)
}
