use super::*;

/// The baseline b, and c with the first half of the buckets of 40 % in phase one, of all in phase two.
const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 20}}, {"name": "two", "weights": {"c": 40}}]}}]}"#;

const LINE: &str = r#"{"time":"2026-11-23T09:30:00.250Z","request_id":"r","unit":"u","experiment":"e","assigned":"c","served":"c","reason":"hash","bucket":150000,"phase":"one","status":200,"flags":"-","duration":17}"#;

/// What becomes of the line above with these changes.
fn judged(file: &str, closed: &[u64], changes: &[(&str, &str)]) -> Result<Judged, String> {
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let strata = Strata::new(&experiment, "").unwrap();
    let (closed, outcomes) = (closed.iter().copied().collect(), Outcomes::default());
    let mut line = LINE.to_owned();
    for (from, to) in changes {
        assert!(line.contains(from), "{from}");
        line = line.replace(from, to);
    }
    LineRules::new(&experiment, &strata, &closed, &outcomes).judge(line.as_bytes(), 5)
}

fn row(changes: &[(&str, &str)]) -> Row {
    match judged(FILE, &[], changes) {
        Ok(Judged::Counts(row)) => row,
        Ok(Judged::Excluded(why)) => panic!("{changes:?}: {why:?}"),
        Err(problem) => panic!("{changes:?}: {problem}"),
    }
}

fn excluded(file: &str, closed: &[u64], changes: &[(&str, &str)]) -> Excluded {
    match judged(file, closed, changes) {
        Ok(Judged::Excluded(why)) => why,
        Ok(Judged::Counts(row)) => panic!("{changes:?}: {row:?}"),
        Err(problem) => panic!("{changes:?}: {problem}"),
    }
}

/// 2026-11-23T09:30:00.250Z.
const TIME: u64 = 1_795_426_200_250;

#[test]
fn a_line_becomes_a_row() {
    let wanted = Row {
        unit: Some(key("u")),
        position: 5,
        time: TIME,
        duration: 17,
        outcome: None,
        stratum: 0,
        arm: 1,
        marks: Marks::default(),
    };
    assert_eq!(row(&[]), wanted);
    // Without a phase, the time decides; without a reason, the draw did.
    let later = &[("\"one\"", "null"), ("09:30", "10:00"), ("\"hash\"", "null")];
    assert_eq!(row(later), Row { stratum: 1, time: TIME + 30 * MINUTE, ..wanted });
    assert_eq!(row(&[("\"unit\":\"u\"", "\"unit\":\"-\"")]), Row { unit: None, ..wanted });
}

#[test]
fn marks_say_what_happened() {
    let marks = |changes: &[(&str, &str)]| {
        let Marks { failed, aborted, elsewhere, breaker } = row(changes).marks;
        [failed, aborted, elsewhere, breaker]
    };
    let status = |status| ("\"status\":200", status);
    let flags = |flags| ("\"flags\":\"-\"", flags);
    assert_eq!(marks(&[]), [false; 4]);
    assert_eq!(marks(&[status("\"status\":499")]), [false; 4]);
    assert_eq!(marks(&[status("\"status\":500")]), [true, false, false, false]);
    assert_eq!(marks(&[status("\"status\":0")]), [true, false, false, false]);
    let gone = flags("\"flags\":\"UR,DC\"");
    assert_eq!(marks(&[status("\"status\":0"), gone]), [false, true, false, false]);
    // It left during the response.
    assert_eq!(marks(&[gone]), [false; 4]);
    assert_eq!(marks(&[status("\"status\":503"), gone]), [true, false, false, false]);
    assert!(!marks(&[status("\"status\":0"), flags("\"flags\":\"DCX\"")])[1]);
    assert_eq!(marks(&[("\"served\":\"c\"", "\"served\":\"b\"")]), [false, false, true, false]);
    let rescued = ("\"flags\":\"-\"", "\"flags\":\"-\",\"rescued\":true");
    assert_eq!(marks(&[rescued]), [true, false, true, false]);
    assert!(marks(&[("\"hash\"", "\"breaker_open\"")])[3]);
    assert!(marks(&[("\"hash\"", "\"probe\"")])[3]);
}

