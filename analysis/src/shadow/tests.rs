use std::fmt::Write as _;

use super::*;

fn settings() -> ShadowSettings {
    ShadowSettings {
        alpha: Fraction::new(0.05).unwrap(),
        worst: 3,
        most_missing: 0.01,
        least_agreement: None,
    }
}

fn compare(text: &str, settings: &ShadowSettings) -> Result<Shadow, Error> {
    let mut cells = Cells::default();
    cells.read_bytes(text.as_bytes().to_vec(), "t").unwrap();
    shadow("e", &cells, &HashMap::new(), settings)
}

/// 200 users with five requests each; the mirror's class differs for every tenth user, and its score is higher by 0.1 then.
fn story() -> String {
    let mut text = "request_id,unit,source,prediction,score,latency,status\n".to_owned();
    for user in 0..200 {
        for request in 0..5 {
            let id = format!("r{user}-{request}");
            let score = f64::from(request) / 10.0;
            let odd = user % 10 == 0;
            writeln!(text, "{id},u{user},baseline,{},{score},{},200", request % 2, 10 + request)
                .unwrap();
            let class = if odd { 2 } else { request % 2 };
            let shift = if odd { 0.1 + f64::from(user) / 1e4 } else { 0.0 };
            let status = if user == 3 { 503 } else { 200 };
            writeln!(
                text,
                "{id},u{user},mirror,{class},{},{},{status}",
                score + shift,
                12 + request
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn pairs_are_compared_by_unit() {
    let found = compare(&story(), &settings()).unwrap();
    assert_eq!((found.pairs, found.units, found.by_unit), (1000, 200, true));
    let class = &found.classes[0];
    assert_eq!((class.column.as_str(), class.pairs, class.equal), ("prediction", 1000, 900));
    assert!((class.agreement.value.unwrap() - 0.9).abs() < 1e-12);
    let [low, high] = class.agreement.ci.unwrap();
    // Wilson's interval of 180 of 200, since users agree as a whole.
    assert!((low - 0.8506).abs() < 2e-3 && (high - 0.9344).abs() < 2e-3, "{low} {high}");
    assert_eq!(class.changes[0], Change { baseline: "0".into(), mirror: "2".into(), pairs: 60 });
    let score = &found.scores[0];
    assert_eq!((score.column.as_str(), score.equal), ("score", 900));
    assert!((score.difference.value.unwrap() - 0.0109).abs() < 1e-3, "{score:?}");
    let median = score.quantiles.iter().find(|one| one.quantile == 0.5).unwrap();
    assert_eq!(median.estimate.value, Some(0.0));
    let latency = found.latency.as_ref().unwrap();
    assert!((latency.difference.value.unwrap() - 2.0).abs() < 1e-12, "{latency:?}");
    let failures = found.failures.as_ref().unwrap();
    assert_eq!((failures.mirror_only, failures.baseline_only), (5, 0));
    assert!((failures.mirror.value.unwrap() - 0.005).abs() < 1e-12);
    let worst: Vec<&str> = found.worst.iter().map(|one| one.request_id.as_str()).collect();
    // The last of the users that differ, and of its requests, whose distances are equal but for rounding.
    assert!(worst.iter().all(|id| id.starts_with("r190-")), "{worst:?}");
    assert_eq!(found.worst[0].mirror["prediction"].as_deref(), Some("2"));
    assert_eq!(found.state(), State::Ok);
    let text = serde_json::to_string(&found).unwrap();
    let again: Shadow = serde_json::from_str(&text).unwrap();
    assert_eq!((again.pairs, &again.worst, &again.classes), (1000, &found.worst, &found.classes));
}

#[test]
fn requests_of_a_unit_widen_the_interval() {
    let alone = story().replace("unit,", "other,").replace(",u", ",w");
    let (by_unit, by_request) =
        (compare(&story(), &settings()).unwrap(), compare(&alone, &settings()).unwrap());
    assert_eq!((by_request.units, by_request.by_unit), (1000, false));
    let width = |found: &Shadow| {
        let class = found.classes.iter().find(|class| class.column == "prediction").unwrap();
        let [low, high] = class.agreement.ci.unwrap();
        high - low
    };
    let ratio = width(&by_unit) / width(&by_request);
    assert!((2.1..2.4).contains(&ratio), "{ratio}");
}

#[test]
fn units_can_come_from_the_exposures() {
    let text = "request_id,source,score\na,baseline,1\na,mirror,2\nb,baseline,1\nb,mirror,4\n";
    let mut cells = Cells::default();
    cells.read_bytes(text.as_bytes().to_vec(), "t").unwrap();
    let units = HashMap::from([(key("a"), 7), (key("b"), 7)]);
    let found = shadow("e", &cells, &units, &settings()).unwrap();
    assert_eq!((found.units, found.by_unit), (1, true));
}

#[test]
fn what_one_side_lacks_is_judged() {
    let mut text = story();
    text += "x1,u1,baseline,1,0.5,10,200\n";
    for request in 0..20 {
        writeln!(text, "y{request},u1,mirror,1,0.5,10,200").unwrap();
    }
    let found = compare(&text, &settings()).unwrap();
    assert_eq!((found.missing.baseline, found.missing.mirror), (20, 1));
    assert_eq!(found.state(), State::Blocking);
    let state = |name: &str| found.checks.iter().find(|check| check.name == name).unwrap().state;
    assert_eq!((state("missing_baseline"), state("missing_mirror")), (State::Blocking, State::Ok));
    let lenient = ShadowSettings { most_missing: 0.05, ..settings() };
    assert_eq!(compare(&text, &lenient).unwrap().state(), State::Ok);
}

#[test]
fn a_row_without_its_value_is_no_prediction() {
    let text = |lost: &dyn Fn(u32) -> bool| {
        let mut text = "request_id,source,prediction,note\n".to_owned();
        for request in 0..400 {
            let class = if lost(request) { "" } else { "a" };
            writeln!(text, "r{request},baseline,a,\nr{request},mirror,{class},new").unwrap();
        }
        text
    };
    let state = |found: &Shadow, name: &str| {
        found.checks.iter().find(|check| check.name == name).map(|check| check.state)
    };
    let half = compare(&text(&|request| request % 2 == 0), &settings()).unwrap();
    assert_eq!((half.state(), half.classes[0].pairs), (State::Blocking, 200));
    assert_eq!(state(&half, "missing_mirror_prediction"), Some(State::Blocking));
    // A column that only one side has is named, and may be meant.
    assert_eq!(state(&half, "missing_baseline_note"), Some(State::Warning));
    let few = compare(&text(&|request| request < 3), &settings()).unwrap();
    assert_eq!(state(&few, "missing_mirror_prediction"), Some(State::Ok));
    assert_eq!(few.state(), State::Warning);
    let all = compare(&text(&|_| true), &settings()).unwrap();
    assert_eq!(state(&all, "no_values"), Some(State::Blocking));
}

#[test]
fn an_agreement_that_cannot_be_judged_is_not_enough() {
    let least = ShadowSettings { least_agreement: Some(0.5), ..settings() };
    let scores = "request_id,source,score\na,baseline,1\na,mirror,1\n";
    assert_eq!(compare(scores, &least).unwrap().state(), State::Blocking);
    let alone = "request_id,source,prediction\na,baseline,1\na,mirror,1\n";
    assert_eq!(compare(alone, &least).unwrap().state(), State::Unclear);
    assert_eq!(compare(alone, &settings()).unwrap().state(), State::Warning);
}

#[test]
fn the_least_agreement_is_judged_with_its_interval() {
    for (least, state) in [(0.8, State::Ok), (0.9, State::Unclear), (0.97, State::Exceeded)] {
        let settings = ShadowSettings { least_agreement: Some(least), ..settings() };
        assert_eq!(compare(&story(), &settings).unwrap().state(), state, "{least}");
    }
}

#[test]
fn a_row_that_comes_again_replaces_the_first() {
    let text =
        "request_id,source,score\na,baseline,1\na,mirror,5\na,mirror,2\n,mirror,3\nb,other,1\n";
    let found = compare(text, &settings()).unwrap();
    assert_eq!((found.rows.repeated, found.rows.foreign), (1, 2));
    assert_eq!(found.scores[0].difference.value, None);
    assert_eq!(found.scores[0].mirror, Some(2.0));
}

#[test]
fn predictions_that_do_not_meet_are_an_error() {
    for (text, problem) in [
        ("request_id,score\na,1\n", "no column source"),
        ("request_id,source\na,new\n", "found \"new\""),
        ("request_id,source,s\na,mirror,1\nb,baseline,1\n", "1 have one of the baseline only, 1"),
    ] {
        let error = compare(text, &settings()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
