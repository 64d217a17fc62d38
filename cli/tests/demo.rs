//! `sidetrack demo` as a process: its output, its exit status, its ports, and that it leaves nothing behind.

mod running;
#[path = "demo/subject.rs"]
mod subject;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use running::{Running, shell, wasm};
use subject::{Demo, Sabotaged, port_of_demo};

/// Without a terminal it ends by itself.
#[test]
fn a_split_passes_its_checks_and_ends() {
    let demo = Demo::new();
    let (status, text) =
        demo.run(&["--scenario", "split", "--for", "1s", "--rate", "300", "--workers", "1"]);
    assert!(status.success(), "{text}");
    for line in [
        "✓ answered",
        "✓ sticky",
        "✓ split",
        "✓ predicted",
        "✓ counted",
        "All checks passed: ",
        "With --keep",
        "Envoy and the models have stopped",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.contains("x-ab-bucket: 21263"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('✗'), "{text}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    demo.left_nothing();
}

#[test]
fn a_signal_ends_it_with_the_checks_so_far() {
    for signal in ["INT", "TERM"] {
        let demo = Demo::new();
        let mut child = demo.start(&["--for", "30s"]);
        let mut text = child.read_until(" requests ");
        child.signal(signal);
        let status = child.finish(&mut text);
        assert!(status.success(), "{signal}: {status}\n{text}");
        let passed = text.contains("All checks passed (interrupted)");
        assert!(text.contains("✓ counted") && passed, "{text}");
        demo.left_nothing();
    }
}

#[test]
fn kept_up_it_answers_the_commands_that_it_prints() {
    let demo = Demo::new();
    let mut child = demo.start(&["--scenario", "split", "--for", "1s", "--keep"]);
    let mut text = child.read_until("until you press Ctrl-C");
    let commands: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("curl ") || line.starts_with("tail "))
        .collect();
    let answers: Vec<String> = commands.iter().map(|command| shell(command)).collect();
    let expected = [
        "\"model_version\":\"2.0.0\"",
        "x-ab-variant: enhanced-predictor",
        "x-ab-reason: hash",
        "ab_test_requests_total{",
        "\"served\":\"",
    ];
    assert_eq!(answers.len(), expected.len(), "{text}");
    for ((command, answer), expected) in commands.iter().zip(&answers).zip(expected) {
        assert!(answer.contains(expected), "{command}\nno {expected:?} in\n{answer}\n{text}");
    }
    child.signal("INT");
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    demo.left_nothing();
}

/// In a pseudo terminal of util-linux's `script`, which passes the Ctrl-C to all processes, as a terminal does.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_it_draws_frames_and_restores_the_terminal() {
    let demo = Demo::new();
    // `exec`: a shell in between would report the signal instead of the demo's status.
    let line = format!(
        "exec {} demo --for 30s --no-keep --port 0 --admin 127.0.0.1:0 --wasm {}",
        env!("CARGO_BIN_EXE_sidetrack"),
        wasm().display()
    );
    let mut script = Command::new("script");
    script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm").env("TMPDIR", demo.path());
    let mut child = Running::start(script.stdin(Stdio::piped()));
    let mut text = child.read_until(" counted ");
    let (begin, end) = ("\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l");
    assert!(text.contains(begin) && !text.contains(end), "{text:?}");
    child.stdin().write_all(b"\x03").unwrap();
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    let (_, after) = text.rsplit_once(end).expect("the terminal is restored");
    assert!(after.contains("All checks passed") && !after.contains(begin), "{after}");
    demo.left_nothing();
}

