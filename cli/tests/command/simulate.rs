//! Shares against targets.

use super::*;

#[test]
fn shares_meet_their_targets() {
    snapshot("simulate_full", seen(&["simulate", "full.yaml", "--units", "20000"]));
    let report = json(&["simulate", "simple.yaml", "--units", "1000", "--json"], b"");
    let phase = &report["experiments"][0]["phases"][0];
    assert_eq!((phase["df"].as_u64(), phase["phase"].as_str()), (Some(1), None));
    assert!(phase["p_value"].as_f64().unwrap() > 1e-6);
    assert_eq!(code(&run(&["simulate", "simple.yaml", "--units", "0"], b"")), 2);
}
