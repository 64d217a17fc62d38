use super::*;
use crate::join::Minute;

const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "c", "weight": 20}, {"name": "b"}, {"name": "d", "weight": 10}]}]}"#;

/// The breakers of a log: by minute, the requests of each variant and how many of them a breaker touched.
fn breakers(minutes: &[(u64, [(u32, u32); 3])]) -> Breaker {
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let minute = |(requests, breaker)| Minute { requests, breaker, aborted: 0 };
    let mut tally = Tally::default();
    tally.minutes = minutes.iter().map(|(at, counts)| (*at, counts.map(minute).to_vec())).collect();
    breaker(&experiment, &Touched::new(&experiment, &tally))
}

#[test]
fn adjacent_minutes_are_one_interval() {
    // The variants in the order of the file: c, the baseline b, and d.
    let found = breakers(&[
        (10, [(100, 0), (900, 0), (50, 0)]),
        (11, [(100, 20), (900, 7), (50, 5)]),
        (12, [(100, 30), (900, 0), (50, 0)]),
        (13, [(100, 0), (900, 0), (50, 0)]),
        (14, [(100, 40), (900, 0), (50, 0)]),
        // No line in minute 15.
        (16, [(100, 1), (900, 0), (50, 9)]),
    ]);
    let intervals: Vec<_> =
        found.intervals.iter().map(|i| (&*i.variant, &*i.from, &*i.to, i.requests)).collect();
    let [m11, m12, m13, m14, m15, m16, m17] =
        [11, 12, 13, 14, 15, 16, 17].map(|minute| format!("1970-01-01T00:{minute}:00Z"));
    assert_eq!(
        intervals,
        [
            ("c", &*m11, &*m13, 50),
            ("c", &*m14, &*m15, 40),
            ("c", &*m16, &*m17, 1),
            ("d", &*m11, &*m12, 5),
            ("d", &*m16, &*m17, 9),
        ]
    );
    // A minute counts once, and the baseline's requests are not the candidates'.
    assert_eq!((found.minutes, found.requests), (4, 105));
    assert!((found.share - 105.0 / 900.0).abs() < 1e-15, "{}", found.share);
}

#[test]
fn a_closed_breaker_has_no_interval() {
    for log in [&[][..], &[(10, [(100, 0), (900, 0), (50, 0)])]] {
        let found = breakers(log);
        assert_eq!((found.minutes, found.requests, found.intervals.len()), (0, 0, 0));
        assert_eq!(found.share, 0.0);
    }
}
