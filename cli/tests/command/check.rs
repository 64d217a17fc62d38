//! Files good and bad, and what YAML means.

use std::process::Output;

use super::*;

#[test]
fn every_problem_is_shown_with_its_line() {
    snapshot("check_problems", seen(&["check", "broken.yaml"]));
}

#[test]
fn a_good_file_is_put_into_words() {
    snapshot("check_full", seen(&["check", "full.yaml", "--at", "2026-11-23T09:30:00Z"]));
    snapshot("check_simple", seen(&["check", "simple.yaml"]));
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let good = run(&["check", "simple.yaml", "--json"], b"");
    let keys = |output: &Output| {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let keys: Vec<String> = report.as_object().unwrap().keys().cloned().collect();
        (report, keys)
    };
    let (report, names) = keys(&good);
    assert_eq!(names, ["hash", "notices", "ok", "problems"]);
    assert_eq!((code(&good), report["ok"].as_bool()), (0, Some(true)));
    assert_eq!(report["hash"].as_str().unwrap().len(), 64);
    let bad = run(&["check", "broken.yaml", "--json"], b"");
    let (report, names) = keys(&bad);
    assert_eq!(names, ["hash", "notices", "ok", "problems"]);
    assert_eq!((code(&bad), report["ok"].as_bool()), (1, Some(false)));
    assert!(report["hash"].is_null());
    let problem = report["problems"][0].as_object().unwrap();
    assert_eq!(problem.keys().collect::<Vec<_>>(), ["code", "hint", "message", "path"]);
    assert_eq!(problem["path"], "experiments[0].name");
}

#[test]
fn headers_that_envoy_replaces_are_noticed() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let notices = |headers: &str| {
        let weight = format!("weight: 30, response_headers: {headers}");
        let report =
            json(&["check", "-", "--json"], text.replace("weight: 30", &weight).as_bytes());
        let notices = report["notices"].as_array().unwrap().clone();
        let path = |notice: &serde_json::Value| notice["path"].as_str().unwrap().to_owned();
        let all: Vec<String> = notices.iter().map(path).collect();
        all.into_iter().filter(|path| path.contains("headers")).collect::<Vec<_>>()
    };
    let at = "experiments[0].variants[1].response_headers";
    assert_eq!(notices("{Server: mine}"), [format!("{at}.server")]);
    assert_eq!(notices("{x-request-id: mine, x-other: a}"), [format!("{at}.x-request-id")]);
    assert_eq!(notices("{date: mine, via: mine, set-cookie: a=b}"), [""; 0]);
}

#[test]
fn a_log_without_units_is_noticed() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let noticed = |unit: &str| {
        let file = format!("settings: {{exposure_unit: {unit}}}\n{text}");
        let report = json(&["check", "-", "--json"], file.as_bytes());
        let notices = report["notices"].as_array().unwrap().clone();
        notices.iter().any(|notice| notice["path"] == "settings.exposure_unit")
    };
    assert_eq!(["none", "digest", "plain"].map(noticed), [true, false, false]);
}

#[test]
fn what_cannot_be_read_is_exit_2_and_goes_to_stderr() {
    for arguments in [&["check", "missing.yaml"][..], &["check", "."], &["check"], &["chekc", "x"]]
    {
        let output = run(arguments, b"");
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert_eq!(stdout(&output), "");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn json_and_yaml_and_stdin_are_one() {
    let hash = |arguments: &[&str], stdin: &[u8]| json(arguments, stdin)["hash"].clone();
    let yaml = hash(&["check", "simple.yaml", "--json"], b"");
    let as_json =
        br#"{"experiments": [{"baseline": "old", "name": "forecast", "unit": [{"header": "x-user-id"}],
        "variants": [{"name": "old", "cluster": "model-old"},
                     {"name": "new", "cluster": "model-new", "weight": 30.0}]}]}"#;
    assert_eq!(hash(&["check", "-", "--json"], as_json), yaml);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("simple.JSON");
    std::fs::write(&path, as_json).unwrap();
    assert_eq!(hash(&["check", path.to_str().unwrap(), "--json"], b""), yaml);
}

