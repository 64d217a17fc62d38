//! What a change moves.

use super::*;

const AT: [&str; 2] = ["--at", "2026-11-23T10:30:00Z"];

#[test]
fn moves_are_exact() {
    let plan = |old, new| seen(&["plan", old, new, AT[0], AT[1]]);
    snapshot("plan_same", plan("simple.yaml", "simple.yaml"));
    snapshot("plan_grown", plan("simple.yaml", "simple-grown.yaml"));
    snapshot("plan_swap", plan("simple-grown.yaml", "simple-pushed.yaml"));
    snapshot("plan_salt_and_new", plan("simple.yaml", "two.yaml"));
    snapshot("plan_redrawn", plan("simple-grown.yaml", "simple-salted.yaml"));
}

#[test]
fn a_swap_can_fail_a_pipeline() {
    let plan = |old, new| code(&run(&["plan", old, new, "--fail-on-swap"], b""));
    assert_eq!(plan("simple.yaml", "simple-grown.yaml"), 0);
    assert_eq!(plan("simple-grown.yaml", "simple-pushed.yaml"), 1);
    assert_eq!(plan("simple.yaml", "missing.yaml"), 2);
    assert_eq!(plan("simple.yaml", "broken.yaml"), 1);
}

#[test]
fn json_carries_the_exact_shares() {
    let report = json(&["plan", "simple.yaml", "simple-grown.yaml", "--json"], b"");
    assert_eq!(report["swap"], false);
    let step = &report["experiments"][0]["moves"][0];
    assert_eq!(
        (step["from"].as_str(), step["to"].as_str(), step["percent"].as_str()),
        (Some("old"), Some("newer"), Some("12.3456"))
    );
}
