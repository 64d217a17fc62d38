//! `sidetrack demo` from outside: what it prints, how it ends, and that nothing is left of it.

#[path = "demo/running.rs"]
mod running;

use std::io::Write;
use std::process::{Command, Stdio};

use running::{Demo, Running, Sabotaged, shell, text, wasm};

#[test]
fn a_short_demo_shows_that_all_is_well() {
    let demo = Demo::new();
    let output = demo.command(&["--acts", "1", "--for", "2s", "--rate", "300"]).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for line in [
        "✓ answered",
        "✓ sticky",
        "✓ fair",
        "✓ foretold",
        "✓ counted",
        "All is well",
        "With --keep",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.contains("x-ab-bucket: 21263"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('✗'), "{text}");
    demo.left_nothing();
}

#[test]
fn interrupted_it_says_what_it_saw_and_leaves_nothing() {
    for signal in ["INT", "TERM"] {
        let demo = Demo::new();
        let mut child = demo.start(&["--for", "30s"]);
        let mut text = child.read_until("requests");
        child.signal(signal);
        let status = child.finish(&mut text);
        assert!(status.success(), "{signal}: {status}\n{text}");
        assert!(text.contains("✓ counted") && text.contains("All is well (interrupted)"), "{text}");
        demo.left_nothing();
    }
}

#[test]
fn kept_it_answers_the_very_commands_that_it_prints() {
    let demo = Demo::new();
    let mut child = demo.start(&["--acts", "1", "--for", "1s", "--keep", "--workers", "1"]);
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

/// In a terminal, which util-linux's `script` provides. The Ctrl-C goes to all processes of the terminal, as it would.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_it_draws_and_gives_the_terminal_back() {
    let demo = Demo::new();
    // `exec`: a shell that stayed would itself be interrupted and report that instead of the demo's status.
    let line = format!(
        "exec {} demo --for 30s --no-keep --wasm {}",
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
    let (_, after) = text.rsplit_once(end).expect("the terminal is given back");
    assert!(after.contains("All is well") && !after.contains(begin), "{after}");
    demo.left_nothing();
}

#[test]
fn what_is_wrong_is_seen() {
    let demo = Demo::new();
    // An Envoy that gives the enhanced model 48 % instead of 30 %.
    let envoy = Sabotaged::new(r#"s/"weight": 30/"weight": 48/"#);
    let arguments = ["--acts", "1", "--for", "2s", "--envoy", envoy.path()];
    let output = demo.command(&arguments).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "✗ fair",
        "✗ foretold",
        "✓ sticky",
        "✓ counted",
        "2 of 5 checks failed",
        "The first thing wrong: user ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    demo.left_nothing();
}

#[test]
fn a_failing_model_is_left_and_comes_back() {
    let demo = Demo::new();
    let mut child = demo.start(&["--acts", "2", "--keep"]);
    let mut text = child.read_until("until you press Ctrl-C");
    for line in [
        "✓ answered",
        "✓ left",
        "✓ tripped   1 trip: open, 5 %, 25 %, 100 %, closed",
        "✓ lent",
        "✓ recovered",
        "✓ counted",
        "the breaker opens for ",
        "the breaker is closed: it has its units back",
        "failures that callers saw    0",
        "All is well: ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    // By hand: it fails, its breaker opens, a user of its own gets the baseline.
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
fn a_breaker_that_does_not_open_is_seen() {
    let demo = Demo::new();
    let envoy = Sabotaged::new(r#"s/"open_for": "4s"/"open_for": "4s", "mode": "disabled"/"#);
    let output = demo.command(&["--acts", "2", "--envoy", envoy.path()]).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "✓ answered",
        "✗ left",
        "✗ tripped   0 trips",
        "✓ lent",
        "✗ recovered the breaker did not close",
        "✓ counted",
        "3 of 6 checks failed",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    demo.left_nothing();
}

#[test]
fn both_acts_are_played_and_an_early_end_is_no_failure() {
    let demo = Demo::new();
    let mut child = demo.start(&["--for", "1s"]);
    let mut text = child.read_until("breaker open");
    child.signal("INT");
    let status = child.finish(&mut text);
    assert!(status.success(), "{status}\n{text}");
    assert!(
        text.contains("✓ fair") && text.contains("All is well (interrupted): no caller saw"),
        "{text}"
    );
    demo.left_nothing();
}

#[test]
fn what_is_missing_is_named() {
    let demo = Demo::new();
    for (arguments, hint) in [
        (["--wasm", "no/such.wasm"], "`make wasm` builds it"),
        (["--envoy", "/no/such/envoy"], "--envoy is /no/such/envoy, which is not a file"),
    ] {
        let output = demo.command(&arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    let nowhere = demo.command(&[]).env("ENVOY_PATH", "/no/such/envoy").output().unwrap();
    assert!(text(&nowhere).contains("ENVOY_PATH is /no/such/envoy"), "{}", text(&nowhere));
    demo.left_nothing();
}
