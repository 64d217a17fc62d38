//! `sidetrack render prometheus`: promtool accepts the rules, and each alert fires only when it
//! should.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use sidetrack_tests::prometheus::promtool;
use sidetrack_tests::world::sidetrack_command;
use tempfile::TempDir;

const RULES: &str = "sidetrack.rules.yaml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every kind of experiment that makes a difference to the rules.
const FILE: &str = r#"
experiments:
  - name: forecast.v1
    match: {path: {prefix: /v2/models/forecast}}
    unit: [{header: x-user-id}]
    baseline: stable
    variants: [{name: stable}, {name: new}, {name: other}]
    rollout:
      start: 2026-11-23T09:00:00Z
      phases:
        - {name: canary, for: 1h, weights: {new: 5, other: 5}}
        - {name: production, weights: {new: 30, other: 30}}
    breaker: {slow: {over: 200ms, rate: 5}}
  - name: ranking
    unit: [{header: x-user-id}]
    missing_unit: skip
    baseline: stable
    variants: [{name: stable}, {name: new}]
    rollout: {start: 2027-01-01T00:00:00Z, phases: [{name: all, for: 30d, weights: {new: 50}}]}
    breaker: {mode: dry_run, error_rate: 0.5, min_requests: 200, slow: {over: 150ms, rate: 1}}
  - name: prices
    unit: [{header: x-user-id}]
    baseline: stable
    variants: [{name: stable}, {name: new, weight: 20}]
    layer: {name: checkout, from: 0, to: 40}
    breaker: {mode: disabled, error_rate: 100, slow: {over: 1h, rate: 5}}
"#;

