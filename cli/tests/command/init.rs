//! `init` writes a file that passes `check`, for each kind of server.

use super::*;

fn init(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .arg("init")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a request gets, as `explain` says it: the variant and the path, or the whole text.
fn explained(file: &Path, path: &str, more: &[&str]) -> String {
    let mut arguments = vec!["explain", file.to_str().unwrap(), "--method", "POST", "--path", path];
    arguments.extend(more);
    let output = run(&arguments, b"");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output).to_owned()
}

#[test]
fn each_kind_of_server_gets_its_paths_and_rewrites() {
    let folder = tempfile::tempdir().unwrap();
    let unit = ["--unit", "header:x-user-id", "--share", "100"];
    for (api, more, path, other, sent) in [
        (
            "v2",
            &["--model", "m", "--candidate-model", "m-2"][..],
            "/v2/models/m/infer",
            "/v2/models/m-2/infer",
            "/v2/models/m-2/infer",
        ),
        ("v2", &["--model", "m"], "/v2/models/m/infer", "/v2/models/mm/infer", ""),
        (
            "v1",
            &["--model", "m", "--candidate-model", "n"],
            "/v1/models/m:predict",
            "/v1/models/mm:predict",
            "/v1/models/n:predict",
        ),
        ("mlflow", &[], "/invocations", "/ping", ""),
        ("other", &["--path", "/score/*"], "/score/a", "/scores", ""),
        ("other", &["--path", "/score"], "/score", "/score/a", ""),
    ] {
        let file = folder.path().join("e.yaml");
        let arguments = [&["--api", api, "--out", "e.yaml", "--force"], more, &unit].concat();
        let output = init(folder.path(), &arguments);
        assert_eq!(code(&output), 0, "{api} {}", stderr(&output));
        assert!(stdout(&output).contains("sidetrack run e.yaml --endpoint baseline=HOST:PORT"));
        let checked = run(&["check", file.to_str().unwrap()], b"");
        assert_eq!(code(&checked), 0, "{}", stdout(&checked));
        let user = ["--header", "x-user-id: 1"];
        let text = explained(&file, path, &user);
        assert!(text.contains("gets candidate"), "{api}: {text}");
        assert!(text.contains(sent), "{api}: no {sent:?} in\n{text}");
        let text = explained(&file, other, &user);
        assert!(!text.contains("gets candidate"), "{api}: {other} is not of the test\n{text}");
    }
}

#[test]
fn an_openai_server_gets_the_other_model_in_the_body() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--api",
        "openai",
        "--model",
        "org/llama",
        "--candidate-model",
        "org/llama:2",
        "--unit",
        "body:/user",
    ];
    let output = init(folder.path(), &arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = std::fs::read_to_string(folder.path().join("experiment.yaml")).unwrap();
    assert!(text.contains("body: [{pointer: /model, exact: org/llama}]"), "{text}");
    assert!(text.contains("body: {/model: \"org/llama:2\"}"), "{text}");
    assert!(text.contains("- name: org-llama-ab-test\n"), "{text}");
}

#[test]
fn the_file_is_commented_and_small() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--api",
        "v2",
        "--model",
        "forecast",
        "--candidate-model",
        "forecast-v2",
        "--host",
        "models.example.com",
        "--unit",
        "header:x-user-id",
        "--unit",
        "cookie:session",
        "--share",
        "12.5",
        "--out",
        "-",
    ];
    let output = init(folder.path(), &arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    snapshot("init", stdout(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "stdout, and no file");
}

#[test]
fn a_metric_writes_the_plan_with_its_steps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiment.yaml");
    let options = ["--api", "mlflow", "--unit", "header:x-user-id", "--force"];
    let plan = ["--metric", "accuracy", "--planned-units", "4000"];
    let steps = ["--step", "5:1d", "--step", "50:12h", "--guardrail", "latency_p95:10%"];
    let output = init(folder.path(), &[&options[..], &plan, &steps].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = std::fs::read_to_string(&file).unwrap();
    for words in [
        "    weight: 5  # percent",
        "    metrics: [accuracy]\n    guardrails: [\"latency_p95:10%\"]\n    planned_units: 4000",
        "    steps:\n    - {weight: 5, min_for: 1d}\n    - {weight: 50, min_for: 12h}\n",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    // `advance` takes it as it is.
    let advance = ["advance", file.to_str().unwrap(), "--dry-run"];
    let held = run(&advance, b"");
    assert!(stdout(&held).contains("no evidence is given"), "{}{}", stdout(&held), stderr(&held));
    // Without steps and guardrails.
    let output = init(folder.path(), &[&options[..], &plan[..2]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.ends_with("metrics: [accuracy]\n    guardrails: [\"error_rate:0.5pt\"]\n"),
        "{text}"
    );
    // Wrong steps are errors, by whichever name.
    for (more, code_, words) in [
        (&["--step", "50:1h", "--step", "5:1h"][..], 1, "steps"),
        (&["--step", "half"], 2, "such as 5:1d"),
        (&["--step", "5:1d", "--share", "5"], 2, "--share"),
    ] {
        let output = init(folder.path(), &[&options[..], &plan, more].concat());
        assert_eq!(code(&output), code_, "{more:?} {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{more:?} {}", stderr(&output));
    }
    let output = init(folder.path(), &[&options[..], &plan[2..]].concat());
    assert_eq!(code(&output), 2, "a plan needs a metric: {}", stderr(&output));
}

#[test]
fn without_a_terminal_all_missing_answers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path(), &[]);
    assert_eq!(code(&output), 2);
    for words in ["--api v2|mlflow|v1|openai|other", "--unit KIND:NAME"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let output = init(folder.path(), &["--api", "v2", "--unit", "header:u"]);
    assert!(code(&output) == 2 && stderr(&output).contains("--model NAME"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_existing_file_is_never_replaced_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiment.yaml");
    std::fs::write(&file, "mine").unwrap();
    let arguments = ["--api", "mlflow", "--unit", "body:/user_id"];
    let output = init(folder.path(), &arguments);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let output = init(folder.path(), &[&arguments[..], &["--force"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(std::fs::read_to_string(&file).unwrap().contains("/invocations"));
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let unit = ["--unit", "header:u"];
    for (arguments, words) in [
        (&["--api", "mlflow", "--model", "m"][..], "--model is for --api v2, v1 and openai"),
        (&["--api", "v2", "--model", "a/b"], "--model: \"a/b\" cannot be a part of a path"),
        (&["--api", "v2", "--model", "m", "--path", "/x"], "--path is for --api other"),
        (&["--api", "mlflow", "--candidate", "a b"], "a b"),
        (&["--api", "mlflow", "--candidate", "baseline"], "baseline"),
    ] {
        let output = init(folder.path(), &[arguments, &unit].concat());
        assert_ne!(code(&output), 0, "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

/// In a pseudo terminal of util-linux's `script`.
#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("exec {} init", env!("CARGO_BIN_EXE_sidetrack"));
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // 7 is not a choice; then the defaults, a share that is none, and another one.
    let answers = "7\n1\nforecast\nforecast-v2\n\n150\n20\n\n";
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    for words in [
        "expected a number from 1 to 5",
        "not a percentage from 0 to 100",
        "forecast-ab-test",
        "sidetrack run experiment.yaml",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let file = std::fs::read_to_string(folder.path().join("experiment.yaml")).unwrap();
    assert!(
        file.contains("replace_prefix: [/v2/models/forecast/, /v2/models/forecast-v2/]"),
        "{file}"
    );
    assert!(file.contains("weight: 20 ") && file.contains("- header: x-user-id"), "{file}");
}
