//! `kill -9` under load: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::server::{Folder, send};
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, log, otlp};
use crate::verdict::{JSON, same};

/// How often the server is killed; `SIDETRACK_RUNS` sets another number.
fn kills() -> u32 {
    std::env::var("SIDETRACK_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(6)
}

#[test]
fn killed_under_load_it_loses_nothing_and_counts_nothing_twice() {
    let folder = Folder::new(EXPERIMENT);
    let lines = Traffic::new(EXPERIMENT, START).lines(120_000);
    let batches: Vec<&[Value]> = lines.chunks(100).collect();
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let url = Mutex::new(String::new());
    let acknowledged = Mutex::new(BTreeSet::new());
    let outcomes = Mutex::new(BTreeSet::new());
    let (retries, doubled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = batches.get(number) else { return };
                    let body = otlp(batch);
                    let id = batch[0]["request_id"].as_str().unwrap();
                    // As a sender does that must lose nothing: again, until it is acknowledged.
                    while !done.load(Ordering::Relaxed) {
                        let url = url.lock().unwrap().clone();
                        let kind = [("content-type", JSON)];
                        let sent = send(&format!("{url}/v1/logs"), "POST", &kind, body.as_bytes());
                        if sent.is_ok_and(|answer| answer.status == 200) {
                            acknowledged.lock().unwrap().insert(number);
                            if number.is_multiple_of(5) {
                                // A repeat, which an unreliable network makes of its own.
                                send(&format!("{url}/v1/logs"), "POST", &kind, body.as_bytes())
                                    .ok();
                                doubled.fetch_add(1, Ordering::Relaxed);
                            }
                            let one = format!("{url}/v1/outcomes/{id}");
                            let sent = send(&one, "POST", &kind, br#"{"correct": 1}"#);
                            if sent.is_ok_and(|answer| answer.status == 200) {
                                outcomes.lock().unwrap().insert(id.to_owned());
                            }
                            break;
                        }
                        retries.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
        for _ in 0..kills() {
            let server = folder.serve(&[]);
            url.lock().unwrap().clone_from(&server.url);
            std::thread::sleep(Duration::from_millis(700));
            server.kill();
        }
        done.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let outcomes = outcomes.into_inner().unwrap();
    println!(
        "{} batches acknowledged, {} sent twice, {} retries, {} outcomes",
        acknowledged.len(),
        doubled.into_inner(),
        retries.into_inner(),
        outcomes.len()
    );
    assert!(acknowledged.len() > 20, "the load was no load");
    let server = folder.serve(&[]);
    // Batches that were committed but not acknowledged may be there as well: send them again, as their senders would.
    let tried = next.into_inner().min(batches.len());
    let sent: Vec<Value> = batches[..tried].concat();
    let stored =
        server.read("/v1/experiments")["experiments"][0]["live"]["requests"].as_u64().unwrap();
    assert!(stored >= acknowledged.len() as u64 * 100, "{stored} of {}", acknowledged.len() * 100);
    for part in sent.chunks(5000) {
        assert_eq!(server.post("/v1/logs", JSON, otlp(part)).status, 200);
    }
    let all = server.read("/v1/experiments")["experiments"][0]["live"]["requests"].clone();
    assert_eq!(all, sent.len(), "each request once");
    folder.write("access.log", log(&sent));
    let table: String = outcomes.iter().map(|id| format!("{id},1\n")).collect();
    folder.write("labels.csv", format!("request_id,correct\n{table}"));
    let expected = folder.analysis(&["--outcomes", "labels.csv"]);
    let verdict = server.read(&format!("/v1/experiments/{NAME}"));
    assert_eq!(verdict["lines"]["used"], sent.len(), "{verdict:#}");
    assert!(verdict["outcomes"]["matched"].as_u64() >= expected["outcomes"]["matched"].as_u64());
    same(&verdict["variants"], &expected["variants"]);
    same(&verdict["srm"]["p_value"], &expected["srm"]["p_value"]);
}
