//! The interface as it is described: paths, errors, OFREP, series and log.

use serde_json::{Value, json};

use crate::server::Folder;
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, otlp};
use crate::verdict::{CSV, JSON};

#[test]
fn each_path_of_the_description_exists() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let description = server.read("/openapi.json");
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 10, "{description:#}");
    for (path, methods) in paths {
        let real = path.replace("{name}", NAME).replace("{request_id}", "r-1");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let headers = [("content-type", JSON)];
            let answer = server.send(&method, &real, &headers, b"{}").unwrap();
            let documented = &methods[method.to_lowercase()]["responses"];
            assert!(
                !documented[answer.status.to_string()].is_null(),
                "{method} {path}: {answer:?}"
            );
            assert!(answer.status != 404 && answer.status != 405, "{method} {path}: {answer:?}");
        }
        let other = if methods.get("post").is_some() { "GET" } else { "POST" };
        let answer = server.send(other, &real, &[], b"{}").unwrap();
        assert_eq!(answer.status, 405, "{other} {path}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json", "{answer:?}");
    }
    let answer = server.get("/v1/experiments/none");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.text.contains("expected one of: forecast"), "{answer:?}");
}

#[test]
fn rows_that_cannot_be_read_are_named_and_the_others_stored() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let table =
        "request_id,correct,time\na,1,\nb,1\n,1,\nc,1,yesterday\nd,,\ne,0,2026-11-23T09:00:00Z\n";
    let answer = server.post("/v1/outcomes", CSV, table).json();
    assert_eq!(answer["accepted"], 2, "{answer:#}");
    let rejected: Vec<(u64, &str)> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["line"].as_u64().unwrap(), row["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        rejected,
        [
            (3, "2 fields, but the header has 3"),
            (4, "request_id or unit is missing"),
            (
                5,
                "time is \"yesterday\", but must be a time as in 2026-11-23T09:00:00Z, or since 1970"
            ),
            (6, "the row has no metric"),
        ]
    );
    let lines = "{\"request_id\": \"f\", \"a\": [1]}\nnot JSON\n\n{\"request_id\": 7, \"a\": 1}\n";
    let answer = server.post("/v1/outcomes", "application/x-ndjson", lines).json();
    assert_eq!((&answer["accepted"], answer["rejected"].as_array().unwrap().len()), (&1.into(), 2));
    for (kind, body, status) in
        [(CSV, "id,correct\n", 400), (JSON, "[1", 400), ("application/xml", "<a/>", 415)]
    {
        let answer = server.post("/v1/outcomes", kind, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["status"], status, "{answer:?}");
    }
    let body = r#"{"request_id": "other", "correct": 1}"#;
    assert_eq!(server.post("/v1/outcomes/r-1", JSON, body).status, 400);
}

