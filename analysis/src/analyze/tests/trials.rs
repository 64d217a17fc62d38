//! Outcomes about requests of several trials of an experiment.

use super::*;

#[test]
fn outcomes_about_requests_of_another_trial_are_not_unmatched() {
    let of = |trial: &str, units: std::ops::Range<u64>| {
        let more = format!(r#"{},"trial":"{trial}""#, ok(5));
        units.map(|unit| line(unit, unit % 60, &more)).collect::<String>()
    };
    let rows = |units: std::ops::Range<u64>| {
        units.map(|unit| format!("{unit}-{},1\n", unit % 60)).collect::<String>()
    };
    let log = of("00000001", 0..40) + &of("00000002", 40..100);
    let settings = Settings { trial: "00000002".parse().ok(), ..settings() };
    let found = |rows: &str| {
        let outcomes = format!("request_id,score\n{rows}unknown,1\n");
        analyzed(FILE, log.as_bytes(), Some(&outcomes), &settings).unwrap().0
    };
    let counts = |found: &Analysis| {
        let counts = found.outcomes.as_ref().unwrap();
        [counts.rows, counts.matched, counts.other_trial, counts.unmatched]
    };
    let both = found(&rows(0..100));
    assert_eq!(counts(&both), [101, 60, 40, 1]);
    let before = found(&rows(0..40));
    assert_eq!((counts(&before), before.decision), ([41, 0, 40, 1], Decision::Invalid));
    let reason = before.reasons.first().unwrap().to_string();
    assert!(
        reason.contains("no outcome row is about a request of this trial; 40 are about"),
        "{reason}"
    );
}
