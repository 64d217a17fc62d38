//! Why a request gets what it gets.

use super::*;

#[test]
fn the_first_line_answers() {
    snapshot("explain_baseline", seen(&["explain", "simple.yaml", "--header", "x-user-id: 4712"]));
    snapshot("explain_candidate", seen(&["explain", "simple.yaml", "--header", "x-user-id: 4711"]));
    snapshot("explain_no_unit", seen(&["explain", "simple.yaml"]));
    snapshot("explain_empty", seen(&["explain", "simple.yaml", "--header", "x-user-id:"]));
}

#[test]
fn a_baseline_named_baseline_is_not_said_twice() {
    let file = "experiments: [{name: ab, unit: [{header: u}], baseline: baseline, \
                variants: [{name: baseline}, {name: candidate, weight: 10}]}]";
    let output = run(&["explain", "-"], file.as_bytes());
    let text = stdout(&output);
    assert!(text.starts_with("The request gets baseline in ab: it has no unit"), "{text}");
}

#[test]
fn the_breaker_has_its_say() {
    let user = "x-user-id: 4711";
    snapshot(
        "explain_open",
        seen(&["explain", "simple.yaml", "--header", user, "--breaker", "new=open"]),
    );
    let all =
        ["explain", "simple.yaml", "--header", user, "--breaker", "new=half-open:100", "--json"];
    assert_eq!(json(&all, b"")["reason"], "probe");
}

#[test]
fn what_was_left_out_is_named() {
    snapshot("explain_unmatched", seen(&["explain", "full.yaml"]));
}

#[test]
fn a_rollout_a_layer_and_a_mirror_are_explained() {
    snapshot("explain_reserved", seen(&full(&["--header", "x-user-id: user-1"])));
    snapshot("explain_excluded", seen(&full(&["--header", "x-user-id: user-3"])));
    let early = [
        "explain",
        "full.yaml",
        "--at",
        "2026-11-23T08:59:59Z",
        "--host",
        "predictor.example.com",
        "--path",
        "/v2/models/forecast",
        "--header",
        "x-tenant: acme",
        "--header",
        "x-user-id: user-1",
    ];
    snapshot("explain_not_started", seen(&early));
}

#[test]
fn an_override_needs_its_token() {
    let force =
        ["--header", "x-ab-force: enhanced-predictor", "--header", "x-user-id: user-3", "--header"];
    let with = |token: &'static str| json(&full(&[&force[..], &[token, "--json"]].concat()), b"");
    assert_eq!(with("x-ab-token: test")["served"], "enhanced-predictor");
    assert_eq!(with("x-ab-token: test")["reason"], "override");
    assert_eq!(with("x-ab-token: wrong")["reason"], "excluded");
    snapshot("explain_override", seen(&full(&[&force[..], &["x-ab-token: test"]].concat())));
}

#[test]
fn every_header_that_the_filter_writes_is_shown() {
    let file = r#"
experiments:
  - name: e
    unit: [{header: x-user-id}, {cookie: sid, mint: {max_age: 24h}}]
    baseline: old
    variants:
      - {name: old, cluster: old-cluster}
      - name: new
        cluster: new-cluster
        weight: 60
        path: {replace_prefix: [/v2/models/a, /v2/models/b]}
        request_headers: {x-model-version: "2"}
        response_headers: {vary: x-user-id}
settings: {debug: allowed}
"#;
    let ask = |more: &[&str]| {
        let request = ["explain", "-", "--path", "/v2/models/a/infer?x=1", "--random", "0.1"];
        stdout(&run(&[&request[..], more].concat(), file.as_bytes())).to_owned()
    };
    let (debug, https) = (["--header", "x-ab-debug: 1"], ["--header", "x-forwarded-proto: https"]);
    let open = ["--breaker", "new=open"];
    snapshot("explain_headers", ask(&[debug, https].concat()));
    snapshot("explain_headers_open", ask(&[debug, open].concat()));
    let unasked = ask(&open);
    for name in ["x-ab-breaker", "x-ab-reason", "x-ab-bucket", "x-ab-config", ":path"] {
        assert!(!unasked.contains(name), "{name}: {unasked}");
    }
}

#[test]
fn json_has_the_keys_of_the_contract_in_order() {
    let output = run(&full(&["--header", "x-user-id: user-1", "--json"]), b"");
    snapshot("explain_json", stdout(&output));
    snapshot("explain_json_unmatched", stdout(&run(&["explain", "full.yaml", "--json"], b"")));
}

#[test]
fn random_is_exact() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let text = text.replace("    baseline", "    assignment: request_random\n    baseline");
    let at = |random| json(&["explain", "-", "--random", random, "--json"], text.as_bytes());
    for (random, bucket, served) in [
        ("0", 0, "new"),
        ("0.299999", 299_999, "new"),
        ("0.3", 300_000, "old"),
        ("0.999999", 999_999, "old"),
    ] {
        let answer = at(random);
        assert_eq!(
            (answer["bucket"].as_u64(), answer["served"].as_str()),
            (Some(bucket), Some(served)),
            "{random}"
        );
        assert_eq!(answer["reason"], "random");
    }
    let rolled = run(&["explain", "-"], text.as_bytes());
    assert!(
        stdout(&rolled).contains("another request may be assigned differently"),
        "{}",
        stdout(&rolled)
    );
    assert_eq!(code(&run(&["explain", "-", "--random", "1"], text.as_bytes())), 2);
}

