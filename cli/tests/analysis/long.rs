//! Ten million lines, when asked for: `SIDETRACK_LONG=1 cargo test --release -p sidetrack-cli --test analysis long -- --ignored`.

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