#[test]
fn broken_text_says_its_line() {
    let message = |text: &[u8]| {
        let report = json(&["check", "-", "--json"], text);
        let problem = &report["problems"][0];
        assert_eq!(problem["code"], "syntax", "{report}");
        problem["message"].as_str().unwrap().to_owned()
    };
    let unclosed = message(b"experiments:\n  - name: [a\n");
    assert!(unclosed.contains("line 2, column 11"), "{unclosed}");
    assert!(message(b"a: b: c\n").contains("line 1"));
    assert!(message(b"a: 1\nb: \xff\n").contains("line 2"));
    assert!(message(b"a: .nan\n").contains("line 1"));
    assert!(message(b"a: *nobody\n").contains("line 1"));
    assert!(message(b"--- \na: 1\n---\nb: 2\n").contains("document"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.json");
    std::fs::write(&path, "{\n  \"a\": }").unwrap();
    let report = json(&["check", path.to_str().unwrap(), "--json"], b"");
    let message = report["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("line 2 column 8"), "{message}");
}

#[test]
fn hostile_text_is_a_problem_and_no_crash() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", ")));
    }
    for text in [
        deep("[", "]"),
        deep("{a: ", "}"),
        deep("- ", ""),
        format!("{{\"a\": {}}}", deep("[", "]")),
        bomb,
        "\0".to_owned(),
        "? [a, b]\n: c".to_owned(),
        "!!binary x".to_owned(),
        "a: 999999999999999999999999999999999999999999".to_owned(),
    ] {
        let output = run(&["check", "-"], text.as_bytes());
        assert_eq!(code(&output), 1, "{:.80} {}", text, stderr(&output));
    }
    for empty in ["", "\n", "# nothing\n", "---\n"] {
        assert_eq!(code(&run(&["check", "-"], empty.as_bytes())), 1, "{empty:?}");
    }
}

#[test]
fn yaml_means_what_json_means() {
    // Words, times and odd numbers stay text; the schema then refuses them where they do not belong.
    let found = |value: &str| {
        let text = format!("experiments: []\nsettings: {{response_headers: {value}}}");
        let report = json(&["check", "-", "--json"], text.as_bytes());
        let problems = report["problems"].as_array().unwrap();
        problems
            .iter()
            .find(|p| p["path"] == "settings.response_headers")
            .map(|p| p["message"].to_string())
    };
    assert_eq!(found("true"), None);
    for text in [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "2026-11-23T09:00:00Z",
        "2026-11-23",
        "010",
        "1_000",
        "1:30",
    ] {
        let message = found(text).unwrap();
        assert!(message.contains(&format!("the text \\\"{text}\\\"")), "{text}: {message}");
    }
    for (text, number) in
        [("30", "30"), ("30.0", "30"), ("3e1", "30"), ("0x1e", "30"), ("-0.0", "0")]
    {
        let message = found(text).unwrap();
        assert!(message.contains(&format!("the number {number};")), "{text}: {message}");
    }
    assert!(found("~").unwrap().contains("null"));
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = b"experiments:\n  - &a {name: a, unit: [{header: u}], baseline: b, variants: [{name: b}, {name: c, weight: 1}]}\n  - {<<: *a, name: z}\n";
    let output = run(&["check", "-"], text);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
}

#[test]
fn terminal_codes_of_a_hostile_file_are_escaped() {
    let output = run(&["check", "-"], b"\"\\e[31mred\": 1\nexperiments: []\n");
    assert!(!stdout(&output).contains('\x1b'), "{}", stdout(&output));
}

/// A name that is no metric may be a column of the outcomes, unless it resembles a metric.
#[test]
fn a_metric_that_looks_misspelled_is_noticed() {
    let file = |plan: &str| {
        format!(
            "experiments: [{{name: a, unit: [{{header: u}}], baseline: b, \
             variants: [{{name: b}}, {{name: c, weight: 1}}], analysis: {plan}}}]"
        )
    };
    let report = |plan: &str| json(&["check", "-", "--json"], file(plan).as_bytes());
    let found = report(
        "{metrics: [acuracy, revenue], guardrails: ['eror_rate:0.5pt', 'latency_p90:decrease:5%']}",
    );
    let notices: Vec<String> = found["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| format!("{} {}", notice["path"], notice["message"]).replace('"', ""))
        .filter(|notice| notice.contains("analysis"))
        .collect();
    let at = "experiments[0].analysis";
    let rest = "is not a built-in metric, so it must be a column of the outcomes; did you mean";
    let wanted = [
        format!("{at}.metrics[0] acuracy {rest} \\accuracy\\?"),
        format!("{at}.guardrails[0] eror_rate {rest} \\error_rate\\?"),
        format!("{at}.guardrails[1] latency_p90 {rest} \\latency_p50\\?"),
    ];
    assert_eq!((&found["ok"], notices), (&true.into(), wanted.to_vec()));
    // What cannot be right is an error.
    let found =
        report("{metrics: ['error_rate=mean'], guardrails: ['latency_p95:absent=zero:5%']}");
    let messages: Vec<&str> = found["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "error_rate is built in and has a fixed kind; remove \"=…\"",
            "latency_p95 is built in and has no `absent`; remove it"
        ]
    );
}
