//! Data that must not be believed, and lines that are broken.

use std::io::Write;

use crate::crowd::{BASELINE, Crowd, START, Truth, Written, experiment};
use crate::truth::{SIMPLE, folder};
use crate::{Folder, number, result};

fn small() -> Written {
    Crowd::new(3000, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false)
}

#[test]
fn a_sample_ratio_mismatch_has_no_winner() {
    let better = Truth { accuracy: 0.99, ..BASELINE };
    let mut written = Crowd::new(6000, vec![BASELINE, better]).write(&experiment(SIMPLE), false);
    // A crash loses every fifth user of the candidate.
    let lost =
        |line: &str| line.contains("\"assigned\":\"fancy\"") && line.contains("3\",\"experiment\"");
    written.log =
        written.log.lines().filter(|line| !lost(line)).map(|line| format!("{line}\n")).collect();
    let folder = folder(SIMPLE, &written);
    let analysis =
        folder.analysis(&["--outcomes", "outcomes.csv", "--guardrail", "latency_p95:100ms"]);
    assert_eq!(
        (&analysis["srm"]["verdict"], &analysis["decision"]),
        (&"mismatch".into(), &"invalid".into())
    );
    assert_eq!(analysis["winner"], serde_json::Value::Null);
    let (code, text, _) = folder.report(&[]);
    assert_eq!(code, 1);
    assert!(
        text.lines().next().unwrap().contains("cannot be trusted")
            && text.contains("SAMPLE RATIO MISMATCH"),
        "{text}"
    );
    let anyway = folder.analysis(&[
        "--outcomes",
        "outcomes.csv",
        "--guardrail",
        "latency_p95:100ms",
        "--allow-srm",
    ]);
    assert_eq!(anyway["decision"], "promote");
}

#[test]
fn weights_that_changed_behind_the_files_back_are_refused() {
    let written = small();
    let folder = folder(&SIMPLE.replace("30", "40"), &written);
    let analysis = folder.analysis(&[]);
    assert_eq!(analysis["decision"], "invalid", "{analysis:#}");
    assert!(analysis["reasons"][0].as_str().unwrap().contains("other weights"), "{analysis:#}");
    assert!(number(&analysis["lines"]["excluded"]["other_weights"]) > 500.0);
}

