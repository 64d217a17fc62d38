//! Days that are over: segments, late records, retention, and units that are forgotten.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::damage::segments;
use crate::server::{Folder, Server};
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, labels, log, otlp};
use crate::verdict::{CSV, JSON, same, verdict};

impl Server {
    /// Stops it when all days that are over are in segments.
    pub(crate) fn stop_when_rolled(self, folder: &Folder) {
        let end = Instant::now() + Duration::from_secs(30);
        while segments(folder).is_empty() {
            assert!(Instant::now() < end, "no segment: {}", folder.errors());
            std::thread::sleep(Duration::from_millis(50));
        }
        // The database follows its segments.
        std::thread::sleep(Duration::from_millis(300));
        self.stop();
    }
}

fn info(folder: &Folder) -> Value {
    let output = folder.run(&["store", "info", "data", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn days_become_segments_that_the_verdict_reads_and_late_records_join_them() {
    let folder = Folder::new(EXPERIMENT);
    // Around a midnight, so of two days.
    let lines = Traffic::new(EXPERIMENT, START + 14 * 3_600_000).lines(20_000);
    let (early, late) = lines.split_at(17_000);
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    let expected = folder.analysis(&["--outcomes", "labels.csv"]);
    let server = folder.serve(&[]);
    for part in early.chunks(1000) {
        assert_eq!(server.post("/v1/logs", JSON, otlp(part)).status, 200);
    }
    server.post("/v1/outcomes", CSV, labels(&lines));
    server.stop();
    folder.serve(&[]).stop_when_rolled(&folder);
    let found = segments(&folder);
    assert!(!found.is_empty(), "no segments");
    let trial = expected["trial"].as_str().unwrap();
    let path = format!("experiment={NAME}/trial={trial}/2026-11-23.parquet");
    assert!(found[0].ends_with(&path), "{found:?}");
    // Late ones, and a whole batch that was stored and rolled already.
    let server = folder.serve(&[]);
    for part in late.chunks(1000).chain([&early[..2000]]) {
        assert_eq!(server.post("/v1/logs", JSON, otlp(part)).status, 200);
    }
    same(&verdict(&server), &expected);
    assert_eq!(server.metric("sidetrack_store_exposures_total{result=\"repeated\"}"), 2000);
    server.stop();
    // The next upkeep puts late records into their segments, and repeats nowhere.
    let server = folder.serve(&[]);
    std::thread::sleep(Duration::from_secs(2));
    same(&verdict(&server), &expected);
    server.stop();
    let rows = info(&folder);
    assert_eq!(rows["segments"], 2, "{rows}");
    assert!(rows["segment_bytes"].as_u64() > Some(100_000), "{rows}");
}

#[test]
fn a_forgotten_unit_is_gone_from_the_database_and_from_segments() {
    let folder = Folder::new(EXPERIMENT);
    let lines = Traffic::new(EXPERIMENT, START).lines(3000);
    let server = folder.serve(&[]);
    server.post("/v1/logs", JSON, otlp(&lines));
    server.stop();
    folder.serve(&[]).stop_when_rolled(&folder);
    // Of today, so in the database.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = Traffic::new(EXPERIMENT, u64::try_from(now.as_millis()).unwrap()).lines(1000);
    let server = folder.serve(&[]);
    server.post("/v1/logs", JSON, otlp(&today));
    server.post("/v1/outcomes", CSV, labels(&[&lines[..], &today].concat()));
    let row = json!({"unit": "user-5", "revenue": 3, "time": "2026-11-23T10:00:00Z"});
    assert_eq!(server.post("/v1/outcomes", JSON, row.to_string()).status, 200);
    server.stop();
    let output = folder.run(&["store", "forget", "data", "user-5", "--json"]);
    let gone: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    // Each user has every 997th request.
    let count = |lines: &[Value]| (0..lines.len()).filter(|number| number % 997 == 5).count();
    let requests = count(&lines) + count(&today);
    assert_eq!(
        gone,
        json!({"exposures": requests, "outcomes": requests + 1, "predictions": 0}),
        "{output:?}"
    );
    let others = lines.len() + today.len() - requests;
    let server = folder.serve(&[]);
    let mine = verdict(&server);
    assert_eq!(mine["lines"]["used"], others, "{mine:#}");
    assert_eq!(mine["outcomes"]["rows"], others, "{mine:#}");
    server.stop();
    let again = folder.run(&["store", "forget", "data", "user-5"]);
    let text = String::from_utf8(again.stdout).unwrap();
    assert_eq!(text, "deleted: 0 exposures, 0 rows of outcomes\n");
}

#[test]
fn old_days_end_with_the_retention_and_a_clock_that_jumps_deletes_nothing() {
    let folder = Folder::new(EXPERIMENT);
    let old = Traffic::new(EXPERIMENT, START).lines(500);
    let server = folder.serve(&[]);
    server.post("/v1/logs", JSON, otlp(&old));
    server.stop();
    folder.serve(&[]).stop_when_rolled(&folder);
    // The newest exposure is from that day, so it is recent, whatever the clock says.
    let server = folder.serve(&["--retention", "3"]);
    std::thread::sleep(Duration::from_secs(2));
    server.stop();
    assert_eq!(segments(&folder).len(), 1, "deleted by the clock");
    let server = folder.serve(&[]);
    let new = Traffic::new(EXPERIMENT, START + 5 * 86_400_000).lines(500);
    server.post("/v1/logs", JSON, otlp(&new));
    server.stop();
    let server = folder.serve(&["--retention", "3"]);
    let path = format!("/v1/experiments/{NAME}/series?every=day");
    let left = server.until(&path, |series| {
        series["series"]
            .as_array()
            .is_some_and(|bins| bins.iter().all(|bin| bin["from"] != "2026-11-23T00:00:00Z"))
    });
    assert!(!left["series"].as_array().unwrap().is_empty(), "{left}");
    let verdict = server.read("/v1/experiments")["experiments"][0]["live"].clone();
    assert_eq!(verdict["requests"], 500, "{verdict}");
}
