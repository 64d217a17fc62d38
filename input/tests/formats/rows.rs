//! The same rows in each format.

use serde_json::{Value, json};

use crate::written::{
    Says, csv, framed, gzip, lines, otlp_json, otlp_proto, parquet, requests, zstd,
};
use crate::{Folder, analysis, story};

#[test]
fn each_format_gives_the_same_analysis() {
    let rows = story();
    let folder = Folder::new();
    let wanted = folder.analysis(lines(&rows)).unwrap();
    // The story has what its formats must keep.
    let counts = &wanted["lines"];
    assert_eq!((&counts["read"], &counts["malformed"]), (&json!(1660), &json!(48 + 3)));
    assert_eq!(counts["excluded"]["repeated"], 60 - 7);
    assert_eq!(counts["excluded"]["other_trial"], 17);
    let by_line = otlp_json(&requests(&rows, 9, Says::Line)).join(&b'\n');
    let attributes = requests(&rows, 100, Says::Attributes);
    let each: Vec<Vec<u8>> = otlp_proto(&attributes).iter().map(|message| zstd(message)).collect();
    for (format, content) in [
        ("gzip", gzip(&lines(&rows))),
        ("zstd", zstd(&lines(&rows))),
        ("zstd in two frames", {
            let (one, two) = rows.split_at(700);
            [zstd(&lines(one)), zstd(&lines(two))].concat()
        }),
        ("CSV", csv(&rows, ',')),
        ("CSV, zstd", zstd(&csv(&rows, ','))),
        ("CSV with tabs", csv(&rows, '\t')),
        ("CSV, joined with its header", [csv(&rows[..400], ','), csv(&rows[400..], ',')].concat()),
        ("Parquet", parquet(&rows, 5000)),
        ("Parquet in groups", parquet(&rows, 130)),
        ("Parquet, gzip", gzip(&parquet(&rows, 130))),
        ("OTLP JSON", otlp_json(&attributes).join(&b'\n')),
        ("OTLP JSON with lines", by_line.clone()),
        ("OTLP JSON with bodies", otlp_json(&requests(&rows, 9, Says::Body)).join(&b'\n')),
        ("OTLP JSON, gzip", gzip(&by_line)),
        ("OTLP JSON in frames", framed(&otlp_json(&attributes))),
        ("OTLP proto", framed(&otlp_proto(&attributes))),
        ("OTLP proto with lines", framed(&otlp_proto(&requests(&rows, 7, Says::Line)))),
        ("OTLP proto, gzip", gzip(&framed(&otlp_proto(&attributes)))),
        ("OTLP proto, each zstd", framed(&each)),
    ] {
        let found = folder.analysis(content).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(found.to_string(), wanted.to_string(), "{format}");
    }
}

#[test]
fn files_of_several_formats_are_one_log() {
    let rows = story();
    let folder = Folder::new();
    let wanted = folder.analysis(lines(&rows)).unwrap();
    let parts: Vec<_> = rows.chunks(415).collect();
    folder.write("logs/a.zst", zstd(&lines(parts[0])));
    folder.write("logs/deep/b.parquet", parquet(parts[1], 100));
    folder.write("logs/c.csv", csv(parts[2], ';'));
    let otlp = framed(&otlp_proto(&requests(parts[3], 50, Says::Attributes)));
    folder.write("logs/d", otlp);
    // By name: a, c, d of the folder, then b.
    let found = analysis(&[folder.path("logs/**/*")], &[]).unwrap();
    let sums = |found: &Value| (found["lines"].clone(), found["variants"].clone());
    let counts = |found: &Value| (found["lines"]["read"].clone(), found["variants"].clone());
    assert_eq!(counts(&found), counts(&wanted));
    assert_eq!(sums(&found).1, sums(&wanted).1);
    let none = analysis(&[folder.path("logs/*.json")], &[]).unwrap_err();
    assert!(none.ends_with("*.json: no file matches the pattern"), "{none}");
}

#[test]
fn a_folder_of_parquet_has_fields_in_its_names() {
    let rows = story();
    let folder = Folder::new();
    let wanted = folder.analysis(lines(&rows)).unwrap();
    let mut bare = rows;
    for (at, part) in [("day=1", 0..800), ("day=2", 800..1660)] {
        let rows = &mut bare[part];
        for row in rows.iter_mut() {
            row.remove("weights");
        }
        folder.write(&format!("data/weights=fancy=500000/{at}/x.parquet"), "");
        std::fs::remove_dir_all(folder.path("data/weights=fancy=500000")).unwrap();
        let weights = "weights=fancy=500000%2F500000";
        folder.write(&format!("data/{weights}/{at}/part-0.parquet"), parquet(rows, 500));
    }
    folder.write("data/_SUCCESS", "");
    let found = analysis(&[folder.path("data")], &[]).unwrap();
    assert_eq!(found.to_string(), wanted.to_string());
}

#[test]
fn outcomes_are_the_same_in_each_format() {
    let rows = story();
    let folder = Folder::new();
    let log = folder.write("access.log", lines(&rows));
    let outcomes: Vec<crate::Row> = (0..1600_u64)
        .map(|request| {
            let row = json!({
                "request_id": format!("request, \"{request}\""),
                "time": format!("2026-11-23T11:00:{:02}Z", request % 60),
                "correct": if request % 50 == 0 { Value::Null } else { json!(request % 2) },
                "note": format!("n{request}"),
            });
            let Value::Object(row) = row else { panic!("no object") };
            row
        })
        .collect();
    let read = |content: Vec<u8>| {
        let file = folder.write("outcomes", content);
        analysis(std::slice::from_ref(&log), &[file]).unwrap().to_string()
    };
    let wanted = read(lines(&outcomes));
    assert!(wanted.contains("\"matched\":1488"), "{wanted}");
    for (format, content) in [
        ("CSV, zstd", zstd(&csv(&outcomes, ','))),
        ("JSON lines, gzip", gzip(&lines(&outcomes))),
        ("an array, zstd", zstd(&serde_json::to_vec(&outcomes).unwrap())),
        ("Parquet", parquet(&outcomes, 300)),
        ("Parquet, zstd", zstd(&parquet(&outcomes, 300))),
    ] {
        assert_eq!(read(content), wanted, "{format}");
    }
}
