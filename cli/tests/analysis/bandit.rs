//! Weights from rewards.

use crate::{Folder, number};

const FILE: &str = "experiments:\n  - name: e\n    unit: [{header: u}]\n    baseline: a\n    variants:\n      - {name: a}\n      - {name: b, weight: 20, reserve: 25}\n      - {name: c, weight: 20}\n";

fn step(rewards: &str, more: &[&str]) -> (i32, serde_json::Value, String) {
    let folder = Folder::new();
    folder.write("e.yaml", FILE);
    folder.write("r.csv", rewards);
    let mut arguments =
        vec!["bandit", "e.yaml", "--rewards", "r.csv", "--json", "--at", "2026-11-23T12:00:00Z"];
    arguments.extend(more);
    let (code, out, error) = folder.text(&arguments);
    (code, serde_json::from_str(&out).unwrap_or_default(), error)
}

fn new(step: &serde_json::Value) -> Vec<f64> {
    step["variants"].as_array().unwrap().iter().map(|arm| number(&arm["new_weight"])).collect()
}

const GOOD_C: &str = "variant,successes,trials\na,100,1000\nb,100,1000\nc,200,1000\n";

#[test]
fn the_best_grows_by_no_more_than_a_step() {
    let (code, found, error) = step(GOOD_C, &[]);
    assert_eq!(code, 0, "{error}");
    let weights = new(&found);
    assert!((weights.iter().sum::<f64>() - 100.0).abs() < 1e-9);
    // From 60, 20, 20 towards 5, 5, 90: nobody moves by more than ten points.
    assert!(weights[2] > 25.0 && weights[2] <= 30.0 && weights[0] >= 50.0, "{weights:?}");
    let (_, found, _) = step(GOOD_C, &["--max-change", "100"]);
    assert!((new(&found)[2] - 75.0).abs() < 1e-9, "25 are reserved for b: {found:#}");
    assert!((new(&found)[1] - 5.0).abs() < 0.1, "the floor holds: {found:#}");
}

#[test]
fn less_may_be_better_and_a_breaker_keeps_a_weight() {
    let (_, found, _) = step(GOOD_C, &["--lower-is-better", "--max-change", "100"]);
    assert!(new(&found)[2] < 5.01, "{found:#}");
    assert!((new(&found)[1] - 25.0).abs() < 1e-9, "b stays within its reserve: {found:#}");
    let (_, found, _) = step(GOOD_C, &["--breaker", "c=open", "--max-change", "100"]);
    assert!(
        (new(&found)[2] - 20.0).abs() < 1e-9 && found["variants"][2]["p_best"].is_null(),
        "{found:#}"
    );
}

#[test]
fn weights_stay_while_all_candidates_have_open_breakers() {
    let (code, found, error) = step(GOOD_C, &["--breaker", "b=open", "--breaker", "c=open"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(new(&found), [60.0, 20.0, 20.0], "{found:#}");
    assert!(found["variants"][0]["p_best"].is_null(), "{found:#}");
    assert!(found["notes"].to_string().contains("c keeps its weight"), "{found:#}");
}

#[test]
fn what_cannot_be_used_is_an_error() {
    for (rewards, more, what) in [
        ("variant,successes\na,1\n", &[][..], "the column trials is missing"),
        (
            "variant,successes,trials\nz,1,2\n",
            &[],
            "unknown variant \"z\"; expected one of: a, b, c",
        ),
        ("variant,successes,trials\na,3,2\n", &[], "must be at most trials (2)"),
        ("variant,successes,trials\na,-1,2\n", &[], "successes is \"-1\""),
        ("variant,successes,trials\n", &[], "no rows"),
        (GOOD_C, &["--floor", "40"], "--floor"),
        (GOOD_C, &["--max-change", "0"], "--max-change"),
        (GOOD_C, &["--discount", "1.5"], "--discount"),
        (GOOD_C, &["--breaker", "a=open"], "unknown candidate \"a\""),
    ] {
        let (code, _, error) = step(rewards, more);
        assert_eq!(code, 1, "{what}: {error}");
        assert!(error.contains(what), "{what}: {error}");
    }
    let (_, found, _) =
        step("variant,successes,trials\na,1,10\nb,1,10\nc,9,10\n", &["--max-change", "100"]);
    assert!(found["notes"].to_string().contains("warm-up"), "{found:#}");
}
