//! The hand-off: first exposures in a warehouse, and another platform's engine on them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sidetrack::plan::Experiment;
use sidetrack_stats::distribution::chi_square;

use super::crowd::{self, BASELINE, Crowd, Truth};
use super::{Folder, number, result};

const FILE: &str = r#"{"experiments": [{"name": "shop", "salt": "s' é", "unit": [{"header": "u"}],
    "baseline": "old", "variants": [{"name": "old"}, {"name": "new", "weight": 30}],
    "analysis": {"metrics": ["converted:increase", "basket:increase"], "planned_units": 4000}}]}"#;

/// A log as proxies write it: what the filter knows is in the text `exposure`.
fn packed(experiment: &Experiment, log: &str) -> String {
    let trial = sidetrack::exposure::trial(experiment);
    let mut packed = String::new();
    for line in log.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        line["exposure"] = json!(format!(
            "trial={trial} config=9a3b0c11 weights=new=300000/300000 reason={} bucket={} unit={}",
            text(&line, "reason"),
            text(&line, "bucket"),
            text(&line, "unit")
        ));
        let fields = line.as_object_mut().unwrap();
        for field in ["unit", "reason", "bucket"] {
            fields.remove(field);
        }
        writeln!(packed, "{line}").unwrap();
    }
    packed
}

/// A crowd's log with lines that do not count: other reasons, trials and experiments, requests delivered twice, and units
/// whose first exposure was of the other variant.
fn story(folder: &Folder) -> Experiment {
    let experiment = crowd::experiment(FILE);
    let better = Truth { revenue: 2.6, ..BASELINE };
    let written = Crowd::new(4000, vec![BASELINE, better]).write(&experiment, true);
    let log = packed(&experiment, &written.log);
    let mut all = String::new();
    for (number, line) in log.lines().enumerate() {
        writeln!(all, "{line}").unwrap();
        let other = match number % 40 {
            0 => line.to_owned(),
            1 => line.replace("reason=hash", "reason=override"),
            2 => line.replace("reason=hash", "reason=not_started"),
            3 => line.replace("trial=", "trial=00000000 was="),
            4 => line.replace(r#""experiment":"shop""#, r#""experiment":"shop2""#),
            5 => {
                let (head, rest) = line.split_once(" unit=").unwrap();
                let (_, rest) = rest.split_once('"').unwrap();
                format!("{head}\"{rest}").replace("reason=hash", "reason=missing_unit")
            }
            6 if number % 1200 == 6 => earlier(line),
            _ => continue,
        };
        writeln!(all, "{other}").unwrap();
    }
    folder.write("experiment.json", FILE);
    folder.write("access.log", all);
    folder.write("outcomes.csv", written.by_unit);
    experiment
}

/// The same unit, an hour before all others, as a proxy with another file assigned it.
fn earlier(line: &str) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    let exposure = line["exposure"].as_str().unwrap().to_owned();
    let (head, rest) = exposure.split_once(" bucket=").unwrap();
    let unit = rest.split_once(' ').unwrap().1;
    line["exposure"] = json!(format!("{head} {unit}"));
    line["time"] = json!("2026-11-23T08:00:00.000Z");
    line["request_id"] = json!(format!("early-{unit}"));
    let other = if line["assigned"] == "new" { "old" } else { "new" };
    line["assigned"] = json!(other);
    line.to_string()
}

fn query(folder: &Folder, more: &[&str]) -> String {
    let fixed = ["export", "assignments", "experiment.json", "--table", "access_log"];
    let (code, text, errors) = folder.text(&[&fixed[..], more].concat());
    assert_eq!(code, 0, "{errors}");
    text
}