#[test]
fn records_that_are_no_exposures_are_counted() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let mut lines = Traffic::new(EXPERIMENT, START).lines(5);
    lines[0]["experiment"] = Value::Null;
    lines[1]["experiment"] = "unknown".into();
    lines[2]["status"] = "teapot".into();
    lines[3]["time"] = "noon".into();
    let answer = server.post("/v1/logs", JSON, otlp(&lines)).json();
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], 3, "{answer}");
    let count = |result: &str| {
        server.metric(&format!("sidetrack_store_exposures_total{{result=\"{result}\"}}"))
    };
    assert_eq!(["stored", "outside", "unknown_experiment", "malformed"].map(count), [1, 1, 1, 2]);
    // A line of the log as the body of a record, as a collector reads it from a file.
    let line = Traffic::new(EXPERIMENT, START + 1).lines(1).remove(0).to_string();
    let record = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": line}}]}]}]});
    assert_eq!(server.post("/v1/logs", JSON, record.to_string()).text, "{}");
    assert_eq!(count("stored"), 2);
    let answer = server.post("/v1/logs", "application/x-protobuf", [255, 255]);
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[test]
fn openfeature_gets_the_variant_of_the_proxy() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let mut units = String::new();
    let mut variants = Vec::new();
    for number in 0..60 {
        let unit = format!("user-{number}");
        let body = json!({"context": {"targetingKey": unit, "country": "de"}}).to_string();
        let answer = server.post(&format!("/ofrep/v1/evaluate/flags/{NAME}"), JSON, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let flag = answer.json();
        assert_eq!((&flag["key"], &flag["reason"]), (&NAME.into(), &"SPLIT".into()), "{flag}");
        assert_eq!(flag["value"], flag["variant"], "{flag}");
        variants.push(flag["variant"].as_str().unwrap().to_owned());
        units += &format!("{unit}\n");
    }
    let mut child = folder.command(&["assign", "experiment.json"]);
    let mut child = child
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), units.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let expected: Vec<&str> =
        output.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(variants, expected);
    // Bulk: the same, with a tag, and asked again.
    let body = json!({"context": {"targetingKey": "user-1"}}).to_string();
    let all = "/ofrep/v1/evaluate/flags";
    let bulk = server.post(all, JSON, &body);
    assert_eq!(bulk.json()["flags"][0]["variant"], expected[1], "{bulk:?}");
    let tag = bulk.etag.unwrap();
    let headers = [("content-type", JSON), ("if-none-match", tag.as_str())];
    let again = server.send("POST", all, &headers, body.as_bytes()).unwrap();
    assert_eq!((again.status, again.text.as_str()), (304, ""), "{again:?}");
    // What was asked is no traffic.
    let live = server.read("/v1/experiments")["experiments"][0]["live"].clone();
    assert_eq!(live["requests"], 0, "{live}");
    for (path, body, status, code) in [
        ("/none", body.as_str(), 404, "FLAG_NOT_FOUND"),
        ("/forecast", "{}", 400, "TARGETING_KEY_MISSING"),
        ("/forecast", r#"{"context": {"targetingKey": 5}}"#, 400, "INVALID_CONTEXT"),
        ("/forecast", "no", 400, "PARSE_ERROR"),
    ] {
        let answer = server.post(&format!("{all}{path}"), JSON, body);
        assert_eq!((answer.status, &answer.json()["errorCode"]), (status, &code.into()));
    }
}

#[test]
fn series_and_log_show_weights_and_breakers_over_time() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let mut lines = Traffic::new(EXPERIMENT, START).lines(2000);
    let later = EXPERIMENT.replace("\"weight\": 40", "\"weight\": 60");
    lines.extend(Traffic::new(&later, START + 600_000).lines(2000));
    for line in &mut lines[3000..3500] {
        if line["assigned"] == "fancy" {
            line["served"] = "plain".into();
            let text =
                line["exposure"].as_str().unwrap().replace("reason=hash", "reason=breaker_open");
            line["exposure"] = text.into();
        }
    }
    server.post("/v1/logs", JSON, otlp(&lines));
    let series = server.read(&format!("/v1/experiments/{NAME}/series?every=minute"));
    let bins = series["series"].as_array().unwrap();
    let sum: u64 = bins.iter().map(|bin| bin["requests"].as_u64().unwrap()).sum();
    assert_eq!(sum, 4000, "{series:#}");
    let hours = server.read(&format!("/v1/experiments/{NAME}/series"));
    assert!(hours["series"].as_array().unwrap().len() <= 3, "{hours:#}");
    let log = server.read(&format!("/v1/experiments/{NAME}/log"));
    let steps: Vec<(&str, &Value)> = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["kind"].as_str().unwrap(), &step["weights"]))
        .collect();
    let (before, after) = (json!({"fancy": 40.0}), json!({"fancy": 60.0}));
    let expected =
        [("configuration", &before), ("configuration", &after), ("breaker", &Value::Null)];
    assert_eq!(steps, expected, "{log:#}");
    assert_eq!(log["log"][2]["state"], "open", "{log:#}");
    assert_eq!(server.get(&format!("/v1/experiments/{NAME}/series?every=year")).status, 400);
}