/// A folder with the file, its rules and both kinds of tests.
fn rendered(file: &str, more: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("experiment.yaml");
    fs::write(&path, file).unwrap();
    let render = |arguments: &[&str]| {
        let arguments =
            [&["render", "prometheus", path.to_str().unwrap()], more, arguments].concat();
        sidetrack_command(&arguments).unwrap()
    };
    fs::write(dir.path().join(RULES), render(&[])).unwrap();
    fs::write(dir.path().join("minutes.yaml"), render(&["--tests"])).unwrap();
    fs::write(dir.path().join("calendar.yaml"), render(&["--tests=calendar"])).unwrap();
    dir
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn good(folder: &Path, arguments: &[&str]) {
    let output = promtool(folder, arguments).unwrap();
    let told = told(&output);
    // A lint that fails does not fail promtool.
    assert!(
        output.status.success() && told.contains("SUCCESS") && !told.contains("FAILED"),
        "{told}"
    );
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn alerts(rules: &Value) -> Vec<&Value> {
    let groups = rules["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules.filter(|rule| rule.get("alert").is_some()).collect()
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let odd = ["--job", "the \"mesh\"\\x", "--runbook", "https://example.com/ops"];
    let capacities = ["--baseline-capacity", "0.5", "--baseline-capacity", "forecast.v1=400"];
    for more in [&[][..], &odd, &capacities] {
        let dir = rendered(FILE, more);
        good(dir.path(), &["check", "rules", RULES]);
        good(dir.path(), &["test", "rules", "minutes.yaml"]);
        good(dir.path(), &["test", "rules", "calendar.yaml"]);
    }
}

/// Without this, a test could leave an alert out, or look at nothing.
#[test]
fn each_alert_has_a_test_that_fires_and_one_that_does_not() {
    let dir = rendered(FILE, &[]);
    let read = |name: &str| yaml(&fs::read_to_string(dir.path().join(name)).unwrap());
    let (rules, minutes, calendar) = (read(RULES), read("minutes.yaml"), read("calendar.yaml"));
    let tests =
        || minutes["tests"].as_array().unwrap().iter().chain(calendar["tests"].as_array().unwrap());
    let names: std::collections::BTreeSet<&str> =
        alerts(&rules).iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 14, "{names:?}");
    for alert in alerts(&rules) {
        let of_it = |test: &&Value| test["alert_rule_test"][0]["alertname"] == alert["alert"];
        let expected =
            |test: &Value| test["alert_rule_test"][0]["exp_alerts"].as_array().unwrap().clone();
        let experiment = &alert["labels"]["experiment"];
        let fires = |test: &Value| {
            expected(test).iter().any(|a| &a["exp_labels"]["experiment"] == experiment)
        };
        assert!(tests().filter(of_it).any(fires), "{} of {experiment} never fires", alert["alert"]);
        assert!(tests().filter(of_it).any(|test| expected(test).is_empty()), "{}", alert["alert"]);
    }
}

/// The tests must see what a careless hand does to the rules.
#[test]
fn the_tests_notice_broken_rules() {
    let dir = rendered(FILE, &[]);
    let rules = fs::read_to_string(dir.path().join(RULES)).unwrap();
    // promtool takes its time, so breaks of different alerts go into one run.
    let batches = [
        &[
            ("[5m]) == 2\n", "[5m]) == 3\n", "SidetrackBreakerOpen"),
            (
                "(increase(ab_test_breaker_would_trip_total",
                "(delta(ab_test_breaker",
                "SidetrackBreakerWouldTrip",
            ),
            ("} > 0.05\n", "} > 1.05\n", "SidetrackErrorRate"),
            ("} > 0.01\n", "} > 1.01\n", "SidetrackSlow"),
            (
                "sidetrack-bypass:forecast_v1",
                "sidetrack-bypass:forecast.v1",
                "SidetrackFilterMissing",
            ),
            (
                "unless on (job, instance) (",
                "and on (job, instance) (",
                "SidetrackConfigUnexpected",
            ),
            ("offset 15m", "offset 1m", "SidetrackConfigRejected"),
            ("success|failure|backoff", "failure|backoff", "SidetrackFilterCrashed"),
            ("unless on (job, instance)\n", "and on (job, instance)\n", "SidetrackMetricsHidden"),
            ("absent(", "count(", "SidetrackNotScraped"),
            ("} > 1.25", "} > 3.25", "SidetrackBaselineHeadroom"),
        ][..],
        &[
            ("le=\"0.2\"", "le=\"0.3\"", "SidetrackSlow"),
            ("or 0 * sum", "or 1 * sum", "SidetrackFilterMissing"),
            ("severity: \"critical\"", "severity: \"info\"", "SidetrackErrorRate"),
            ("its users get", "somebody gets", "SidetrackBreakerOpen"),
            (
                "(max_over_time(ab_test:req",
                "(min_over_time(ab_test:req",
                "SidetrackBaselineHeadroom",
            ),
        ],
        &[
            // Istio's names of the same series, and of two virtual hosts.
            ("\"envoy_vhost_.+_route", "\"envoy_vhost_a.+_route", "SidetrackFilterMissing"),
            ("\"fetch_failure|", "\"", "SidetrackModuleNotFetched"),
            ("{type=\"ecds\"}", "{type=\"cds\"}", "SidetrackModuleRefused"),
        ],
    ];
    for breaks in batches {
        let mut careless = rules.clone();
        for (whole, broken, _) in breaks {
            assert!(rules.contains(whole), "the rules have no {whole}");
            careless = careless.replace(whole, broken);
        }
        fs::write(dir.path().join(RULES), careless).unwrap();
        let output = promtool(dir.path(), &["test", "rules", "minutes.yaml"]).unwrap();
        let told = told(&output);
        assert!(!output.status.success());
        for (whole, broken, alert) in breaks {
            assert!(
                told.contains(&format!("alertname: {alert},")),
                "{whole} → {broken}: nobody noticed\n{told}"
            );
        }
    }
    let over = "vector(time()) > 18";
    assert!(rules.contains(over));
    fs::write(dir.path().join(RULES), rules.replace(over, "vector(time()) > 58")).unwrap();
    let output = promtool(dir.path(), &["test", "rules", "calendar.yaml"]).unwrap();
    assert!(!output.status.success() && told(&output).contains("SidetrackRolloutOver"));
}

#[test]
fn the_headroom_is_that_to_the_capacity() {
    let capacities = ["--baseline-capacity", "50", "--baseline-capacity", "forecast.v1=400"];
    for (more, expected) in [
        (&[][..], [" > 1.25", "[7d])"]),
        (&["--baseline-capacity", "50"], [" > 1", "/\n50"]),
        (&capacities, [" > 1", "/\n400"]),
    ] {
        let rules = yaml(&fs::read_to_string(rendered(FILE, more).path().join(RULES)).unwrap());
        let groups = rules["groups"].as_array().unwrap();
        let all = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let all: Vec<&Value> =
            all.filter(|rule| rule["labels"]["experiment"] == "forecast.v1").collect();
        let expression = |key: &str, name: &str| {
            all.iter().find(|rule| rule[key] == name).map(|rule| rule["expr"].as_str().unwrap())
        };
        let alert = expression("alert", "SidetrackBaselineHeadroom").unwrap();
        let record = expression("record", "ab_test:takeover:ratio5m").unwrap();
        assert!(alert.ends_with(expected[0]), "{more:?}: {alert}");
        assert!(record.contains(expected[1]), "{more:?}: {record}");
        // Without an enforcing breaker, nothing moves.
        let ranking = alerts(&rules).into_iter().filter(|alert| {
            alert["labels"]["experiment"] == "ranking"
                && alert["alert"] == "SidetrackBaselineHeadroom"
        });
        assert_eq!(ranking.count(), 0);
    }
}

#[test]
fn limits_come_from_the_file() {
    let dir = rendered(FILE, &[]);
    let rules = fs::read_to_string(dir.path().join(RULES)).unwrap();
    let rules = yaml(&rules);
    let of = |alert: &str, experiment: &str| {
        let all = alerts(&rules);
        let mut found =
            all.iter().filter(|a| a["alert"] == alert && a["labels"]["experiment"] == experiment);
        found.next().map(|a| a["expr"].as_str().unwrap().to_owned())
    };
    assert!(of("SidetrackErrorRate", "ranking").unwrap().contains("} > 0.005\n"));
    assert!(of("SidetrackErrorRate", "ranking").unwrap().contains(">= 200\n"));
    // Nothing is above a limit of 100 percent, and the histogram has no bound of an hour.
    assert_eq!(of("SidetrackErrorRate", "prices"), None);
    assert_eq!(of("SidetrackSlow", "prices"), None);
    assert_eq!(of("SidetrackBreakerOpen", "ranking"), None);
    assert_eq!(of("SidetrackBreakerWouldTrip", "forecast.v1"), None);
    // 2026-11-23T10:00:00Z and a week; 2027-01-31T00:00:00Z.
    assert!(of("SidetrackRolloutOver", "forecast.v1").unwrap().ends_with("> 1796032800"));
    assert!(of("SidetrackRolloutOver", "ranking").unwrap().ends_with("> 1801353600"));
}

#[test]
fn the_operator_gets_the_same_groups() {
    let dir = rendered(FILE, &[]);
    let path = dir.path().join("experiment.yaml").display().to_string();
    let arguments = ["render", "prometheus", &path, "--operator"];
    let manifest = yaml(&sidetrack_command(&arguments).unwrap());
    assert_eq!(manifest["apiVersion"], "monitoring.coreos.com/v1");
    assert_eq!(manifest["kind"], "PrometheusRule");
    let rules = yaml(&fs::read_to_string(dir.path().join(RULES)).unwrap());
    assert_eq!(manifest["spec"]["groups"], rules["groups"]);
}

#[test]
fn each_alert_has_a_heading_in_the_handbook() {
    let handbook = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let dir = rendered(FILE, &[]);
    let rules = yaml(&fs::read_to_string(dir.path().join(RULES)).unwrap());
    for alert in alerts(&rules) {
        let name = alert["alert"].as_str().unwrap();
        assert!(
            handbook.contains(&format!("### {name}\n")),
            "docs/operations.md has no heading {name}"
        );
        let anchor = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], anchor.as_str());
    }
}

/// The committed files of the quick start equal the command's output; `UPDATE=1` writes them again.
#[test]
fn the_committed_rules_are_what_the_command_writes() {
    let folder = root().join("deploy/prometheus");
    let render = |more: &[&str]| {
        let experiment = root().join("envoy/experiment.yaml").display().to_string();
        let arguments = [&["render", "prometheus", &experiment], more].concat();
        sidetrack_command(&arguments).unwrap()
    };
    for (name, text) in [(RULES, render(&[])), ("sidetrack.tests.yaml", render(&["--tests"]))] {
        let file: PathBuf = folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == text,
            "{} is not what the command writes; UPDATE=1 writes it anew",
            file.display()
        );
    }
    good(&folder, &["test", "rules", "sidetrack.tests.yaml"]);
    good(&folder, &["check", "config", "prometheus.yaml"]);
}
