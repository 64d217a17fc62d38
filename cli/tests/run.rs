//! `sidetrack run` as a process, with a real Envoy in front of two services.

#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

#[path = "run/addresses.rs"]
mod addresses;
#[path = "run/evidence.rs"]
mod evidence;
#[path = "run/mirror.rs"]
mod mirror;
#[path = "run/restarts.rs"]
mod restarts;
mod running;
#[path = "run/subject.rs"]
mod subject;

use std::process::{Command, Stdio};

use running::{Running, shell, wasm};
use sidetrack_lab::Behavior;
use subject::{EXPERIMENT, Folder, Live, served};

/// The whole life: start, requests, a good edit, a wrong one, another path, a dead Envoy, the end.
#[test]
fn it_serves_follows_the_file_and_survives_envoy() {
    let mut live = Live::start(EXPERIMENT, &[]);
    let started = live.until("started");
    let url = started["url"].as_str().unwrap().to_owned();
    assert!(
        live.until("in_force")["text"].as_str().unwrap().contains("experiment.yaml is in force: ")
    );

    let split = live.send("/predict", 0..200);
    let (old, new) = (served(&split, "old"), served(&split, "new"));
    assert!(old + new == 200 && (60..=140).contains(&new), "{split:?}");
    assert_eq!((live.old.count(), live.new.count()), (old, new), "each model got its own requests");
    let predicted = live.folder.sidetrack(&["assign", "experiment.yaml"], &live.users(0..200));
    let predicted = predicted.lines().filter(|line| line.ends_with(",new,")).count();
    assert_eq!(predicted as u64, new, "`assign` predicts the same");

    // A good edit moves only the units that it must.
    live.folder.write(&EXPERIMENT.replace("weight: 50", "weight: 100"));
    let event = live.until("in_force");
    assert!(event["text"].as_str().unwrap().ends_with("; old → new 50 %"), "{event}");
    assert_eq!(served(&live.send("/predict", 0..20), "new"), 20);

    // `status` asks the same Envoy.
    let admin = live.admin();
    let text = live.folder.sidetrack(&["status", "experiment.yaml", "--admin", &admin], "");
    assert!(text.contains("is in force in 1 of 1 proxies") && text.contains("100 %"), "{text}");

    // A wrong one changes nothing.
    live.folder.write(&EXPERIMENT.replace("weight: 50", "weight: 500"));
    let event = live.until("rejected");
    let text = event["text"].as_str().unwrap();
    assert!(text.contains("does not take effect") && text.contains("500"), "{event}");
    assert_eq!(served(&live.send("/predict", 0..20), "new"), 20);
    let state = live.until("state");
    assert!(state["problem"].as_str().unwrap().contains("500"), "{state}");

    // The edit is taken back: the file that is in force all the time is on disk again.
    live.folder.write(&EXPERIMENT.replace("weight: 50", "weight: 100"));
    live.until("in_force");
    assert_eq!(live.until("state")["problem"], serde_json::Value::Null);

    // A cluster without an address is a wrong edit as well.
    live.folder.write(&EXPERIMENT.replace("cluster: new", "cluster: newer"));
    assert!(
        live.until("rejected")["text"].as_str().unwrap().contains("--endpoint newer=HOST:PORT")
    );

    // An edit of the routes takes effect without a restart: without clusters, each variant has a route.
    let tagged = EXPERIMENT.replace("prefix: /predict", "prefix: /v3");
    live.folder.write(&tagged.replace(", cluster: old", "").replace(", cluster: new", ""));
    live.until("in_force");
    live.eventually("/v3/x", |answers| served(answers, "new") + served(answers, "old") == 20);
    assert_eq!(served(&live.send("/predict", 0..5), "new"), 0, "the path is no longer in the test");

    // Envoy dies, and runs again at the same address.
    let pid = live.envoy().to_string();
    shell(&format!("kill -9 {pid}"));
    assert!(live.until("stopped")["text"].as_str().unwrap().contains("restarts in 1 s"));
    live.until("restarted");
    live.eventually("/v3/x", |answers| answers.iter().all(|got| got.status == 200));
    assert_eq!(live.url(), url);

    // Counts go on across the restart.
    let state = live.state(|state| state["experiments"][0]["requests"].as_u64() >= Some(260));
    assert_eq!(state["experiments"][0]["variants"][0]["name"], "old");

    let folder = live.stop("TERM");
    let lines = folder.exposures();
    assert!(lines.iter().filter(|line| line["served"] == "new").count() >= 40, "{lines:?}");
    assert!(lines.iter().all(|line| line.get("exposure").is_some()), "{:?}", lines.first());
    folder.left_nothing();
}

#[test]
fn a_failing_service_opens_its_breaker_and_is_reported() {
    let mut live = Live::start(EXPERIMENT, &[]);
    live.until("in_force");
    live.new.set(Behavior::Status(503));
    live.send("/predict", 0..100);
    let event = live.until("breaker");
    assert!(event["text"].as_str().unwrap().contains("the breaker of new is open"), "{event}");
    let state = live.state(|state| state["experiments"][0]["variants"][1]["breaker"] == "open");
    assert!(state["experiments"][0]["variants"][1]["errors"].as_u64() >= Some(3), "{state}");
    live.send("/predict", 0..100);
    let state = live
        .state(|state| state["experiments"][0]["variants"][1]["fallbacks"].as_u64() >= Some(20));
    // The assignment is still what the file says.
    let share = state["experiments"][0]["variants"][1]["share"].as_f64().unwrap();
    assert!((35.0..65.0).contains(&share), "{state}");
    // The store has it from the proxy itself.
    live.until_store("open", |all| {
        let live = &all["experiments"][0]["live"];
        live["breakers_from"] == "exact" && live["breakers"]["new"] == "open"
    });
    live.stop("INT").left_nothing();
}

