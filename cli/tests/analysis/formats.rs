//! Formats that every command reads, as files and as the standard input.

use std::path::Path;
use std::process::Command;

use super::Folder;
use super::shadow::folder;

/// Python with DuckDB, which writes what data scientists have.
fn written(folder: &Folder, statement: &str) {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/engines/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh engines", python.display());
    let output = Command::new(python)
        .args(["-B", "-c", "import duckdb, sys; duckdb.sql(sys.argv[1])", statement])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The files of a table, in each format, and how DuckDB writes it.
const FORMATS: [(&str, &str); 5] = [
    ("rows.csv", "FORMAT csv"),
    ("rows.csv.gz", "FORMAT csv, COMPRESSION gzip"),
    ("rows.parquet", "FORMAT parquet"),
    ("rows.ndjson", "FORMAT json"),
    ("rows.ndjson.zst", "FORMAT json, COMPRESSION zstd"),
];

/// Without the names of files, which differ.
fn output(folder: &Folder, arguments: &[&str], stdin: Option<&str>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
    command.args(arguments).arg("--json").current_dir(folder.path());
    if let Some(file) = stdin {
        command.stdin(std::fs::File::open(folder.path().join(file)).unwrap());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

/// Without pages of JSON where they differ.
fn same<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T, what: &str) {
    let texts = [found, wanted].map(|value| format!("{value:?}").replace("\\n", "\n"));
    let mut lines = texts[0].lines().zip(texts[1].lines());
    let first = lines.find(|(found, wanted)| found != wanted);
    assert!(found == wanted, "{what}: {first:?}");
}

#[test]
fn predictions_are_read_from_any_format() {
    let folder = folder();
    let shadow = |file| ["analyze", "shadow", "experiment.json", "--predictions", file];
    let drift = |file| ["analyze", "drift", "experiment.json", "--by", "source", "--values", file];
    let read =
        |file, stdin| (output(&folder, &shadow(file), stdin), output(&folder, &drift(file), stdin));
    let wanted = read("predictions.ndjson", None);
    assert!(wanted.0.1.contains("\"equal\": 360"), "{}", wanted.0.1);
    for (file, options) in FORMATS {
        written(&folder, &format!("COPY (FROM 'predictions.ndjson') TO '{file}' ({options})"));
        same(&read(file, None), &wanted, file);
        same(&read("-", Some(file)), &wanted, &format!("{file} by stdin"));
    }
    // In the order of their names, as one table.
    written(
        &folder,
        "COPY (FROM 'predictions.ndjson' LIMIT 300) TO 'part-1.parquet'; \
         COPY (FROM 'predictions.ndjson' OFFSET 300) TO 'part-2.parquet'",
    );
    same(&read("part-*.parquet", None), &wanted, "of several files");
    let (code, text) = output(&folder, &shadow("none-*.parquet"), None);
    assert!(code == 1 && text.contains("--predictions none-*.parquet: no file matches"), "{text}");
}

#[test]
fn a_table_of_sums_is_read_from_any_format() {
    let folder = super::usable::small();
    let run = ["analyze", "run", "experiment.json", "--exposures", "access.log"];
    let wanted = output(&folder, &[&run[..], &["--summary-out", "sums.csv"]].concat(), None);
    assert!(wanted.1.contains("\"decision\""), "{}", wanted.1);
    let summary = |file| ["analyze", "summary", "experiment.json", "--from", file];
    for (file, options) in FORMATS {
        let rows = "FROM read_csv('sums.csv', all_varchar = true)";
        written(&folder, &format!("COPY ({rows}) TO '{file}' ({options})"));
        same(&output(&folder, &summary(file), None), &wanted, file);
        same(&output(&folder, &summary("-"), Some(file)), &wanted, &format!("{file} by stdin"));
    }
}

#[test]
fn exposures_and_outcomes_are_read_from_the_standard_input_in_any_format() {
    let folder = super::usable::small();
    let run = |log, outcomes, stdin| {
        let run = ["analyze", "run", "experiment.json", "--exposures", log, "--outcomes", outcomes];
        output(&folder, &run, stdin)
    };
    let wanted = run("access.log", "outcomes.csv", None);
    assert!(wanted.1.contains("\"matched\""), "{}", wanted.1);
    for (file, options) in FORMATS {
        let log = "FROM read_json('access.log', convert_strings_to_integers = false, \
                   map_inference_threshold = -1, dateformat = 'none', timestampformat = 'none')";
        written(&folder, &format!("COPY ({log}) TO '{file}' ({options})"));
        same(&run("-", "outcomes.csv", Some(file)), &wanted, &format!("{file} as exposures"));
        let outcomes = "FROM read_csv('outcomes.csv', all_varchar = true)";
        written(&folder, &format!("COPY ({outcomes}) TO '{file}' ({options})"));
        same(&run("access.log", "-", Some(file)), &wanted, &format!("{file} as outcomes"));
    }
    // Decimals of Spark and of warehouses, which may be negative.
    let amounts = |number| {
        let query = "SELECT * REPLACE (revenue::DOUBLE - 2 AS revenue) FROM 'outcomes.csv'";
        let rows = format!("SELECT * REPLACE (revenue::{number} AS revenue) FROM ({query})");
        written(&folder, &format!("COPY ({rows}) TO 'amounts.parquet' (FORMAT parquet)"));
        run("access.log", "amounts.parquet", None)
    };
    let wanted = amounts("DECIMAL(38, 6)::DOUBLE");
    assert!(wanted.0 == 0 && wanted.1.contains("\"name\": \"revenue\""), "{}", wanted.1);
    for number in ["DECIMAL(38, 6)", "DECIMAL(18, 6)", "DECIMAL(9, 6)"] {
        same(&amounts(number), &wanted, number);
    }
}