/// An Envoy with a weight of 90 % instead of 30 %.
#[test]
fn a_wrong_split_fails() {
    let demo = Demo::new();
    let envoy = Sabotaged::new(r#"s/"weight": 30/"weight": 90/; s/"reserve": 50/"reserve": 90/"#);
    let (status, text) =
        demo.run(&["--scenario", "split", "--for", "1s", "--no-keep", "--envoy", envoy.path()]);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!text.contains("With --keep"), "{text}");
    for line in [
        "✗ split",
        "✗ predicted",
        "✓ sticky",
        "✓ counted",
        "2 of 5 checks failed",
        "First problem: user ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    demo.left_nothing();
}

/// At three times the default rate, the half-open stages take a third of the time.
#[test]
fn a_failing_model_is_isolated_and_recovers() {
    let demo = Demo::new();
    let mut child = demo.start(&["--scenario", "outage", "--rate", "1500", "--keep"]);
    let mut text = child.read_until("until you press Ctrl-C");
    for line in [
        "✓ answered",
        "✓ isolated",
        "✓ breaker   1 trip: open, 5 %, 25 %, 100 %, closed",
        "✓ fallback",
        "✓ recovered",
        "✓ counted",
        "failures seen by clients         0",
        "All checks passed: ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    // The breaker's log, from the trip to the recovery.
    let (_, log) = text.split_once("Envoy's log of financial-ab-test/").expect("the log is shown");
    let log: Vec<&str> = log.lines().skip(1).take(5).collect();
    let words = ["opens", "half-open: 5 ", "half-open: 25 ", "half-open: 100 ", "closed"];
    for (line, word) in log.iter().zip(words) {
        assert!(line.contains(word), "no {word:?} in {line:?}\n{text}");
    }
    // The commands: the model fails, its breaker opens, the baseline serves its user.
    let with = |word: &str| {
        text.lines().find(|line| line.starts_with("curl ") && line.contains(word)).unwrap()
    };
    let [state, fail, heal] = ["breaker_state", "status=503", "status=200"].map(with);
    assert!(shell(state).trim_end().ends_with(" 0"), "{text}");
    assert!(shell(fail).contains(r#""answers":503"#), "{text}");
    let opened = (0..50).any(|_| shell(&format!("sleep 0.1; {state}")).trim_end().ends_with(" 2"));
    assert!(opened, "{text}");
    let user = shell(with("4711' -H 'x-ab-debug"));
    assert!(
        user.contains("x-ab-assigned: enhanced") && user.contains("x-ab-breaker: open"),
        "{user}"
    );
    assert!(shell(heal).contains(r#""answers":200"#), "{text}");
    child.signal("INT");
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    demo.left_nothing();
}

#[test]
fn a_breaker_that_does_not_open_fails() {
    let demo = Demo::new();
    let envoy = Sabotaged::new(r#"s/"open_for": "4s"/"open_for": "4s", "mode": "disabled"/"#);
    let (status, text) = demo.run(&["--scenario", "outage", "--envoy", envoy.path()]);
    assert_eq!(status.code(), Some(1), "{text}");
    for line in [
        "✓ answered",
        "✗ isolated",
        "✗ breaker   0 trips",
        "✓ fallback",
        "✗ recovered the breaker did not close",
        "✓ counted",
        "3 of 6 checks failed",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    demo.left_nothing();
}

/// The default is port 10000; if it is in use, the next free one; and all printed commands use the real one. One test for
/// all cases, since they need the same ports.
#[test]
fn the_port_is_10000_or_the_next_free_one_or_the_given_one() {
    let first = (10_000..10_100).map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let (first, held) = (10_000..).zip(first).find(|(_, held)| held.is_some()).unwrap();
    // While the test holds the port, the demo takes one above it.
    let above = port_of_demo(&[]);
    assert!(above > first, "{above} {first}");
    let busy = Demo::new();
    let mut text = String::new();
    let mut command = busy.command_on_default_ports(&["--port", &first.to_string()]);
    let status = Running::start(&mut command).finish(&mut text);
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{first}: Address")), "{text}");
    busy.left_nothing();
    // Released, it is the demo's.
    drop(held);
    assert_eq!(port_of_demo(&[]), first);
    assert_eq!(port_of_demo(&["--port", &first.to_string()]), first);
}

#[test]
fn both_scenarios_run_and_a_signal_is_not_a_failure() {
    let demo = Demo::new();
    let mut child = demo.start(&["--for", "1s"]);
    let mut text = child.read_until(" open ");
    child.signal("INT");
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    let early = "All checks passed (interrupted): no client saw";
    assert!(text.contains("✓ split") && text.contains(early), "{text}");
    demo.left_nothing();
}

#[test]
fn a_missing_file_is_named() {
    let demo = Demo::new();
    for (arguments, hint) in [
        (["--wasm", "no/such.wasm"], "`make wasm` builds dist/sidetrack.wasm"),
        (["--envoy", "/no/such/envoy"], "--envoy is /no/such/envoy, which is not a file"),
    ] {
        let (status, text) = demo.run(&arguments);
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    let mut text = String::new();
    let mut command = demo.command(&[]);
    let status = Running::start(command.env("ENVOY_PATH", "/no/such/envoy")).finish(&mut text);
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("ENVOY_PATH is /no/such/envoy"), "{text}");
    demo.left_nothing();
}