#[test]
fn a_service_that_does_not_run_is_named_and_may_start_later() {
    let folder = Folder::new(EXPERIMENT);
    // Bound, so that no other process gets the port, and not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap();
    let mut live = Live::start_in(folder, &[], Some(port));
    let event = live.until("endpoint");
    let text = event["text"].as_str().unwrap();
    assert!(text.contains(&format!("new does not accept connections at {port}: ")), "{event}");
    live.until("in_force");
    let answers = live.send("/predict", 0..40);
    assert!(answers.iter().any(|got| got.status == 503), "{answers:?}");
    assert!(live.until("endpoint")["text"].as_str().unwrap().contains("new does not accept"));
    live.stop("TERM").left_nothing();
}

#[test]
fn what_is_wrong_at_the_start_is_said_at_once() {
    let folder = Folder::new(EXPERIMENT);
    let both = ["--endpoint", "old=127.0.0.1:1", "--endpoint", "new=127.0.0.1:2"];
    let with = |more: &[&'static str]| [&["run", "experiment.yaml"], more].concat();
    let mut wasm_missing = with(&both);
    wasm_missing.extend(["--wasm", "no/such.wasm"]);
    for (arguments, code, words) in [
        (
            with(&both[..2]),
            2,
            "these clusters have no address: new\n  hint: add --endpoint new=HOST:PORT",
        ),
        (
            with(&[&both[..], &["--endpoint", "x=127.0.0.1:3"]].concat()),
            2,
            "unknown cluster \"x\"; expected one of: old, new",
        ),
        (
            with(&["--endpoint", "old=ftp://x", "--endpoint", "new=127.0.0.1:2"]),
            2,
            "unknown scheme \"ftp\"",
        ),
        (vec!["run", "-", "--endpoint", "old=127.0.0.1:1"], 2, "cannot read stdin"),
        (vec!["run", "missing.yaml"], 2, "cannot read missing.yaml"),
        (vec!["run", "wrong.yaml"], 1, "weight"),
        (
            with(&[&both[..], &["--envoy", "/no/envoy"]].concat()),
            2,
            "--envoy is /no/envoy, which is not a file",
        ),
        (wasm_missing, 2, "no/such.wasm: cannot be read"),
        (
            with(&[&both[..], &["--dir", "experiment.yaml"]].concat()),
            2,
            "--dir: cannot write to experiment.yaml",
        ),
    ] {
        std::fs::write(folder.path().join("wrong.yaml"), EXPERIMENT.replace("50", "500")).unwrap();
        let (found, text) = folder.ended(&arguments);
        assert_eq!(found, code, "{arguments:?}\n{text}");
        assert!(text.contains(words), "{arguments:?}: no {words:?} in\n{text}");
    }
}

#[test]
fn a_folder_has_one_run() {
    let mut live = Live::start(EXPERIMENT, &[]);
    live.until("in_force");
    let (code, text) = live.folder.ended(&[
        "run",
        "experiment.yaml",
        "--endpoint",
        "old=127.0.0.1:1",
        "--endpoint",
        "new=127.0.0.1:2",
    ]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("another `sidetrack run` uses the folder"), "{text}");
    live.stop("INT").left_nothing();
}

/// In a pipe: events, and a line per interval; no escapes.
#[test]
fn in_a_pipe_it_writes_lines() {
    let folder = Folder::new(EXPERIMENT);
    let mut live = Live::start_text(folder, &["--interval", "250ms"]);
    live.read_until("is in force");
    live.read_until(" requests, ");
    let text = live.finish("INT");
    for words in [
        "send to    http://127.0.0.1:",
        "curl -i ",
        "experiment.yaml is in force",
        "ab: ",
        "old – of 50 %",
        " page       http://127.0.0.1:",
        "/v1/outcomes",
        "-H 'content-type: text/csv' --data-binary @outcomes.csv",
        "sidetrack serve --store .sidetrack/store experiment.yaml",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
}

/// In a pseudo terminal of util-linux's `script`, which passes the Ctrl-C to all processes, as a terminal does.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_it_draws_frames_and_restores_the_terminal() {
    use std::io::Write as _;
    let folder = Folder::new(EXPERIMENT);
    let line = format!(
        "exec {} run experiment.yaml --endpoint old=127.0.0.1:1 --endpoint new=127.0.0.1:2 --port 0 \
         --admin 127.0.0.1:0 --wasm {}",
        env!("CARGO_BIN_EXE_sidetrack"),
        wasm().display()
    );
    let mut script = Command::new("script");
    script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm").current_dir(folder.path());
    let mut child = Running::start(script.stdin(Stdio::piped()));
    let mut text = child.read_until("is in force");
    let (begin, end) = ("\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l");
    assert!(text.contains(begin) && !text.contains(end), "{text:?}");
    assert!(text.contains("requests") && text.contains("breaker"), "{text:?}");
    child.stdin().write_all(b"\x03").unwrap();
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    let (_, after) = text.rsplit_once(end).expect("the terminal is restored");
    assert!(after.contains("Envoy has stopped") && !after.contains(begin), "{after}");
}