/// Runs a script of the tests with the environment that `scripts/setup.sh tests` makes.
fn script(folder: &Folder, name: &str, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../.tools/growthbook/bin/python");
    assert!(python.exists(), "GrowthBook's engine is missing: run scripts/setup.sh tests");
    let output = Command::new(python)
        .arg(root.join("tests/warehouse").join(name))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn close(one: f64, other: f64) {
    assert!((one - other).abs() <= 1e-9 * one.abs().max(1e-9), "{one} {other}");
}

#[test]
fn growthbook_comes_to_the_same_split_and_the_same_lift() {
    let folder = Folder::new();
    let experiment = story(&folder);
    let sql = ["--for", "growthbook", "--dialect", "duckdb", "--users", "people.id"];
    folder.write("query.sql", query(&folder, &sql));
    let trial = sidetrack::exposure::trial(&experiment);
    let files = ["access.log", "outcomes.csv", "query.sql", &trial, "old", "new", "0.3"];
    let theirs = script(&folder, "growthbook.py", &files);
    let ours = folder.analysis(&["--outcomes", "outcomes.csv"]);
    assert_eq!(ours["test"], "fixed", "{ours:#}");
    for variant in ours["variants"].as_array().unwrap() {
        let name = variant["name"].as_str().unwrap();
        assert_eq!(variant["units"], theirs["users"][name], "{theirs:#}");
    }
    // Theirs is the chi-square test of one look; `p_value` holds at every look, and so is larger.
    let srm = &ours["srm"];
    let p = chi_square::ln_upper(number(&srm["statistic"]), number(&srm["df"])).exp();
    close(p, number(&theirs["srm"]));
    for metric in ["converted", "basket"] {
        let ours = result(&ours, metric);
        close(number(&ours["relative_lift"]), number(&theirs[metric]["lift"]));
        close(number(&ours["diff"]), number(&theirs[metric]["difference"]));
    }
    // The means are compared by the same test; shares have another one here.
    let basket = result(&ours, "basket");
    close(number(&basket["p_value"]), number(&theirs["basket"]["p_value"]));
}

/// The dialects, as options and as sqlglot calls them.
const DIALECTS: [&str; 6] = ["duckdb", "postgres", "bigquery", "snowflake", "spark", "clickhouse"];

#[test]
fn every_dialect_parses() {
    let folder = Folder::new();
    folder.write("experiment.json", FILE);
    let mut queries = Vec::new();
    let mut wanted = Vec::new();
    for dialect in DIALECTS {
        for (platform, unit, variant) in [
            ("growthbook", "user_id", "variation_id"),
            ("eppo", "subject", "variation"),
            ("statsig", "user_id", "group_id"),
        ] {
            let layouts = [["--layout", "log"], ["--layout", "fields"]];
            for (layout, users) in layouts.into_iter().zip([true, false]) {
                let mut more = vec!["--for", platform, "--dialect", dialect];
                more.extend(layout);
                more.extend(["--since", "2026-11-23", "--until", "2026-11-30T12:00:00Z"]);
                if users {
                    more.extend(["--users", "prod.people.id"]);
                } else {
                    more.extend(["--view", "first_exposures"]);
                }
                queries.push(json!([dialect, query(&folder, &more)]));
                wanted.push((unit, variant));
            }
        }
    }
    folder.write("queries.json", Value::from(queries).to_string());
    let found = script(&folder, "parse.py", &["queries.json"]);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), wanted.len());
    for (columns, (unit, variant)) in found.iter().zip(wanted) {
        assert_eq!((&columns[0], &columns[3]), (&json!(unit), &json!(variant)), "{columns}");
    }
}

#[test]
fn duckdb_and_postgresql_find_the_same_first_exposures() {
    let folder = Folder::new();
    let experiment = story(&folder);
    let users = ["--users", "people.id"];
    for dialect in ["duckdb", "postgres"] {
        let more = [&["--for", "growthbook", "--dialect", dialect], &users[..]].concat();
        folder.write(&format!("{dialect}.sql"), query(&folder, &more));
    }
    let files = ["access.log", "outcomes.csv", "duckdb.sql", "postgres.sql"];
    let found = script(&folder, "engines.py", &files);
    let rows = found["duckdb"].as_array().unwrap();
    assert_eq!(rows.len(), 4000);
    let trial = sidetrack::exposure::trial(&experiment);
    // Plain ids, found by their digests; the exposures of the other proxy come first.
    assert!(rows.iter().all(|row| row[0].as_str().unwrap().starts_with("user-7-")), "{rows:?}");
    assert!(rows.iter().all(|row| row[2] == trial.as_str() && row[4] == "new=300000/300000"));
    let several = rows.iter().filter(|row| row[5] == "several").count();
    let early = rows.iter().filter(|row| row[1].as_u64().unwrap() < crowd::START).count();
    assert!(several == early && several > 10, "{several} {early}");
    assert_eq!(found["duckdb"], found["postgres"]);
}

#[test]
fn mistakes_of_the_hand_off_are_named() {
    let folder = Folder::new();
    folder.write("experiment.json", FILE);
    let fixed = ["export", "assignments", "experiment.json", "--for", "eppo", "--dialect", "spark"];
    for (more, code, message) in [
        (&["--table", "a; DROP TABLE b"][..], 2, "expected the name of a table"),
        (&["--table", "t", "--users", "people"], 2, "expected a table and its column"),
        (&["--table", "t", "--since", "2026-11-24", "--until", "2026-11-23"], 1, "must be later"),
        (&["--table", "t", "--experiment", "other"], 1, "unknown experiment"),
    ] {
        let (found, _, errors) = folder.text(&[&fixed[..], more].concat());
        assert!(found == code && errors.contains(message), "{found} {errors}");
    }
}
