//! Several files of outcomes with different columns.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::written::{lines, zstd};
use crate::{Folder, Row, analysis, analysis_by, story};

/// Labels by request: those from `from` on.
fn labels(from: u64, to: u64) -> Vec<Row> {
    let row = |request: u64| {
        let row = json!({
            "request_id": format!("request, \"{request}\""),
            "correct": request * 7 % 11 % 2,
        });
        let Value::Object(row) = row else { panic!("no object") };
        row
    };
    (from..to).map(row).collect()
}

/// Sales by unit, each at a time of its own.
fn sales(column: &str, day: u64) -> String {
    let mut text = format!("unit,time,{column}\n");
    for unit in 0..400_u64 {
        let (minute, second) = (unit / 60, unit % 60);
        let value = unit * 31 % 97;
        writeln!(text, "user {unit},2026-11-{day}T12:{minute:02}:{second:02}Z,{value}.5").unwrap();
    }
    text
}

fn folder() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let log = folder.write("access.log", lines(&story()));
    (folder, log)
}

fn metric<'v>(found: &'v Value, name: &str) -> &'v Value {
    let metrics = found["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name);
    metric.unwrap_or_else(|| panic!("{name}: {found:#}"))
}

#[test]
fn columns_of_several_files_are_those_of_each_by_itself() {
    let (folder, log) = folder();
    let logs = std::slice::from_ref(&log);
    let by_unit = folder.write("sales.csv.zst", zstd(sales("revenue", 24).as_bytes()));
    let more = folder.write("baskets.csv", sales("basket", 25));
    let alone = |file: &PathBuf| analysis(logs, std::slice::from_ref(file)).unwrap();
    let files = [by_unit, more];
    let choose = |found: Result<Value, String>| found.unwrap_err();
    let asked = choose(analysis(logs, &files));
    assert!(asked.starts_with("several columns may be the primary metric: revenue, basket"));
    let all = analysis_by(logs, &files, "revenue").unwrap();
    for (file, name) in files.iter().zip(["revenue", "basket"]) {
        let one = alone(file);
        let (wanted, found) = (metric(&one, name), metric(&all, name));
        for key in ["kind", "baseline"] {
            assert_eq!(found[key], wanted[key], "{name}: {key}");
        }
        for key in ["value", "diff"] {
            let of = |metric: &Value| metric["candidates"][0][key].clone();
            assert_eq!(of(found), of(wanted), "{name}: {key}");
        }
        assert_eq!(one["outcomes"]["files"], Value::Null, "one file has no list");
    }
    let counts = &all["outcomes"];
    assert_eq!((&counts["rows"], &counts["matched"]), (&json!(800), &json!(744)));
    let files = counts["files"].as_array().unwrap();
    for (file, (name, column)) in
        files.iter().zip([("sales.csv.zst", "revenue"), ("baskets.csv", "basket")])
    {
        assert!(file["file"].as_str().unwrap().ends_with(name), "{file}");
        assert_eq!((&file["columns"], &file["matched"]), (&json!([column]), &json!(372)));
    }
}

#[test]
fn parts_of_a_table_are_the_table() {
    let (folder, log) = folder();
    let logs = std::slice::from_ref(&log);
    let whole = folder.write("all.json", lines(&labels(0, 1600)));
    let wanted = analysis(logs, &[whole]).unwrap();
    // The second file begins before the first one ends, and agrees.
    let parts = [
        folder.write("one.json", lines(&labels(0, 900))),
        folder.write("two.json", lines(&labels(800, 1600))),
    ];
    let found = analysis(logs, &parts).unwrap();
    assert_eq!(found["metrics"], wanted["metrics"]);
    assert_eq!(found["outcomes"]["rows"], 1600);
    let second = &found["outcomes"]["files"][1];
    assert_eq!((&second["rows"], &second["matched"]), (&json!(800), &json!(744)));
    let mut wrong = labels(899, 1600);
    wrong[0]["correct"] = json!(1 - wrong[0]["correct"].as_u64().unwrap());
    let wrong = [parts[0].clone(), folder.write("wrong.json", lines(&wrong))];
    let error = analysis(logs, &wrong).unwrap_err();
    let wanted = "accuracy is in another file too, with other values for 1 request; remove the \
                  column from one file: ";
    assert_eq!(error, wanted);
}

#[test]
fn rows_about_units_that_two_files_have_count_once() {
    let (folder, log) = folder();
    let logs = std::slice::from_ref(&log);
    let text = sales("revenue", 24);
    let rows: Vec<&str> = text.lines().collect();
    let part = |rows: &[&str]| [&[text.lines().next().unwrap()], rows].concat().join("\n");
    let wanted = analysis(logs, &[folder.write("all.csv", &text)]).unwrap();
    let one = folder.write("one.csv", part(&rows[1..300]));
    let found = analysis(logs, &[one.clone(), folder.write("two.csv", part(&rows[200..]))]);
    assert_eq!(metric(&found.unwrap(), "revenue"), metric(&wanted, "revenue"));
    let other = part(&rows[200..]).replace(".5\n", ".7\n");
    let error = analysis(logs, &[one.clone(), folder.write("three.csv", other)]).unwrap_err();
    assert!(error.contains("with another value for the same unit and time"), "{error}");
    let untimed = folder.write("four.csv", "unit,revenue\nuser 1,7\nuser 2,8\n");
    let error = analysis(logs, &[one.clone(), untimed]).unwrap_err();
    assert!(error.contains("without a time in each row"), "{error}");
    let error = analysis(logs, &[one.clone(), one]).unwrap_err();
    assert!(error.starts_with("the file is given twice"), "{error}");
    let both = folder.write("both.csv", "request_id,revenue\nr,1\n");
    let error = analysis(logs, &[both, folder.path("all.csv")]).unwrap_err();
    assert!(error.contains("its rows are by unit, and those of"), "{error}");
}
