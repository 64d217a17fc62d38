//! Rows about units that are equal, time and all: items of an order, or deliveries.

use std::fmt::Write as _;

use serde_json::Value;
use sidetrack::quantity::Timestamp;

use crate::crowd::{BASELINE, Crowd, START, experiment};
use crate::truth::{SIMPLE, folder};
use crate::{Folder, number, result};

const USERS: u64 = 2000;
/// Each second user buys two of an item.
const ITEMS: u64 = USERS / 2 + 2 * (USERS / 2);

/// A log, and orders after it with a line per item.
fn orders() -> (Folder, String) {
    let written = Crowd::new(USERS, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false);
    let mut rows = String::new();
    for user in 0..USERS {
        let time = Timestamp::new(START + 8 * 3_600_000 + 1000 * user);
        for _ in 0..1 + user % 2 {
            writeln!(rows, "user-7-{user},{time},{}", 5 + user % 11).unwrap();
        }
    }
    let folder = folder(SIMPLE, &written);
    folder.write("orders.csv", format!("unit,time,revenue\n{rows}"));
    (folder, rows)
}

fn check<'a>(analysis: &'a Value, name: &str) -> &'a Value {
    analysis["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// What all users paid.
fn sum(analysis: &Value) -> f64 {
    let revenue = analysis["metrics"].as_array().unwrap();
    let revenue = revenue.iter().find(|metric| metric["name"] == "revenue").unwrap();
    let units = |at: usize| number(&analysis["variants"][at]["units"]);
    units(0) * number(&revenue["baseline"]["value"])
        + units(1) * number(&result(analysis, "revenue")["value"])
}

#[test]
fn equal_items_of_an_order_block_and_count_each_if_they_are_allowed() {
    let (folder, rows) = orders();
    let paid = |user: u64| (5 + user % 11) * (1 + user % 2);
    let all: u64 = (0..USERS).map(paid).sum();
    let analysis = folder.analysis(&["--outcomes", "orders.csv"]);
    assert_eq!(analysis["decision"], "invalid", "{analysis:#}");
    let found = check(&analysis, "repeated_rows");
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("1000 are equal to it and were skipped"), "{message}");
    assert!(message.contains("--allow repeated_rows counts each"), "{message}");
    assert_eq!(analysis["outcomes"]["repeated"], 1000);
    let allowed = ["--outcomes", "orders.csv", "--allow", "repeated_rows"];
    let analysis = folder.analysis(&allowed);
    let found = check(&analysis, "repeated_rows");
    assert_eq!(found["state"], "accepted", "{analysis:#}");
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("1000 are equal to it and count, and 0 differ"), "{message}");
    let counts = |analysis: &Value| {
        let rows = &analysis["outcomes"];
        (rows["rows"].as_u64().unwrap(), rows["repeated"].as_u64().unwrap())
    };
    assert_eq!(counts(&analysis), (ITEMS, 0));
    assert!((sum(&analysis) - all as f64).abs() < 1e-6, "{} {all}", sum(&analysis));
    // A second delivery of the file does not count, nor does a part of it.
    for part in [rows.as_str(), &rows[rows.len() / 2..]] {
        let again = &part[part.find("user").unwrap()..];
        let more = again.lines().count() as u64;
        folder.write("orders.csv", format!("unit,time,revenue\n{rows}{again}"));
        let analysis = folder.analysis(&allowed);
        let (kept, skipped) = counts(&analysis);
        assert_eq!(kept, ITEMS);
        assert_eq!(skipped, more);
        assert!((sum(&analysis) - all as f64).abs() < 1e-6, "{} {all}", sum(&analysis));
    }
}

#[test]
fn requests_that_are_drawn_one_by_one_tear_no_unit() {
    let file = SIMPLE.replace("\"baseline\":", "\"assignment\": \"request_random\", \"baseline\":");
    let mut written = Crowd::new(600, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false);
    let log = written.log.lines().enumerate().map(|(at, line)| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let bucket = at as u64 * 618_033 % 1_000_000;
        let variant = if bucket < 300_000 { "fancy" } else { "plain" };
        line["bucket"] = bucket.to_string().into();
        line["reason"] = "random".into();
        line["assigned"] = variant.into();
        line["served"] = variant.into();
        format!("{line}\n")
    });
    written.log = log.collect();
    let folder = folder(&file, &written);
    let arguments = ["--outcomes", "outcomes.csv", "--metric", "accuracy"];
    let analysis = folder.analysis(&arguments);
    assert_eq!(analysis["unit_of_analysis"], "request");
    assert_ne!(analysis["decision"], "invalid", "{analysis:#}");
    assert_eq!(analysis["torn_units"], 0, "{analysis:#}");
    let (code, text, _) = folder.report(&arguments);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("two variants"), "{text}");
}
