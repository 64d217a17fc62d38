//! The query of `analyze sql` in real engines: the same counts, the same figures to 1e-9 and the same decision as
//! `analyze run` on the same data.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Folder;

/// How far a figure may differ, relative to it or to one.
const TOLERANCE: f64 = 1e-9;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str) -> PathBuf {
    root().join("tests/engines").join(name)
}

/// A Python with the engines, or with Spark.
fn python(tools: &str) -> Command {
    let python = root().join(".tools").join(tools).join("bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh {tools}", python.display());
    let mut command = Command::new(python);
    command.arg("-B");
    command
}

fn printed(output: &Output) -> &[u8] {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    &output.stdout
}

/// A folder with a story: a log, outcomes by request and by unit, and the experiment.
fn story(options: &[&str]) -> Folder {
    let folder = Folder::new();
    let output = Command::new(root().join(".tools/py/bin/python"))
        .arg("-B")
        .arg(script("story.py"))
        .arg(folder.path())
        .args(options)
        .output()
        .unwrap();
    printed(&output);
    folder
}

/// What is asked of the data, by all ways; options are words with spaces in between.
#[derive(Clone, Copy)]
struct Question {
    outcomes: &'static str,
    /// The table of the outcomes, as the query reads it.
    table: &'static str,
    /// What only the query is asked, as it knows no files.
    sql: &'static str,
    /// What only `analyze run` is asked.
    run: &'static str,
    /// Which sums are made.
    data: &'static str,
    /// What is asked of them.
    asked: &'static str,
}

/// Metrics of requests.
const LABELS: Question = Question {
    outcomes: "labels.csv",
    table: "outcomes",
    sql: "--by request_id --column correct --column score",
    run: "",
    data: "",
    asked: "--metric accuracy --guardrail score=ratio:increase:0.5",
};

/// The same with a table that has a field for each part of the exposure.
const TYPED: Question =
    Question { sql: "--by request_id --column correct --column score --typed", ..LABELS };

/// Metrics of units.
const SALES: Question = Question {
    outcomes: "sales.csv",
    sql: "--by unit --column revenue --binary bought",
    asked: "--metric revenue=mean",
    ..LABELS
};

/// A window, a cap, and a part of the time.
const WINDOW: Question = Question {
    data: "--attribution 1d --cap revenue=99% --since 2026-11-23T12:00:00Z",
    asked: "--metric revenue=mean --guardrail bought=proportion:increase:5%",
    ..SALES
};

/// Several tables, as a subquery.
const TABLES: Question = Question {
    table: "(SELECT unit, time, revenue, bought FROM outcomes WHERE revenue > 5\nUNION ALL \
            SELECT unit, time, revenue, bought FROM outcomes WHERE NOT revenue > 5) AS both_tables",
    ..SALES
};

/// Segments of both tables, and a ratio of two columns of requests.
const TOPICS: Question = Question {
    outcomes: "topics.csv",
    sql: "--by request_id --column correct --column score --column clicks --column views \
          --segment country --outcome-segment topic",
    run: "--segment country --segment topic",
    asked: "--metric clicks/views --guardrail score=ratio:increase:0.5",
    ..LABELS
};

/// A covariate, a segment of units, and a ratio of two of their columns.
const SPEND: Question = Question {
    outcomes: "spend.csv",
    sql: "--by unit --column revenue --column items --binary bought --segment country \
          --outcome-segment tier",
    run: "--segment country --segment tier",
    asked: "--metric revenue=mean --guardrail revenue/items:increase:50% --covariate past",
    ..LABELS
};

/// The same with a window and a cap: a row from before the experiment is not of it.
const SPENT: Question = Question { data: WINDOW.data, ..SPEND };

/// Stories, by their options, and what is asked of them.
const STORIES: [(&[&str], &[Question]); 3] = [
    (&[], &[LABELS, TYPED, SALES, WINDOW, TABLES, TOPICS, SPEND, SPENT]),
    (&["--rollout"], &[TOPICS, SPENT]),
    (&["--plain"], &[LABELS, SPEND]),
];

impl Question {
    fn is_typed(&self) -> bool {
        self.sql.contains("--typed")
    }

