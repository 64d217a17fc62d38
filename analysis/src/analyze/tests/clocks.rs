//! Times that clocks of proxies got wrong.

use super::*;

#[test]
fn a_wrong_clock_makes_no_phase_older() {
    // Half an hour before, one of so many requests; afterwards, they come from 09:30:00.
    let from = |strays: u64, units: u64| {
        let mut log: String = (0..strays).map(|unit| line(unit, 0, &ok(100))).collect();
        log += &(0..units)
            .map(|unit| line(10_000 + unit, 1800 + unit / 2, &ok(100)))
            .collect::<String>();
        let phase = analysis(&log, 2).phases.remove(0);
        assert_eq!(phase.from.as_deref(), Some("2026-11-23T09:00:00Z"));
        phase.steady_from
    };
    let steady = Some("2026-11-23T09:30:00Z".to_owned());
    assert_eq!(from(1, 20), steady);
    assert_eq!(from(2, 2500), steady);
    assert_eq!(from(2, 20), None);
    assert_eq!(from(4, 2500), None);
}
