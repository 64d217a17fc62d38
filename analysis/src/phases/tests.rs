use super::*;

const FIXED: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c", "weight": 5}]}]}"#;

const ROLLOUT: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 5}}, {"name": "two", "weights": {"c": 20}}]}}]}"#;

const DAY: u64 = 24 * 60;

/// A set of weights in a log: the phase that the lines name, the weights, and the minutes with requests.
type Lines<'a> = (Option<&'a str>, &'a str, Vec<u64>);

fn timeline(file: &str, sets: &[Lines<'_>]) -> Timeline {
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.first().unwrap();
    let book = Book::new(experiment, &Strata::new(experiment, "").unwrap());
    let mut active = Vec::new();
    for (phase, text, minutes) in sets {
        let (index, _) = book.find(experiment, *phase, text).unwrap();
        active.resize(active.len().max(index + 1), BTreeSet::new());
        active[index].extend(minutes.iter().copied());
    }
    Timeline::new(&book, &active, true)
}

fn names(timeline: &Timeline) -> Vec<Option<&str>> {
    timeline.phases.iter().map(|phase| phase.name.as_deref()).collect()
}

const FIVE: &str = "c=50000/50000";
const TWENTY: &str = "c=200000/200000";

fn every(step: usize, minutes: std::ops::Range<u64>) -> Vec<u64> {
    minutes.step_by(step).collect()
}

#[test]
fn one_set_of_weights_is_one_phase_without_a_name() {
    let found = timeline(FIXED, &[(None, FIVE, vec![3, 9000])]);
    assert_eq!((names(&found), found.returns), (vec![None], false));
    assert_eq!(found.phases[0].span(), (3 * MINUTE, 9001 * MINUTE));
    assert_eq!(found.phases[0].shares, [0.95, 0.05]);
    // Those of the file need not be in the log.
    let found = timeline(FIXED, &[(None, TWENTY, vec![3, 9000])]);
    assert_eq!((names(&found), &found.phases[0].shares[..]), (vec![None], &[0.8, 0.2][..]));
    assert!(timeline(FIXED, &[]).phases.is_empty());
    let found = timeline(ROLLOUT, &[(Some("two"), TWENTY, vec![7])]);
    assert_eq!(names(&found), [Some("two")]);
}

#[test]
fn a_change_of_weights_begins_a_phase() {
    let log = [(None, TWENTY, every(1, DAY..2 * DAY)), (None, FIVE, every(1, 0..DAY))];
    let found = timeline(FIXED, &log);
    assert_eq!((names(&found), found.returns), (vec![Some("c 5 %"), Some("c 20 %")], false));
    // The set that was met first is the file's.
    assert_eq!(found.only(), [Some(0), Some(1)]);
}

#[test]
fn of_weights_that_begin_in_one_minute_those_that_last_longer_are_the_later_ones() {
    // The file was raised to 5 % within the first minute, and is in the book before all lines.
    let found = timeline(FIXED, &[(None, TWENTY, vec![0]), (None, FIVE, every(1, 0..9))]);
    assert_eq!(names(&found), [Some("c 20 %"), Some("c 5 %")]);
    let found = timeline(FIXED, &[(None, TWENTY, vec![0]), (None, FIVE, vec![0])]);
    assert_eq!(names(&found), [Some("c 20 %"), Some("c 5 %")]);
}

#[test]
fn weights_that_come_back_are_a_phase_of_their_own() {
    let five = [every(1, 0..DAY), every(1, 2 * DAY..3 * DAY)].concat();
    let found = timeline(FIXED, &[(None, FIVE, five), (None, TWENTY, every(1, DAY..2 * DAY))]);
    let wanted = ["c 5 % from 1970-01-01T00:00:00Z", "c 20 %", "c 5 % from 1970-01-03T00:00:00Z"];
    assert_eq!((names(&found), found.returns), (wanted.map(Some).to_vec(), true));
    let phase = |minute: u64| found.phase(0, minute * MINUTE);
    assert_eq!([0, DAY, 2 * DAY - 1, 2 * DAY, 9 * DAY].map(phase), [0, 0, 0, 2, 2].map(Some));
    assert_eq!(found.phase(1, 0), Some(1));
    assert_eq!(found.phase(2, 0), None);
}

#[test]
fn a_night_without_requests_ends_no_phase() {
    let five = [every(1, 0..DAY), every(1, 2 * DAY..3 * DAY)].concat();
    assert_eq!(names(&timeline(FIXED, &[(None, FIVE, five)])), [None]);
}

#[test]
fn proxies_that_change_one_after_another_make_no_further_phases() {
    // For two hours, some proxies have the new file and others the old one.
    let log = [(None, FIVE, every(1, 0..DAY)), (None, TWENTY, every(1, DAY - 120..2 * DAY))];
    assert_eq!(names(&timeline(FIXED, &log)), [Some("c 5 %"), Some("c 20 %")]);
    // A late request of the old file, and clocks that differ by two minutes.
    let five = [every(1, 0..DAY), vec![DAY + 7, DAY + 9]].concat();
    let log = [(None, FIVE, five), (None, TWENTY, every(1, DAY - 2..2 * DAY))];
    assert_eq!(names(&timeline(FIXED, &log)).len(), 2);
    // Few requests: each set comes in turn, once an hour, for two days.
    let log = [(None, FIVE, every(60, 0..2 * DAY)), (None, TWENTY, every(60, 30..2 * DAY))];
    assert_eq!(names(&timeline(FIXED, &log)).len(), 2);
}

#[test]
fn a_log_that_alternates_without_end_has_few_phases() {
    let turn = |odd: u64| {
        let hours = (0..24 * 30u64).filter(move |hour| hour % 2 == odd);
        hours.flat_map(|hour| hour * 60..hour * 60 + 60).collect::<Vec<_>>()
    };
    let found = timeline(FIXED, &[(None, FIVE, turn(0)), (None, TWENTY, turn(1))]);
    assert!((2..=MOST_PHASES).contains(&found.phases.len()), "{}", found.phases.len());
}

#[test]
fn phases_of_a_rollout_keep_their_names() {
    let log = [
        (Some("one"), FIVE, every(1, 0..60)),
        (Some("two"), TWENTY, every(1, 60..DAY)),
        (Some("two"), "c=400000/400000", every(1, DAY..2 * DAY)),
    ];
    let wanted = [Some("one"), Some("two (c 20 %)"), Some("two (c 40 %)")];
    assert_eq!(names(&timeline(ROLLOUT, &log)), wanted);
    assert_eq!(names(&timeline(ROLLOUT, &log[..2])), [Some("one"), Some("two")]);
    // The same weights in two phases of the rollout are two phases.
    let log = [(Some("one"), FIVE, vec![0, 1]), (Some("two"), FIVE, vec![2, 3])];
    assert_eq!(names(&timeline(ROLLOUT, &log)), [Some("one"), Some("two")]);
}

#[test]
fn a_log_has_at_most_so_many_sets() {
    let plan = sidetrack::config::parse_json(FIXED.as_bytes()).unwrap();
    let experiment = plan.experiments.first().unwrap();
    let book = Book::new(experiment, &Strata::new(experiment, "").unwrap());
    for weight in 1..MOST_SETS {
        assert!(book.find(experiment, None, &format!("c={weight}/1000000")).is_ok());
    }
    assert!(book.find(experiment, None, "c=7/1000000").is_ok(), "it is known");
    let error = book.find(experiment, None, "c=0/1000000").unwrap_err();
    assert_eq!(error, "weights: more than 256 sets of weights in one log");
}

#[test]
fn weights_that_rise_and_fall_again_and_again_look_like_a_bandits() {
    let wanders = |percents: &[u64]| {
        let texts: Vec<String> =
            percents.iter().map(|p| format!("c={0}/{0}", p * 10_000)).collect();
        // Each set of weights for a day; one that comes back is a phase of its own.
        let days = texts.iter().zip(0u64..);
        let sets =
            days.map(|(text, day)| (None, text.as_str(), every(1, day * DAY..(day + 1) * DAY)));
        timeline(FIXED, &sets.collect::<Vec<_>>()).wanders()
    };
    // A ramp; a roll-back; a roll-back after which it is raised again.
    assert!(!wanders(&[5, 10, 20, 40]) && !wanders(&[5, 20, 1]) && !wanders(&[5, 20, 5, 40]));
    assert!(wanders(&[50, 55, 48, 60, 41]) && wanders(&[5, 20, 5, 20, 5]));
}
