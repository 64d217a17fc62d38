//! `render argo-rollouts` and `render flagger`.

use super::*;

const FILE: &str = r#"
experiments:
  - name: Forecast.1
    unit: [{header: x-user-id}]
    baseline: old
    variants:
      - {name: old}
      - {name: New_2, weight: 30}
    breaker: {error_rate: 2.5, slow: {over: 180ms, rate: 5}}
"#;

fn render(target: &str, options: &[&str]) -> Output {
    run(&[&["render", target, "-"], options].concat(), FILE.as_bytes())
}

#[test]
fn each_metric_has_the_limits_of_the_file() {
    snapshot("render_argo_rollouts", stdout(&render("argo-rollouts", &["--count", "10"])));
    snapshot("render_flagger", stdout(&render("flagger", &["--secret", "prometheus"])));
    let changed = render(
        "argo-rollouts",
        &["--max-errors", "0.5", "--max-latency", "10", "--max-drift", "2"],
    );
    for limit in ["<= 0.005", "> 1.1", "result[0] >= -0.02"] {
        assert!(stdout(&changed).contains(limit), "{limit}: {}", stdout(&changed));
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for (options, words) in [
        (vec!["--candidate", "newest"], "unknown candidate \"newest\"; expected one of: New_2"),
        (vec!["--prometheus", "prometheus:9090"], "expected http://"),
        (vec!["--window", "5"], "expected a time such as 30s"),
        (vec!["--max-errors=-1"], "must be above 0"),
        (
            vec!["--name", "a-very-long-name-that-has-so-many-letters-that-no-more-fit"],
            "choose a shorter --name",
        ),
    ] {
        let output = render("argo-rollouts", &options);
        assert_eq!((code(&output), stdout(&output)), (2, ""), "{options:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    // Two names that Kubernetes cannot tell apart.
    let twins = FILE.replace("weight: 30}", "weight: 30}\n      - {name: new-2, weight: 10}");
    let output = run(&["render", "flagger", "-"], twins.as_bytes());
    assert!(
        stderr(&output).contains("would both be named sidetrack-forecast-1-new-2"),
        "{}",
        stderr(&output)
    );
}