#[test]
fn lines_that_do_not_count_say_why() {
    let by_reason = |reason: &str| excluded(FILE, &[], &[("\"hash\"", &format!("\"{reason}\""))]);
    assert_eq!(by_reason("override"), Excluded::Override);
    assert_eq!(by_reason("disabled"), Excluded::Disabled);
    assert_eq!(by_reason("missing_unit"), Excluded::MissingUnit);
    assert_eq!(by_reason("excluded"), Excluded::OutsideLayer);
    assert_eq!(by_reason("not_started"), Excluded::NotStarted);
    // Users are randomized, so a random draw means that the request had no unit.
    assert_eq!(by_reason("random"), Excluded::MissingUnit);
    let random = FILE.replace("\"baseline\"", "\"assignment\": \"request_random\", \"baseline\"");
    let drawn = judged(&random, &[], &[("\"hash\"", "\"random\"")]);
    assert!(matches!(drawn, Ok(Judged::Counts(_))));
    for other in ["\"f\"", "null"] {
        let experiment = format!("\"experiment\":{other}");
        let change = [("\"experiment\":\"e\"", experiment.as_str())];
        assert_eq!(excluded(FILE, &[], &change), Excluded::OtherExperiment);
    }
    assert_eq!(excluded(FILE, &[], &[("\"one\"", "\"three\"")]), Excluded::OtherWeights);
    let early = [("\"one\"", "null"), ("09:30", "08:59")];
    assert_eq!(excluded(FILE, &[], &early), Excluded::OtherWeights);
}

#[test]
fn a_bucket_must_belong_to_the_assigned_variant() {
    let of = |bucket: &str, phase: &str| {
        let judged = judged(FILE, &[], &[("150000", bucket), ("\"one\"", phase)]);
        matches!(judged, Ok(Judged::Counts(_)))
    };
    assert!(of("199999", "\"one\"") && !of("200000", "\"one\""));
    assert!(of("399999", "\"two\"") && !of("400000", "\"two\"") && !of("999999", "\"two\""));
    assert!(of("null", "\"one\""), "a log may leave the bucket out");
}

#[test]
fn minutes_of_open_breakers_are_left_out() {
    let minute = TIME / MINUTE;
    assert_eq!(excluded(FILE, &[minute], &[]), Excluded::Breaker);
    let others = judged(FILE, &[minute - 1, minute + 1], &[]);
    assert!(matches!(others, Ok(Judged::Counts(_))));
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    for (from, to, problem) in [
        ("2026-11", "x026-11", "time: not RFC 3339, as in 2026-11-23T09:00:00.123Z"),
        ("\"hash\"", "\"mood\"", "reason: unknown value \"mood\""),
        ("\"assigned\":\"c\"", "\"assigned\":\"x\"", "assigned: unknown variant \"x\""),
        (
            "\"assigned\":\"c\"",
            "\"assigned\":null",
            "assigned: missing, but the request is in the experiment",
        ),
        ("\"served\":\"c\"", "\"served\":\"x\"", "served: unknown variant \"x\""),
        ("\"status\":200", "\"status\":1000", "status: not an HTTP status"),
        ("\"status\":200", "\"status\":null", "status: not an HTTP status"),
        ("\"status\":200", "\"status\":2.5", "status: not a whole number: 2.5"),
        ("\"duration\":17", "\"duration\":4294967296", "duration: not in milliseconds"),
        ("\"duration\":17", "\"duration\":-1", "duration: not a whole number: -1"),
        ("150000", "1000000", "bucket: not between 0 and 999999"),
        ("150000", "\"x\"", "bucket: not a whole number: \"x\""),
    ] {
        let found = judged(FILE, &[], &[(from, to)]).err();
        assert_eq!(found.as_deref(), Some(problem), "{to}");
    }
    assert!(row(&[("\"status\":200", "\"status\":999")]).marks.failed);
    assert_eq!(row(&[("\"duration\":17", "\"duration\":4294967295")]).duration, u32::MAX);
}
