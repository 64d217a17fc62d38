//! Full disks, damaged files, and a folder that is in use.

use std::path::PathBuf;

use crate::server::Folder;
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, labels, log, otlp};
use crate::verdict::{CSV, JSON, same, verdict};

#[test]
fn a_full_store_says_so_and_keeps_what_it_acknowledged() {
    let folder = Folder::new(EXPERIMENT);
    let lines = Traffic::new(EXPERIMENT, START).lines(8000);
    let server = folder.serve(&["--max-size", "1MiB"]);
    let mut kept = 0;
    let full = lines.chunks(200).find_map(|part| {
        let answer = server.post("/v1/logs", JSON, otlp(part));
        if answer.status == 200 {
            kept += part.len();
            return None;
        }
        Some(answer)
    });
    let full = full.expect("the store never became full");
    assert_eq!((full.status, full.kind.as_str()), (503, "application/problem+json"), "{full:?}");
    assert!(full.retry_after.is_some() && full.text.contains("--max-size"), "{full:?}");
    assert!(kept > 200, "{kept}");
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(server.get("/healthz").status, 200);
    let live = server.read("/v1/experiments")["experiments"][0]["live"].clone();
    assert_eq!(live["requests"], kept, "{live}");
    server.kill();
    // More room: the sender tries again, and nothing is missing.
    let server = folder.serve(&[]);
    for part in lines.chunks(200) {
        assert_eq!(server.post("/v1/logs", JSON, otlp(part)).status, 200);
    }
    server.post("/v1/outcomes", CSV, labels(&lines));
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    same(&verdict(&server), &folder.analysis(&["--outcomes", "labels.csv"]));
}

#[test]
fn two_servers_never_use_one_folder() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let error = folder.try_serve(&[]).err().expect("it starts");
    assert!(error.starts_with("Some(2)") && error.contains("in use by another process"), "{error}");
    let output = folder.run(&["store", "info", "data"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    server.kill();
    // The lock ends with its process.
    folder.serve(&[]).stop();
}

#[test]
fn a_damaged_database_is_named_and_not_replaced() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let lines = Traffic::new(EXPERIMENT, START).lines(500);
    server.post("/v1/logs", JSON, otlp(&lines));
    server.stop();
    let path = folder.path().join("data/store.sqlite");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[..4096].fill(7);
    std::fs::write(&path, &bad).unwrap();
    let error = folder.try_serve(&[]).err().expect("it starts");
    assert!(error.contains("store.sqlite is damaged") && error.contains("hint:"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bad, "it is as it was");
    // A page in the middle.
    let mut bad = good.clone();
    let middle = good.len() / 2 / 4096 * 4096;
    bad[middle..middle + 4096].fill(255);
    std::fs::write(&path, &bad).unwrap();
    let error = folder.try_serve(&[]).err().expect("it starts");
    assert!(error.contains("store.sqlite is damaged"), "{error}");
    std::fs::write(&path, good).unwrap();
    let server = folder.serve(&[]);
    let live = server.read("/v1/experiments")["experiments"][0]["live"].clone();
    assert_eq!(live["requests"], 500, "{live}");
}

#[test]
fn a_damaged_segment_is_named_and_new_records_are_taken() {
    let folder = Folder::new(EXPERIMENT);
    let lines = Traffic::new(EXPERIMENT, START).lines(3000);
    let server = folder.serve(&[]);
    server.post("/v1/logs", JSON, otlp(&lines));
    server.post("/v1/outcomes", CSV, labels(&lines));
    server.stop();
    folder.serve(&[]).stop_when_rolled(&folder);
    let segment = segments(&folder).pop().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 200].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    let server = folder.serve(&[]);
    let answer = server.get(&format!("/v1/experiments/{NAME}"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text.contains(".parquet is damaged"), "{answer:?}");
    let more = Traffic::new(EXPERIMENT, START + 90_000_000).lines(10);
    assert_eq!(server.post("/v1/logs", JSON, otlp(&more)).status, 200);
}

/// The Parquet files of a store.
pub(crate) fn segments(folder: &Folder) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.path().join("data/exposures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