#[test]
fn skip_leaves_the_request_out() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let text = text.replace("    baseline", "    missing_unit: skip\n    baseline");
    let answer = json(&["explain", "-", "--json"], text.as_bytes());
    assert_eq!(
        (answer["experiment"].as_str(), answer["reason"].as_str()),
        (None, Some("missing_unit"))
    );
}

#[test]
fn what_cannot_be_asked_is_exit_2() {
    for more in [
        &["--breaker", "nobody=open"][..],
        &["--breaker", "old=open"],
        &["--header", "no colon"],
        &["--at", "noon"],
        &["--body", "missing.json"],
    ] {
        let arguments = [&["explain", "simple.yaml"][..], more].concat();
        assert_eq!(code(&run(&arguments, b"")), 2, "{more:?}");
    }
    let problems = run(&["explain", "broken.yaml"], b"");
    assert_eq!((code(&problems), stdout(&problems)), (1, ""));
    assert!(stderr(&problems).contains("experiments[0].name (line 2)"), "{}", stderr(&problems));
}

/// A file whose experiment reads and edits bodies of up to 128 bytes.
const BODIES: &str = r#"
experiments:
  - name: e
    match: {body: [{pointer: /model, exact: m}]}
    unit: [{header: x-user-id}, {body: /user}]
    baseline: old
    variants: [{name: old}, {name: new, weight: 100, body: {/model: m-2, /o/n: 2}}]
  - name: rest
    unit: [{body: /user}]
    baseline: old
    variants: [{name: old}, {name: new, weight: 100}]
settings: {body_limit: 128}
"#;

#[test]
fn a_body_that_yields_nothing_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body.json");
    let large = format!(r#"{{"model": "m", "user": "{}"}}"#, "x".repeat(120));
    let mut seen = String::new();
    for (body, headers) in [
        (r#"{"model": "m", "user": "u", "o": {}}"#, &["content-length: 36", "digest: x"][..]),
        (r#"{"model": "m", "user": "u"}"#, &[]),
        (r#"{"model": "x", "user": null}"#, &[]),
        (r#"{"model": ["m"], "user": {}}"#, &[]),
        (r#"{"user": ""}"#, &[]),
        (r#"{"model": "m"}"#, &[]),
        ("model=m", &[]),
        ("", &[]),
        (&large, &[]),
        (&large, &["transfer-encoding: chunked", "content-type: application/json"]),
        (r#"{"model": "m"}"#, &["content-encoding: gzip"]),
        (r#"{"model": "m"}"#, &["content-type: application/grpc+json"]),
        (r#"{"model": "m"}"#, &["transfer-encoding: chunked"]),
    ] {
        std::fs::write(&path, body).unwrap();
        let mut arguments = vec!["explain", "-", "--body", path.to_str().unwrap()];
        arguments.extend(headers.iter().flat_map(|header| ["--header", header]));
        let output = run(&arguments, BODIES.as_bytes());
        let shown = if body.len() > 100 { "(146 bytes)" } else { body };
        seen += &format!("$ {shown} {headers:?}\n{}\n", stdout(&output));
    }
    snapshot("explain_bodies", seen);
}

#[test]
fn repeated_headers_are_joined_where_envoy_joins_them() {
    let unit = |name: &str| {
        let file = format!(
            "experiments: [{{name: e, unit: [{{header: {name}}}], baseline: old,
             variants: [{{name: old}}, {{name: new, weight: 50}}]}}]"
        );
        let [one, two] = ["1", "2"].map(|value| format!("{name}: {value}"));
        let arguments = ["explain", "-", "--header", &one, "--header", &two];
        stdout(&run(&arguments, file.as_bytes())).to_owned()
    };
    for name in ["authorization", "x-forwarded-for", "via"] {
        assert!(unit(name).contains("\"1,2\""), "{}", unit(name));
    }
    for name in ["x-user-id", "accept-language"] {
        assert!(unit(name).contains("\"1\""), "{}", unit(name));
        assert!(!unit(name).contains("1,2"), "{}", unit(name));
    }
}

#[cfg(unix)]
#[test]
fn a_header_may_have_any_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let header = std::ffi::OsStr::from_bytes(b"x-user-id: \xff\xfe ");
    let output = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["explain", "simple.yaml", "--json", "--header"])
        .arg(header)
        .current_dir(data())
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // From SHA-256 of "arm1", NUL, "forecast", NUL, and the two bytes.
    assert_eq!(answer["bucket"], 258745, "{output:?}");
}
