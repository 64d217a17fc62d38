//! Evidence from the folder of a store, and from a server that comes and goes.

use std::io::{BufRead, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack::quantity::Timestamp;

use super::{Test, at_weight, good};
use crate::crowd::START;
use crate::life::DAY;

const LIMIT: Duration = Duration::from_secs(60);

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(test: &Test, arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetrack"));
    command.args(arguments).current_dir(test.folder.path()).env("NO_COLOR", "1");
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn terminate(mut process: Running) -> bool {
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    process.0.wait().unwrap().success()
}

/// A server with the log and the outcomes of the test, and its address.
fn served(test: &Test, listen: &str) -> (Running, String) {
    let serve = ["serve", "--store", "data", "experiment.yaml", "--listen", listen];
    let mut server = start(test, &[&serve[..], &["--follow", "access.log"]].concat());
    let lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
        .unwrap();
    let outcomes = std::fs::read(test.folder.path().join("outcomes.csv")).unwrap();
    ureq::post(format!("{url}/v1/outcomes"))
        .header("content-type", "text/csv")
        .send(&outcomes)
        .unwrap();
    // The log is followed beside it.
    let all = test.life.log.lines().count();
    let end = Instant::now() + LIMIT;
    loop {
        let verdict = ureq::get(format!("{url}/v1/experiments/forecast")).call();
        let verdict = verdict.and_then(|mut answer| answer.body_mut().read_json::<Value>());
        if verdict.as_ref().is_ok_and(|verdict| verdict["lines"]["read"] == all) {
            return (server, url);
        }
        assert!(Instant::now() < end, "{verdict:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_folder_of_a_store_gives_the_evidence_when_no_server_uses_it() {
    let test = good();
    let (server, url) = served(&test, "127.0.0.1:0");
    let (code, by_server, _) = test.text(&["--store", &url, "--dry-run"]);
    assert_eq!(code, 0, "{by_server}");
    let (code, text, error) = test.text(&["--store", "data", "--dry-run"]);
    assert_eq!(code, 2, "{text}{error}");
    assert!(error.contains("a server uses the store data"), "{error}");
    assert!(error.contains("--store http://127.0.0.1:8088"), "{error}");
    assert!(terminate(server));
    let (code, by_folder, error) = test.text(&["--store", "data", "--dry-run"]);
    assert_eq!(code, 0, "{by_folder}{error}");
    assert_eq!(by_folder, by_server);
    assert!(by_folder.contains("Raise to 15 %"), "{by_folder}");
    // Another process can open it again.
    assert_eq!(test.text(&["--store", "data"]).0, 0);
    assert_eq!(test.file(), at_weight("15"));
    for (folder, words) in [("./nothing", "is not a store"), (".", "is not a store")] {
        let (code, text, error) = test.text(&["--store", folder]);
        assert!(code == 2 && error.contains(words), "{text}{error}");
    }
}

#[test]
fn watch_goes_on_while_the_server_of_the_evidence_is_away() {
    let test = good();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, now) = (format!("http://{port}"), Timestamp::new(START + DAY * 2).to_string());
    let advance = ["advance", "experiment.yaml", "--at", &now, "--watch", "--every", "1s"];
    let mut watch = start(&test, &[&advance[..], &["--store", &url]].concat());
    let mut errors = BufReader::new(watch.0.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert!(first.contains("error: ") && first.contains(&url), "{first}");
    let (server, _) = served(&test, &port.to_string());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    // While the log is read, it holds.
    let raised = lines.find(|line| !line.as_ref().unwrap().contains("Hold"));
    let raised = raised.unwrap().unwrap();
    assert!(raised.contains("Raise to 15 %"), "{raised}");
    assert!(terminate(server));
    // A signal ends it in any case.
    assert!(terminate(watch));
    errors.read_to_string(&mut first).unwrap();
    assert_eq!(test.file(), at_weight("15"));
}
