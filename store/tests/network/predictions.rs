//! Predictions of the baseline and the mirror: taken like outcomes, paired by request, and given back.

use serde_json::{Value, json};
use sidetrack_store::{Access, Limits};

use crate::served::{CSV, EXPERIMENT, JSON, LINES, Request, START, Served};

const PATH: &str = "/v1/predictions";
const COMPARED: &str = "/v1/experiments/forecast/predictions";
const DAY: u64 = 86_400_000;

#[test]
fn rows_arrive_in_three_formats_and_repeats_change_nothing() {
    let served = Served::new();
    let one = r#"[{"request_id": "a", "source": "baseline", "score": 0.5, "unit": "user-1"},
        {"request_id": "a", "source": "mirror", "score": 0.75, "label": "cat"}]"#;
    assert_eq!(served.put(PATH, JSON, one)["accepted"], 2);
    let lines = "{\"request_id\": \"b\", \"source\": \"baseline\", \"score\": 1}\n\n\
        {\"request_id\": \"b\", \"source\": \"mirror\", \"score\": 1.0}\n";
    assert_eq!(served.put(PATH, LINES, lines)["accepted"], 2);
    let table = "request_id,source,score,time\nc,baseline,2,2026-11-23T09:00:00Z\nd,mirror,3,\n";
    assert_eq!(served.put(PATH, CSV, table)["accepted"], 2);
    let path = format!("{PATH}/e");
    assert_eq!(served.put(&path, JSON, r#"{"source": "mirror", "score": 4}"#)["accepted"], 1);

    for (path, kind, body) in [(PATH, JSON, one), (PATH, LINES, lines), (PATH, CSV, table)] {
        let again = served.put(path, kind, body);
        assert_eq!((&again["unchanged"], &again["replaced_values"]), (&2.into(), &0.into()));
    }
    let other = served.put(&path, JSON, r#"{"source": "mirror", "score": 5}"#);
    assert_eq!((&other["unchanged"], &other["replaced_values"]), (&0.into(), &1.into()));
    // The same request has a row of each source.
    let base = served.put(&path, JSON, r#"{"source": "baseline", "score": 4}"#);
    assert_eq!((&base["unchanged"], &base["replaced_values"]), (&0.into(), &0.into()));

    let totals = ["total", "unchanged_total", "replaced_total", "rejected_total"]
        .map(|name| served.metric(&format!("sidetrack_store_predictions_{name}")));
    assert_eq!(totals, [15, 6, 1, 0]);
    assert_eq!(served.metric("sidetrack_store_outcomes_total"), 0);
    assert_eq!(served.store.info().unwrap().predictions, 8);
    // They are no outcomes, and no metric of them was replaced.
    assert_eq!(served.store.info().unwrap().request_outcomes, 0);
    assert_eq!(served.store.info().unwrap().metrics, [""; 0]);
    assert!(served.store.live("forecast").unwrap().replaced.is_empty());
    // A unit in plain text is nowhere in the folder.
    let folder = served.stop();
    let database = std::fs::read(folder.path().join("store.sqlite")).unwrap();
    assert!(!database.windows(6).any(|bytes| bytes == b"user-1"));
}

#[test]
fn rows_without_a_request_or_a_source_are_rejected() {
    let served = Served::new();
    let rows = r#"[{"source": "mirror", "score": 1}, {"unit": "u", "source": "mirror", "score": 1},
        {"request_id": "a", "score": 1}, {"request_id": "a", "source": "fancy", "score": 1},
        {"request_id": "a", "source": "mirror"}, {"request_id": "a", "source": "mirror", "score": [1]}]"#;
    let answer = served.put(PATH, JSON, rows);
    let messages: Vec<&str> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "request_id is missing",
            "request_id is missing",
            "source is missing, but must be baseline or mirror",
            "source is \"fancy\", but must be baseline or mirror",
            "the row has no value",
            "score is [1], but must be a number, text, true or false",
        ]
    );
    assert_eq!(answer["accepted"], 0);
    let header = served.post(PATH, CSV, "request_id,score\na,1\n");
    assert_eq!(header.status, 400, "{header:?}");
    assert!(header.text.contains("not both request_id and source: request_id,score"), "{header:?}");
    assert_eq!(served.post(PATH, "text/plain", "a").status, 415);
    let other =
        served.post(&format!("{PATH}/a"), JSON, r#"{"request_id": "b", "source": "mirror"}"#);
    assert_eq!(other.status, 400, "{other:?}");
    // A message does not grow with the value that it quotes.
    let long = json!([{"request_id": "a", "source": "mirror", "score": vec![1; 10_000]}]);
    assert!(served.put(PATH, JSON, long.to_string()).to_string().len() < 1000);
}

#[test]
fn the_names_of_values_are_limited_apart_from_those_of_outcomes() {
    let limits = Limits { max_metrics: 2, ..Limits::default() };
    let served = Served::with(&[EXPERIMENT], limits, Access::local());
    assert_eq!(
        served.put("/v1/outcomes", JSON, r#"{"request_id": "a", "m": 1, "n": 1}"#)["accepted"],
        1
    );
    let row = r#"{"request_id": "a", "source": "mirror", "one": 1, "two": 2}"#;
    assert_eq!(served.put(PATH, JSON, row)["accepted"], 1);
    let row = r#"{"request_id": "a", "source": "mirror", "three": 1}"#;
    let answer = served.put(PATH, JSON, row);
    let message = answer["rejected"][0]["message"].as_str().unwrap();
    assert!(message.contains("more than 2 different values; --max-metrics"), "{message}");
    // Names are known after a restart.
    let folder = served.stop();
    let served = Served::on(folder, &[EXPERIMENT], limits, Access::local());
    assert_eq!(served.put(PATH, JSON, row)["accepted"], 0);
}

#[test]
fn rows_that_are_refused_leave_no_names() {
    let limits = Limits { max_metrics: 2, ..Limits::default() };
    let access = Access { max_rate: Some(1), ..Access::local() };
    let served = Served::with(&[EXPERIMENT], limits, access);
    let row = |name: &str| format!(r#"{{"request_id": "a", "source": "mirror", "{name}": 1}}"#);
    let of_one = format!("[{}]", [row("one"), row("one"), row("one"), row("one")].join(","));
    assert_eq!(served.put(PATH, JSON, of_one)["accepted"], 4);
    assert_eq!(served.post(PATH, JSON, row("refused")).status, 429);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let answer = loop {
        let answer = served.post(PATH, JSON, row("two"));
        if answer.status != 429 || std::time::Instant::now() > until {
            break answer.json();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(answer["accepted"], 1, "{answer}");
}

/// Four requests: two pairs, one of the baseline, one of the mirror.
const ROWS: &str = r#"[
    {"request_id": "a", "source": "baseline", "score": 0.5, "label": "cat", "only": 1},
    {"request_id": "a", "source": "mirror", "score": 0.75, "label": "cat", "time": "2026-11-23T09:00:00Z"},
    {"request_id": "b", "source": "baseline", "score": 1, "label": "dog"},
    {"request_id": "b", "source": "mirror", "score": 0.5, "label": "cat"},
    {"request_id": "c", "source": "baseline", "score": 1},
    {"request_id": "d, \"e\"", "source": "mirror", "score": true}]"#;

#[test]
fn the_mirror_is_compared_with_the_baseline_by_request() {
    let served = Served::new();
    served.put(PATH, JSON, ROWS);
    let found = served.read(COMPARED);
    let expected = json!({
        "experiment": "forecast",
        "paired": 2, "baseline_only": 1, "mirror_only": 1,
        "values": {
            "label": {"pairs": 2, "equal": 1, "agreement": 0.5},
            "score": {"pairs": 2, "equal": 0, "agreement": 0.0, "difference":
                {"pairs": 2, "mean": -0.125, "mean_absolute": 0.375, "largest_absolute": 0.5}},
        },
    });
    assert_eq!(found, expected, "{found:#}");
    assert_eq!(served.get("/v1/experiments/none/predictions").status, 404);
    assert_eq!(served.get("/v1/experiments/none/predictions?format=csv").status, 404);
    assert_eq!(served.get(&format!("{COMPARED}?format=xml")).status, 400);
}

#[test]
fn a_verdict_takes_predictions_of_the_baseline_and_their_labels() {
    let plan = r#""analysis": {"model": {"label": "fraud", "score": "score"}, "metrics": ["brier"]},
        "unit""#;
    let file = EXPERIMENT.replacen("\"unit\"", plan, 1);
    let other = EXPERIMENT.replace("forecast", "ranking");
    let served = Served::with(&[&file, &other], Limits::default(), Access::local());
    // A request that only another experiment took.
    served.expose(&[Request { experiment: "ranking", ..Request::new("z", "z") }]);
    served.put(PATH, JSON, r#"{"request_id": "z", "source": "baseline", "score": 0.5}"#);
    let ids: Vec<String> = (0..20).map(|number| format!("r{number}")).collect();
    let requests: Vec<Request<'_>> = ids.iter().map(|id| Request::new(id, id)).collect();
    served.expose(&requests);
    for (number, id) in ids.iter().enumerate() {
        // The mirror is wrong, and other values of a prediction are no metrics.
        let row = |source: &str, score: f64| {
            format!(
                r#"{{"request_id": "{id}", "source": "{source}", "score": {score}, "tokens": 7}}"#
            )
        };
        served.put(PATH, JSON, row("baseline", 0.75));
        served.put(PATH, JSON, row("mirror", 0.0));
        if number >= 5 {
            let label = format!(r#"{{"request_id": "{id}", "fraud": {}}}"#, number % 2 == 0);
            served.put("/v1/outcomes", JSON, label);
        }
    }
    let found = served.read("/v1/experiments/forecast");
    let model = &found["model"];
    assert_eq!((&model["predictions"], &model["labels"]), (&20.into(), &15.into()), "{found:#}");
    assert_eq!(model["completed"], 15);
    let fancy = &model["variants"][1];
    // Seven of fifteen labels are positive.
    assert_eq!((&fancy["labeled"], &fancy["positives"]), (&15.into(), &7.into()));
    assert!((fancy["bias"].as_f64().unwrap() - (0.75 - 7.0 / 15.0)).abs() < 1e-9, "{fancy:#}");
    let names: Vec<&str> = found["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"brier") && !names.contains(&"tokens"), "{names:?}");
}

#[test]
fn requests_of_another_experiment_are_left_out() {
    let other = EXPERIMENT.replace("forecast", "ranking").replace("x-user-id", "x-other");
    let served = Served::with(&[EXPERIMENT, &other], Limits::default(), Access::local());
    served.expose(&[
        Request::new("a", "u-1"),
        Request { experiment: "ranking", ..Request::new("b", "u") },
    ]);
    served.put(PATH, JSON, ROWS);
    let found = served.read(COMPARED);
    let counts =
        ["paired", "baseline_only", "mirror_only"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1], "{found:#}");
    let rows = served.get(&format!("{COMPARED}?format=ndjson")).text;
    assert!(rows.contains("\"a\"") && !rows.contains("\"b\""), "{rows}");
}

#[test]
fn exported_rows_can_be_sent_to_another_store() {
    let served = Served::new();
    // More than the store reads at once.
    let many: Vec<Value> = (0..12_000)
        .map(|number| json!({"request_id": format!("r-{number}"), "source": "baseline", "score": number}))
        .collect();
    served.put(PATH, JSON, Value::from(many).to_string());
    served.put(PATH, JSON, ROWS);
    let expected = served.read(COMPARED);
    for (format, kind) in [("ndjson", LINES), ("csv", CSV)] {
        let export = served.get(&format!("{COMPARED}?format={format}"));
        assert_eq!((export.status, export.kind.as_str()), (200, kind), "{export:?}");
        let copy = Served::new();
        let answer = copy.put(PATH, kind, &export.text);
        assert_eq!((&answer["accepted"], &answer["rejected_rows"]), (&12_006.into(), &0.into()));
        assert_eq!(copy.read(COMPARED), expected, "{format}");
        assert_eq!(copy.get(&format!("{COMPARED}?format={format}")).text, export.text);
    }
}

#[test]
fn accepted_rows_are_there_after_a_restart_and_in_a_store_of_an_earlier_version() {
    let served = Served::new();
    served.put("/v1/outcomes", JSON, r#"{"request_id": "a", "accuracy": 1}"#);
    let folder = served.stop();
    // The tables as they were before there were predictions.
    let database = rusqlite::Connection::open(folder.path().join("store.sqlite")).unwrap();
    let script = "DROP TABLE prediction_baseline; DROP TABLE prediction_mirror;
        DROP TABLE prediction_value; DROP TABLE breaker; DROP TABLE replaced_outcome; PRAGMA user_version = 1;";
    database.execute_batch(script).unwrap();
    drop(database);
    let served = Served::on(folder, &[EXPERIMENT], Limits::default(), Access::local());
    assert_eq!(served.put(PATH, JSON, ROWS)["accepted"], 6);
    let folder = served.stop();
    let served = Served::on(folder, &[EXPERIMENT], Limits::default(), Access::local());
    assert_eq!(served.read(COMPARED)["paired"], 2);
    assert_eq!(served.store.info().unwrap().request_outcomes, 1);
}

#[test]
fn a_forgotten_unit_takes_its_predictions_with_it() {
    let served = Served::new();
    let sidetrack::plan::Plan { experiments, .. } =
        sidetrack::config::parse_json(EXPERIMENT.as_bytes()).unwrap();
    let digest = |unit: &str| experiments.first().unwrap().exposure.pseudonym(unit.as_bytes());
    let (one, other) = (digest("user-1"), digest("user-2"));
    served.expose(&[Request::new("a", &one), Request::new("b", &other)]);
    served.put(PATH, JSON, ROWS);
    let gone = served.store.forget("user-1").unwrap();
    assert_eq!((gone.exposures, gone.predictions), (1, 2));
    let rows = served.get(&format!("{COMPARED}?format=ndjson")).text;
    assert!(!rows.contains("\"a\"") && rows.contains("\"b\""), "{rows}");
    // Also in the log of the database and in its free pages.
    let folder = served.stop();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(4).any(|text| text == b"0.75"), "{}", path.display());
    }
}

#[test]
fn retention_deletes_predictions_by_their_arrival() {
    let limits = Limits { retention: Some(5), ..Limits::default() };
    let served = Served::with(&[EXPERIMENT], limits, Access::local());
    served.put(PATH, JSON, ROWS);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    // Days count from the newest exposure, so one of later days must be there.
    for (days, left) in [(5, 6), (6, 0)] {
        let time = now + days * DAY;
        let id = format!("later-{days}");
        served.expose(&[Request { time, ..Request::new(&id, "u") }]);
        served.store.upkeep(time).unwrap();
        assert_eq!(served.store.info().unwrap().predictions, left, "after {days} days");
    }
    assert!(START < now, "the clock of this machine is wrong");
}

#[test]
fn a_body_of_several_compressed_parts_is_read_to_its_end() {
    let served = Served::new();
    let part = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let lines = |from: usize| -> String {
        let line = |number| {
            format!("{{\"request_id\": \"r-{number}\", \"source\": \"mirror\", \"x\": 1}}\n")
        };
        (from..from + 5000).map(line).collect()
    };
    let body = [part(&lines(0)), part(&lines(5000))].concat();
    let headers = [("content-type", LINES), ("content-encoding", "gzip")];
    let answer = served.send("POST", PATH, &headers, &body);
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &10_000.into()), "{answer:?}");
    let cut = served.send("POST", PATH, &headers, &body[..body.len() - 20]);
    assert_eq!(cut.status, 400, "{cut:?}");
    assert!(cut.text.contains("not valid gzip"), "{cut:?}");
}

#[test]
fn exports_that_nobody_reads_are_few() {
    use std::io::{Read as _, Write as _};
    let served = Served::new();
    // More than the buffers of a connection.
    let names: String = (0..60).map(|number| format!(",value_of_some_model_{number}")).collect();
    let values = ",0.123456789".repeat(60);
    let rows: String = (0..10_000).map(|row| format!("r-{row},baseline{values}\n")).collect();
    served.put(PATH, CSV, format!("request_id,source{names}\n{rows}"));
    let address = served.url.strip_prefix("http://").unwrap();
    let unread: Vec<std::net::TcpStream> = (0..4)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let path = format!("{COMPARED}?format=ndjson");
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut first = [0; 1];
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    let answer = served.get(&format!("{COMPARED}?format=ndjson"));
    assert_eq!(answer.status, 503, "{} {}", answer.status, answer.text.len());
    assert_eq!(served.read(COMPARED)["baseline_only"], 10_000);
    drop(unread);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while served.get(&format!("{COMPARED}?format=csv")).status != 200 {
        assert!(std::time::Instant::now() < end, "the exports run on");
    }
}
