//! The step before the first percent: copies of all requests for the candidate, and a comparison of what both predicted.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_lab::{ModelStub, Request};

use crate::subject::{EXPERIMENT, Live, served};

/// What a model would report of its requests: the candidate answers another class to every fifth user.
fn predictions(model: &ModelStub, source: &str) -> String {
    let mut rows = String::new();
    for seen in model.requests() {
        let header = |name: &str| {
            let found = seen.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let (id, user) = (header("x-request-id"), header("x-user-id"));
        let number: u32 = user.trim_start_matches("user-").parse().unwrap();
        let other = source == "mirror" && number.is_multiple_of(5);
        let (class, score) = if other { ("dog", 0.75) } else { ("cat", 0.25) };
        writeln!(
            rows,
            r#"{{"request_id":"{id}","source":"{source}","label":"{class}","score":{score}}}"#
        )
        .unwrap();
    }
    rows
}

#[test]
fn the_mirror_is_compared_before_it_serves_a_user() {
    let shadow = EXPERIMENT.replace("weight: 50", "weight: 0");
    let shadow = shadow + "    mirror: {cluster: new, percent: 100}\n";
    let mut live = Live::start(&shadow, &[]);
    live.until("in_force");
    live.old.record(true);
    live.new.record(true);
    // Each user twice.
    for _ in 0..2 {
        assert_eq!(served(&live.send("/predict", 0..60), "old"), 60);
    }
    // Copies arrive after the answers.
    let end = Instant::now() + Duration::from_secs(30);
    while live.new.count() < 120 {
        assert!(Instant::now() < end, "{} of 120 copies", live.new.count());
        std::thread::sleep(Duration::from_millis(50));
    }
    live.until_stored(120);
    for rows in [predictions(&live.old, "baseline"), predictions(&live.new, "mirror")] {
        let post = Request::post("/v1/predictions", rows);
        let (status, answer) = live.ask(post.header("content-type", "application/x-ndjson"));
        assert_eq!((status, &answer["accepted"]), (200, &120.into()), "{answer}");
    }
    let url = format!("http://{}", live.store());
    let log = ".sidetrack/exposures.jsonl";
    let compare = ["analyze", "shadow", "experiment.yaml", "--exposures", log, "--json", "--store"];
    let of_server = live.folder.sidetrack(&[&compare[..], &[&url]].concat(), "");
    let found: Value = serde_json::from_str(&of_server).unwrap();
    // The log knows the users, whom the predictions do not name.
    for (key, wanted) in [("pairs", 120), ("units", 60)] {
        assert_eq!(found[key], wanted, "{found:#}");
    }
    assert_eq!((&found["by_unit"], &found["missing"]["mirror"]), (&true.into(), &0.into()));
    let (class, score) = (&found["classes"][0], &found["scores"][0]);
    assert_eq!((&class["column"], &class["equal"]), (&"label".into(), &96.into()), "{found:#}");
    assert_eq!(class["changes"][0]["pairs"], 24);
    let difference = score["difference"]["value"].as_f64().unwrap();
    assert!((difference - 0.1).abs() < 1e-12, "{score}");
    // Nothing was changed, and the candidate serves no users yet.
    let file = std::fs::read_to_string(live.folder.path().join("experiment.yaml")).unwrap();
    assert_eq!(file, shadow);
    let folder = live.stop("TERM");
    let store = ".sidetrack/store";
    let of_folder = folder.sidetrack(&[&compare[..], &[store]].concat(), "");
    assert_eq!(serde_json::from_str::<Value>(&of_folder).unwrap(), found);
    folder.left_nothing();
}
