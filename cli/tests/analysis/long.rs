//! Ten million lines, and a million rows of outcomes with faults, when asked for:
//! `SIDETRACK_LONG=1 cargo test --release -p sidetrack-cli --test analysis long -- --ignored --nocapture`.

use std::io::{BufWriter, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Folder;
use crate::crowd::{BASELINE, Crowd, experiment};
use crate::truth::SIMPLE;

#[test]
#[ignore = "writes 4 GB and takes minutes; SIDETRACK_LONG=1 says how many times ten million lines"]
fn ten_million_lines_in_half_a_minute_and_a_gigabyte() {
    let times: u64 = std::env::var("SIDETRACK_LONG").expect("SIDETRACK_LONG").parse().unwrap();
    let folder = Folder::new();
    folder.write("experiment.json", SIMPLE);
    let mut log = BufWriter::new(std::fs::File::create(folder.path().join("access.log")).unwrap());
    let mut lines = 0;
    let mut seed = 0;
    while lines < times * 10_000_000 {
        let written = Crowd { seed, ..Crowd::new(20_000, vec![BASELINE, BASELINE]) }
            .write(&experiment(SIMPLE), false);
        log.write_all(written.log.as_bytes()).unwrap();
        lines += written.lines;
        seed += 1;
    }
    log.into_inner().unwrap();
    let begun = Instant::now();
    let output = Command::new("/usr/bin/time")
        .args([
            "-f",
            "%M",
            env!("CARGO_BIN_EXE_sidetrack"),
            "analyze",
            "run",
            "experiment.json",
            "--json",
            "--exposures",
            "access.log",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let took = begun.elapsed();
    let kilobytes: u64 = String::from_utf8(output.stderr).unwrap().trim().parse().unwrap();
    let analysis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{lines} lines, {took:?}, {} MiB, {:#}", kilobytes / 1024, analysis["variants"]);
    assert_eq!(analysis["lines"]["used"], lines);
    assert!(kilobytes < (1 << 20) * times, "{kilobytes} kB");
    assert!(took < Duration::from_secs(30) * u32::try_from(times).unwrap(), "{took:?}");
}

/// A hundredth of the rows has each of these faults.
const FAULTS: [&str; 10] = [
    "NULL",
    "\"1 304,00\"",
    "2026-03-02",
    "yes",
    "1,304",
    "\"7",
    "inf",
    "MISSING",
    "MONDAY",
    "STRANGER",
];

#[test]
#[ignore = "writes 200 MB; SIDETRACK_LONG asks for it"]
fn a_million_rows_with_faults_are_read_in_seconds() {
    let _: u64 = std::env::var("SIDETRACK_LONG").expect("SIDETRACK_LONG").parse().unwrap();
    let folder = Folder::new();
    folder.write("experiment.json", SIMPLE);
    let truths = vec![BASELINE, BASELINE];
    let crowd = Crowd { requests: 0.3, ..Crowd::new(500_000, truths) };
    folder.write("access.log", crowd.write(&experiment(SIMPLE), false).log);
    let mut rows = BufWriter::new(std::fs::File::create(folder.path().join("rows.csv")).unwrap());
    writeln!(rows, "unit,time,revenue").unwrap();
    for row in 0..1_000_000 {
        let unit = format!("user-7-{}", row % 500_000);
        let time = "2026-11-24T09:00:00Z";
        let revenue = row % 7 * 3;
        match FAULTS.get(row / 2 % 100).copied() {
            None => writeln!(rows, "{unit},{time},{revenue}"),
            Some("MISSING") => writeln!(rows, "{unit},{time}"),
            Some("MONDAY") => writeln!(rows, "{unit},Monday,{revenue}"),
            Some("STRANGER") => writeln!(rows, "stranger-{row},{time},{revenue}"),
            Some(value) => writeln!(rows, "{unit},{time},{value}"),
        }
        .unwrap();
    }
    rows.into_inner().unwrap();
    let begun = Instant::now();
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", env!("CARGO_BIN_EXE_sidetrack"), "analyze", "run", "experiment.json"])
        .args(["--exposures", "access.log", "--outcomes", "rows.csv"])
        .env("NO_COLOR", "1")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let took = begun.elapsed();
    let text = String::from_utf8(output.stdout).unwrap();
    let memory = String::from_utf8(output.stderr).unwrap();
    println!("{took:?}, {} kB\n{text}", memory.trim());
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("No decision: these data cannot be trusted"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Of each ten hundredths: six values, three rows, and one unknown unit.
    assert!(words.contains("revenue cannot be read in"), "{words}");
    assert!(words.contains("40000 of 1000000 outcome rows (4.00 %) cannot be read"), "{words}");
    assert!(words.contains("10000 outcome rows have no match in the logs"), "{words}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
