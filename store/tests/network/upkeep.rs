//! What the store does with days that are over when a file of it is damaged or it is interrupted.

use std::path::PathBuf;

use sidetrack_store::{Access, Limits};

use crate::served::{EXPERIMENT, JSON, Request, START, Served};

const DAY: u64 = 86_400_000;

/// When all these days are over.
const LATER: u64 = START + 30 * DAY;

fn on(day: u64, id: &'static str, unit: &'static str) -> Request<'static> {
    Request { time: START + day * DAY, ..Request::new(id, unit) }
}

/// The file of the exposures of a day.
fn segment(served: &Served, day: u64) -> PathBuf {
    let folder = served.store.path().join("exposures/experiment=forecast/trial=b2dee587");
    folder.join(format!("2026-11-{}.parquet", 23 + day))
}

#[test]
fn a_damaged_segment_stops_neither_other_days_nor_the_retention() {
    let limits = Limits { retention: Some(2), ..Limits::default() };
    let served = Served::with(&[EXPERIMENT], limits, Access::local());
    served.expose(&[on(0, "a", "u"), on(1, "b", "u")]);
    served.store.upkeep(LATER).unwrap();
    assert_eq!(served.metric("sidetrack_store_upkeep_failing"), 0);
    assert!(segment(&served, 0).exists() && segment(&served, 1).exists());
    std::fs::write(segment(&served, 1), "damaged").unwrap();
    served.expose(&[on(1, "late", "u"), on(3, "c", "u")]);
    let error = served.store.upkeep(LATER).unwrap_err().to_string();
    assert!(error.contains("2026-11-24.parquet"), "{error}");
    assert_eq!(served.metric("sidetrack_store_upkeep_failing"), 1);
    assert!(segment(&served, 3).exists(), "a day after the damaged one");
    assert!(!segment(&served, 0).exists(), "a day that is too old");
}

/// What was forgotten, or is too old, is not there.
#[test]
fn info_counts_what_forget_and_retention_left() {
    let limits = Limits { retention: Some(2), ..Limits::default() };
    let served = Served::with(&[EXPERIMENT], limits, Access::local());
    let plan = sidetrack::config::parse_json(EXPERIMENT.as_bytes()).unwrap();
    let unit = plan.experiments.first().unwrap().exposure.pseudonym(b"user-1");
    let unit: &'static str = unit.leak();
    served.expose(&[on(0, "o", "other"), on(2, "a", unit), on(2, "x", "other"), on(3, "b", unit)]);
    let counted = || served.store.info().unwrap().trials[0].exposures;
    assert_eq!(counted(), 4);
    // The first day is too old; the third is in a segment, and the last one in the database.
    served.store.upkeep(START + 4 * DAY).unwrap();
    assert!(segment(&served, 2).exists() && !segment(&served, 3).exists());
    assert_eq!(counted(), 3);
    assert_eq!(served.store.forget("user-1").unwrap().exposures, 2);
    assert_eq!(counted(), 1);
}

#[test]
fn what_an_interrupted_erasure_left_is_erased_by_the_next_one() {
    let served = Served::new();
    let plan = sidetrack::config::parse_json(EXPERIMENT.as_bytes()).unwrap();
    let unit = plan.experiments.first().unwrap().exposure.pseudonym(b"user-1");
    let unit: &'static str = unit.leak();
    served.expose(&[on(0, "a", unit), on(0, "x", "other"), on(1, "b", unit), on(1, "y", "other")]);
    served.store.upkeep(LATER).unwrap();
    let rows = ["a", "b", "x", "y"].map(|id| format!("{{\"request_id\": \"{id}\", \"hit\": 1}}"));
    served.put("/v1/outcomes", JSON, format!("[{}]", rows.join(",")));
    // The second segment cannot be written.
    let in_the_way = segment(&served, 1).with_extension("writing");
    std::fs::create_dir(&in_the_way).unwrap();
    served.store.forget("user-1").unwrap_err();
    std::fs::remove_dir(&in_the_way).unwrap();
    served.store.forget("user-1").unwrap();
    assert_eq!(served.store.info().unwrap().request_outcomes, 2);
    assert_eq!(served.store.forget("user-1").unwrap().exposures, 0);
}