    fn direct(&self, folder: &Folder) -> Value {
        let mut arguments = vec!["analyze", "run", "experiment.json", "--exposures", "access.log"];
        arguments.extend(["--json", "--outcomes", self.outcomes]);
        arguments.extend([self.data, self.asked, self.run].into_iter().flat_map(words));
        let output = folder.run(&arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn query(&self, folder: &Folder, dialect: &str) -> PathBuf {
        let mut arguments = vec!["analyze", "sql", "experiment.json", "--dialect", dialect];
        arguments.extend(["--exposures", "exposures", "--outcomes", self.table]);
        for options in [self.sql, self.data, self.asked] {
            arguments.extend(words(options));
        }
        let output = folder.run(&arguments);
        folder.write(&format!("{dialect}.sql"), printed(&output))
    }

    /// The verdict from the table that an engine makes.
    fn by(&self, folder: &Folder, dialect: &str, engine: &mut Command) -> Value {
        let query = self.query(folder, dialect);
        let log = if self.is_typed() { "typed.log" } else { "access.log" };
        let (log, outcomes) = (folder.path().join(log), folder.path().join(self.outcomes));
        let output =
            engine.arg(script("engines.py")).arg(dialect).arg(query).arg(log).arg(outcomes);
        folder.write("sums.csv", printed(&output.output().unwrap()));
        let mut arguments = vec!["analyze", "summary", "experiment.json", "--json"];
        arguments.extend(["--from", "sums.csv"].into_iter().chain(words(self.asked)));
        let output = folder.run(&arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

fn words(options: &str) -> impl Iterator<Item = &str> {
    options.split_whitespace()
}

/// Asserts that both are the same: figures to [`TOLERANCE`], everything else exactly. Returns the largest difference.
fn same(place: &str, direct: &Value, other: &Value) -> f64 {
    match (direct, other) {
        (Value::Object(one), Value::Object(two)) => {
            assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>(), "{place}");
            let each =
                one.iter().map(|(key, value)| same(&format!("{place}.{key}"), value, &two[key]));
            each.fold(0.0, f64::max)
        }
        (Value::Array(one), Value::Array(two)) => {
            assert_eq!(one.len(), two.len(), "{place}: {direct} and {other}");
            let each = one.iter().zip(two).enumerate();
            each.map(|(at, (one, two))| same(&format!("{place}[{at}]"), one, two))
                .fold(0.0, f64::max)
        }
        (Value::Number(one), Value::Number(two)) if one.is_f64() && two.is_f64() => {
            let (one, two) = (one.as_f64().unwrap(), two.as_f64().unwrap());
            let difference = (one - two).abs() / one.abs().max(1.0);
            assert!(difference <= TOLERANCE, "{place}: {one} and {two}");
            difference
        }
        _ => {
            assert_eq!(direct, other, "{place}");
            0.0
        }
    }
}

/// Both without the checks that a table does not carry, which are returned.
fn comparable(direct: &mut Value, other: &mut Value) -> Vec<String> {
    let checks = other["checks"].as_array().unwrap();
    let not_checked: Vec<String> = checks
        .iter()
        .filter(|check| check["state"] == "not_checked")
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    for value in [direct, other] {
        let checks = value["checks"].as_array_mut().unwrap();
        checks.retain(|check| !not_checked.iter().any(|name| check["name"] == name.as_str()));
        let reasons = value["reasons"].as_array_mut().unwrap();
        reasons.retain(|reason| !reason.as_str().unwrap().starts_with("Not checked: "));
    }
    not_checked
}

/// Asks all questions of an engine.
fn agrees(dialect: &str, engine: &dyn Fn() -> Command) {
    for (options, questions) in STORIES {
        let folder = story(options);
        for question in questions {
            let mut direct = question.direct(&folder);
            assert!(direct["daily"].as_array().is_some_and(|daily| !daily.is_empty()));
            let segments = direct["segments"].as_array().map_or(0, Vec::len);
            assert_eq!(segments, words(question.run).count() / 2, "{}", direct["segments"]);
            let mut other = question.by(&folder, dialect, &mut engine());
            let not_checked = comparable(&mut direct, &mut other);
            let by_unit = ["damaged_lines", "unmatched_rows", "repeated_rows"];
            let by_unit =
                if question.sql.contains("--by unit") { &by_unit[..] } else { &by_unit[..1] };
            let is_known = |name: &String| by_unit.contains(&name.as_str());
            assert!(not_checked.iter().all(is_known), "{not_checked:?}");
            assert_eq!(not_checked.len(), by_unit.len(), "{not_checked:?}");
            let worst = same("", &direct, &other);
            println!("{dialect} {options:?}, {}: largest difference {worst:e}", question.outcomes);
        }
    }
}

#[test]
fn duckdb_gives_the_same_verdict() {
    agrees("duckdb", &|| python("engines"));
}

#[test]
fn clickhouse_gives_the_same_verdict() {
    agrees("clickhouse", &|| python("engines"));
}

/// On two executors, which are processes of their own.
#[test]
#[ignore = "takes minutes; scripts/test-long.sh spark runs it"]
fn spark_gives_the_same_verdict_on_two_executors() {
    agrees("spark", &|| {
        let mut command = python("spark");
        // Small data: hundreds of tasks for each step would be most of the work.
        let submit = "--master local-cluster[2,1,1024] --conf spark.sql.shuffle.partitions=4 \
                      --conf spark.ui.enabled=false pyspark-shell";
        command.env("PYSPARK_SUBMIT_ARGS", submit).env("SPARK_LOCAL_IP", "127.0.0.1");
        command
    });
}

#[test]
fn postgres_gives_the_same_verdict() {
    let server = Postgres::start();
    agrees("postgres", &|| {
        let mut command = python("engines");
        command.env("PGHOST", server.folder.path());
        command
    });
}

#[test]
fn every_dialect_is_parsed() {
    for (options, questions) in STORIES {
        let folder = story(options);
        let mut parse = python("engines");
        parse.arg(script("engines.py")).arg("parse");
        for dialect in ["duckdb", "postgres", "clickhouse", "spark", "bigquery", "snowflake"] {
            for (number, question) in questions.iter().enumerate() {
                let query = std::fs::read(question.query(&folder, dialect)).unwrap();
                parse.arg(dialect).arg(folder.write(&format!("{dialect}-{number}.sql"), query));
            }
        }
        printed(&parse.output().unwrap());
    }
}

#[test]
fn a_table_with_the_name_of_a_step_is_refused() {
    let folder = story(&[]);
    let query = |table: &str| {
        let fixed = ["analyze", "sql", "experiment.json", "--dialect", "duckdb", "--by"];
        let arguments = [&fixed[..], &["request_id", "--column", "correct", "--outcomes", table]];
        folder.text(&arguments.concat())
    };
    let (code, _, errors) = query("Labels");
    assert!(code != 0 && errors.contains("main.Labels"), "{code} {errors}");
    assert_eq!(query("main.labels").0, 0);
    // A table with several lines is one line of a comment.
    let (code, text, errors) = query("(SELECT request_id,\ncorrect FROM other) AS outcomes");
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("(SELECT request_id, correct FROM other) AS outcomes"), "{text}");
}

/// A PostgreSQL server of its own, without a network.
struct Postgres {
    folder: tempfile::TempDir,
    server: Child,
}

impl Postgres {
    fn start() -> Self {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        let programs = versions.pop().expect("PostgreSQL is missing: run scripts/setup.sh engines");
        // The server refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let command = |program: &str| {
            let program = programs.join(program);
            if !is_root {
                return Command::new(program);
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
            command
        };
        if is_root {
            chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
        }
        let data = folder.path().join("data");
        let mut made = command("initdb");
        made.arg("-D").arg(&data).args(["-A", "trust", "-U", "story"]);
        printed(&made.current_dir(folder.path()).output().unwrap());
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "jit=off"]);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        server.current_dir(folder.path()).stderr(log);
        let server = Self { server: server.spawn().unwrap(), folder };
        let begun = Instant::now();
        while !command("pg_isready")
            .arg("-h")
            .arg(server.folder.path())
            .output()
            .unwrap()
            .status
            .success()
        {
            let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(60), "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