#[test]
fn requests_of_users_decide_nothing() {
    let better = Truth { accuracy: 0.99, ..BASELINE };
    let mut written = Crowd::new(3000, vec![BASELINE, better]).write(&experiment(SIMPLE), false);
    written.log = written
        .log
        .lines()
        .map(|line| {
            let (before, after) = line.split_once("\"unit\":\"").unwrap();
            let (_, after) = after.split_once('"').unwrap();
            format!("{before}\"unit\":null{after}\n")
        })
        .collect();
    let folder = folder(SIMPLE, &written);
    let arguments = ["--outcomes", "outcomes.csv", "--guardrail", "latency_p95:100ms"];
    let analysis = folder.analysis(&arguments);
    assert_eq!(analysis["unit_of_analysis"], "request");
    assert_eq!(
        (&analysis["decision"], &analysis["srm"]["verdict"]),
        (&"inconclusive".into(), &"undefined".into()),
        "{analysis:#}"
    );
    let reasons = analysis["reasons"].to_string();
    assert!(
        reasons.contains("assumes independent requests") && reasons.contains("exposure_unit"),
        "{reasons}"
    );
    let anyway = folder.analysis(&[&arguments[..], &["--assume-independent-requests"]].concat());
    assert_eq!(anyway["decision"], "promote");
    // Outcomes of units have nobody to belong to.
    let (code, _, error) = folder.report(&["--outcomes", "by_unit.csv", "--metric", "converted"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("request_id"), "{error}");
}

#[test]
fn broken_lines_are_counted_shown_and_skipped() {
    let written = small();
    let clean = folder(SIMPLE, &written).analysis(&[]);
    let good: Vec<&str> = written.log.lines().collect();
    let model = good[0];
    let broken = [
        "not json".to_owned(),
        "[1, 2]".to_owned(),
        model[..model.len() / 2].to_owned(),
        model.replace("\"time\":\"2026", "\"time\":\"x026"),
        model.replace("\"reason\":\"hash\"", "\"reason\":\"mood\""),
        model
            .replace("\"assigned\":\"plain\"", "\"assigned\":\"nobody\"")
            .replace("\"assigned\":\"fancy\"", "\"assigned\":\"nobody\""),
        model.replace("\"duration\":", "\"duration\":-"),
        model.replace("\"status\":200", "\"status\":\"OK\""),
        model.replace("\"bucket\":\"", "\"bucket\":\"9999999"),
        "\u{1b}[31m{\"time\"".to_owned(),
    ];
    let mut log = String::new();
    for (i, line) in good.iter().enumerate() {
        log += line;
        log += "\n";
        if let Some(broken) = broken.get(i) {
            log += broken;
            log += "\n\n";
        }
    }
    let folder = folder(SIMPLE, &written);
    let mut bytes = log.into_bytes();
    bytes.extend(b"{\"experiment\":\"forecast\",\"unit\":\"\xff\xfe\"}\n");
    folder.write("access.log", bytes);
    let analysis = folder.analysis(&[]);
    assert_eq!(analysis["lines"]["malformed"], broken.len() + 1, "{:#}", analysis["lines"]);
    assert_eq!(analysis["lines"]["used"], clean["lines"]["used"]);
    assert_eq!(analysis["metrics"], clean["metrics"], "the good lines say the same");
    let (_, text, _) = folder.report(&[]);
    assert!(
        text.contains("11 malformed lines") && text.contains("access.log:2: not a JSON object"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "what the log says cannot steer the terminal");
}

#[test]
fn lines_that_do_not_count_say_why() {
    let written = small();
    let model = written.log.lines().next().unwrap();
    let reason =
        |word: &str| model.replace("\"reason\":\"hash\"", &format!("\"reason\":\"{word}\"")) + "\n";
    let mut log = written.log.clone();
    for word in
        ["override", "override", "missing_unit", "random", "not_started", "disabled", "excluded"]
    {
        log += &reason(word);
    }
    log += &(model.replace("\"experiment\":\"forecast\"", "\"experiment\":null") + "\n");
    log += &(model
        .replace("\"status\":200", "\"status\":0")
        .replace("\"flags\":\"-\"", "\"flags\":\"DC\"")
        + "\n");
    let folder = folder(SIMPLE, &written);
    folder.write("access.log", log);
    let analysis = folder.analysis(&[]);
    let excluded = &analysis["lines"]["excluded"];
    for (key, count) in [
        ("override", 2),
        ("missing_unit", 2),
        ("not_started", 1),
        ("disabled", 1),
        ("excluded", 1),
        ("other_experiment", 1),
        ("aborted", 1),
    ] {
        assert_eq!(excluded[key], count, "{key}: {excluded:#}");
    }
    assert_eq!(analysis["lines"]["used"], written.lines);
}

#[test]
fn gzip_files_say_what_plain_ones_do() {
    let written = small();
    let folder = folder(SIMPLE, &written);
    let plain = folder.analysis(&["--outcomes", "outcomes.csv"]);
    let lines: Vec<&str> = written.log.split_inclusive('\n').collect();
    // The later half first: the order of files decides nothing.
    for (name, half) in [("a.gz", &lines[lines.len() / 2..]), ("b.gz", &lines[..lines.len() / 2])] {
        let mut file = flate2::write::GzEncoder::new(
            std::fs::File::create(folder.path().join(name)).unwrap(),
            flate2::Compression::fast(),
        );
        half.iter().for_each(|line| file.write_all(line.as_bytes()).unwrap());
        file.finish().unwrap();
    }
    let output = folder.run(&[
        "analyze",
        "run",
        "experiment.json",
        "--json",
        "--outcomes",
        "outcomes.csv",
        "--exposures",
        "a.gz",
        "b.gz",
    ]);
    let zipped: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(zipped["variants"], plain["variants"]);
    assert_eq!((&zipped["from"], &zipped["to"]), (&plain["from"], &plain["to"]));
    let (one, two) = (result(&zipped, "accuracy"), result(&plain, "accuracy"));
    assert!((number(&one["diff"]) - number(&two["diff"])).abs() < 1e-12);
}

/// While the breaker is open the baseline answers for the candidate, which hides how bad it is.
#[test]
fn an_open_breaker_is_told_and_hides_nothing() {
    let bad = Truth { error: 0.25, ..BASELINE };
    let written = Crowd::new(4000, vec![BASELINE, bad]).write(&experiment(SIMPLE), false);
    let noon = START + 30 * 60_000;
    let open = |line: &str| {
        let time = &line[9..33];
        let time = sidetrack::quantity::Timestamp::parse(time).unwrap().get();
        line.contains("\"assigned\":\"fancy\"") && time >= noon
    };
    let log: String = written
        .log
        .lines()
        .map(|line| {
            if !open(line) {
                return format!("{line}\n");
            }
            let line = line
                .replace("\"served\":\"fancy\"", "\"served\":\"plain\"")
                .replace("\"reason\":\"hash\"", "\"reason\":\"breaker_open\"");
            line.replace("\"status\":503", "\"status\":200") + "\n"
        })
        .collect();
    let folder = folder(SIMPLE, &written);
    folder.write("access.log", log);
    let analysis = folder.analysis(&[]);
    assert_eq!(analysis["decision"], "keep_baseline", "{analysis:#}");
    assert!(
        analysis["reasons"]
            .to_string()
            .contains("without the minutes in which a breaker was open, fancy is worse")
    );
    let elsewhere = number(&analysis["variants"][1]["served_elsewhere"]);
    assert!(
        elsewhere > 1000.0 && (elsewhere - number(&analysis["breaker"]["requests"])).abs() < 0.5
    );
    assert!(number(&analysis["breaker"]["share"]) > 0.8);
    let inside = number(&result(&analysis, "error_rate")["diff"]);
    let without = &analysis["without_breaker"].as_array().unwrap()[0]["candidates"][0];
    assert!(inside < 0.05 && number(&without["diff"]) > 0.2, "{inside} {without:#}");
    // Units count as they were assigned, so the breaker makes no mismatch.
    assert_eq!(analysis["srm"]["verdict"], "ok");
    let excluding = folder.analysis(&["--exclude-breaker"]);
    assert!(number(&excluding["lines"]["excluded"]["breaker"]) > elsewhere);
    // A pipe cannot be read a second time, which only the minutes of open breakers require.
    let (code, out, error) = piped(&folder, "access.log", &[]);
    let once: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &once["without_breaker"]), (0, &serde_json::Value::Null), "{error}");
    assert_eq!(once["metrics"], analysis["metrics"]);
    let (code, _, error) = piped(&folder, "access.log", &["--exclude-breaker"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("stdin can be read only once; give the log as a file"), "{error}");
    folder.write("closed.log", &written.log);
    let (code, _, error) = piped(&folder, "closed.log", &["--exclude-breaker"]);
    assert_eq!(code, 0, "{error}");
}

/// `analyze run` of a log on stdin.
fn piped(folder: &Folder, log: &str, more: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["analyze", "run", "experiment.json", "--json", "--exposures", "-"])
        .args(more)
        .current_dir(folder.path())
        .stdin(std::fs::File::open(folder.path().join(log)).unwrap())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_bandits_steps_are_kept_apart() {
    let folder = Folder::new();
    folder.write("experiment.yaml", "# yaml-language-server: $schema=x\nexperiments:\n  - name: forecast  # the one\n    unit: [{header: u}]\n    baseline: plain\n    variants:\n      - {name: plain}\n      - name: fancy\n        weight: 30   # percent\n        reserve: 50\nsettings: {exposure_unit: plain}\n");
    folder.write(
        "rewards.csv",
        "variant,batch,successes,trials\nplain,1,100,1000\nfancy,1,160,1000\n",
    );
    let step = |out: &str| {
        [
            "bandit",
            "experiment.yaml",
            "--rewards",
            "rewards.csv",
            "--at",
            "2026-11-23T12:00:00Z",
            "--out",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([out.to_owned()])
        .collect::<Vec<_>>()
    };
    let arguments = step("experiment.yaml");
    let (code, text, error) =
        folder.text(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 0, "{error}");
    assert!(
        text.contains("adaptive") && text.contains("plain → fancy") || text.contains("→ fancy"),
        "{text}"
    );
    assert!(!text.contains("p ="), "no test: {text}");
    let file = std::fs::read_to_string(folder.path().join("experiment.yaml")).unwrap();
    assert_eq!(
        file,
        "# yaml-language-server: $schema=x\n# sidetrack bandit: forecast from the-start fancy=30\n# sidetrack bandit: forecast from 2026-11-23T12:00:00Z fancy=40\nexperiments:\n  - name: forecast  # the one\n    unit: [{header: u}]\n    baseline: plain\n    variants:\n      - {name: plain}\n      - name: fancy\n        weight: 40   # percent\n        reserve: 50\nsettings: {exposure_unit: plain}\n"
    );
    // A log with both epochs: the drift and the growing share would pool into an effect.
    let drifting = Truth { error: 0.04, ..BASELINE };
    let crowd = Crowd { drift: 4.0, ..Crowd::new(4000, vec![drifting, drifting]) };
    let (before, after) = (
        crowd.write(&experiment(SIMPLE), false),
        crowd.write(
            &experiment(
                &SIMPLE
                    .replace("\"weight\": 30", "\"weight\": 40, \"reserve\": 50")
                    .replace("30", "40"),
            ),
            false,
        ),
    );
    let noon = |line: &&str| line[9..33] >= *"2026-11-23T12:00:00.000Z";
    let mut log: String =
        before.log.lines().filter(|line| !noon(line)).map(|line| format!("{line}\n")).collect();
    log.extend(after.log.lines().filter(noon).map(|line| format!("{line}\n")));
    folder.write("access.log", &log);
    let output =
        folder.run(&["analyze", "run", "experiment.yaml", "--json", "--exposures", "access.log"]);
    let analysis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&analysis["adaptive"], &analysis["decision"]),
        (&true.into(), &"inconclusive".into()),
        "{analysis:#}"
    );
    assert_eq!(analysis["srm"]["phases"].as_array().unwrap().len(), 2);
    assert!(analysis["reasons"].to_string().contains("never pooled"));
    // A fixed test is not valid for such data, at the planned units neither.
    let output = folder.run(&[
        "analyze",
        "run",
        "experiment.yaml",
        "--json",
        "--exposures",
        "access.log",
        "--planned-units",
        "4000",
    ]);
    let planned: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(planned["test"], "always_valid", "{planned:#}");
    assert!(planned["reasons"].to_string().contains("fixed test is not valid"), "{planned:#}");
    // Without the notes, the change of weights shows in the buckets, and is refused.
    folder.write("experiment.yaml", file.replace("# sidetrack bandit:", "# gone:"));
    let output =
        folder.run(&["analyze", "run", "experiment.yaml", "--json", "--exposures", "access.log"]);
    let analysis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(analysis["decision"], "invalid", "{analysis:#}");
}
