use super::*;
use crate::phases::Book;
use crate::row::MINUTE;
use crate::source::outcomes::Outcomes;
use crate::source::{Logs, Trial};
use crate::strata::Strata;
use crate::window::Window;

/// The baseline b, and c with the first half of the buckets of 40 % in phase one, of all in phase two.
const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 20}}, {"name": "two", "weights": {"c": 40}}]}}]}"#;

const LINE: &str = r#"{"time":"2026-11-23T09:30:00.250Z","request_id":"r","unit":"u","experiment":"e","assigned":"c","served":"c","reason":"hash","bucket":150000,"phase":"one","status":200,"flags":"-","duration":17}"#;

/// What becomes of a line under this file.
fn judged_line(
    file: &str,
    closed: &[u64],
    wanted: Option<Short>,
    line: &str,
) -> Result<Judged<'static>, String> {
    let plan = sidetrack::config::parse_json(file.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let strata = Strata::new(&experiment, "").unwrap();
    let of_file: Short = sidetrack::exposure::trial(&experiment).parse().unwrap();
    let logs = AccessLogs {
        logs: &Logs::new(&[]).unwrap(),
        experiment: &experiment,
        trial: Trial { wanted: wanted.unwrap_or(of_file), of_file },
        window: Window::default(),
        book: &Book::new(&experiment, &strata),
        strata: &strata,
        timeline: None,
        outcomes: &Outcomes::default(),
        dimensions: &[],
        closed: &closed.iter().copied().collect(),
    };
    Ok(match LineRules::new(logs).judge(line.as_bytes(), 5)? {
        Judged::Counts(row, plan) => Judged::Counts(row, plan),
        Judged::Excluded(why) => Judged::Excluded(why),
        Judged::OtherTrial(line) => Judged::OtherTrial(line),
        Judged::OtherExperiment(name) => {
            Judged::OtherExperiment(name.map(|name| name.into_owned().into()))
        }
    })
}

/// What becomes of the line above with these changes.
fn judged(file: &str, closed: &[u64], changes: &[(&str, &str)]) -> Result<Judged<'static>, String> {
    let mut line = LINE.to_owned();
    for (from, to) in changes {
        assert!(line.contains(from), "{from}");
        line = line.replace(from, to);
    }
    judged_line(file, closed, None, &line)
}

fn row(changes: &[(&str, &str)]) -> Row {
    match judged(FILE, &[], changes) {
        Ok(Judged::Counts(row, _)) => row,
        Ok(other) => panic!("{changes:?}: {other:?}"),
        Err(problem) => panic!("{changes:?}: {problem}"),
    }
}

fn excluded(file: &str, closed: &[u64], changes: &[(&str, &str)]) -> Excluded {
    match judged(file, closed, changes) {
        Ok(Judged::Excluded(why)) => why,
        Ok(other) => panic!("{changes:?}: {other:?}"),
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
        print: row(&[]).print,
        outcome: None,
        group: Id::of("u").group,
        stratum: 0,
        arm: 1,
        // The line names no trial, and the draw of the file gives another bucket.
        marks: Marks { untold: true, foreign: true, ..Marks::default() },
    };
    assert_eq!(row(&[]), wanted);
    // Without a phase, the time decides; without a reason, the draw did.
    let later = &[("\"one\"", "null"), ("09:30", "10:00"), ("\"hash\"", "null")];
    let print = row(later).print;
    assert_eq!(row(later), Row { stratum: 1, time: TIME + 30 * MINUTE, print, ..wanted });
    let nameless = [("\"unit\":\"u\"", "\"unit\":\"-\"")];
    let print = row(&nameless).print;
    let marks = Marks { untold: true, ..Marks::default() };
    let group = row(&nameless).group;
    assert_eq!(row(&nameless), Row { unit: None, print, group, marks, ..wanted });
}

#[test]
fn lines_of_one_request_have_one_print() {
    let print = |changes: &[(&str, &str)]| row(changes).print;
    let own = print(&[]);
    // Another path, flag or order says nothing of another request; other times, ids and statuses do.
    assert!(own.is_some() && own == print(&[("\"hash\"", "null")]));
    assert_ne!(own, print(&[("09:30:00.250", "09:30:00.251")]), "another call with the same id");
    assert_ne!(own, print(&[("17", "18")]));
    assert_ne!(own, print(&[("200", "503")]), "a retry");
    assert_ne!(own, print(&[("\"u\"", "\"v\"")]), "a client that sends one id for all");
}

#[test]
fn marks_say_what_happened() {
    let marks = |changes: &[(&str, &str)]| {
        let Marks { failed, aborted, elsewhere, breaker, .. } = row(changes).marks;
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
    // Over HTTP/2, clients reset their streams; alone or among other flags.
    for left in ["DR", "DR,LR", "UR, DR", "DPE"] {
        let left = format!("\"flags\":\"{left}\"");
        let changes = [("\"status\":200", "\"status\":0"), ("\"flags\":\"-\"", left.as_str())];
        assert_eq!(marks(&changes), [false, true, false, false], "{left}");
    }
    // It left during the response.
    assert_eq!(marks(&[gone]), [false, true, false, false]);
    // The response broke off, and nobody left.
    for broken in ["UC", "UR", "SI", "URX, UC"] {
        let flags = format!("\"flags\":\"{broken}\"");
        let change = [("\"flags\":\"-\"", flags.as_str())];
        assert_eq!(marks(&change), [true, false, false, false], "{broken}");
    }
    assert!(row(&[status("\"status\":404")]).marks.refused && !row(&[]).marks.refused);
    assert!(row(&[status("\"status\":302")]).marks.refused);
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
    assert!(matches!(drawn, Ok(Judged::Counts(..))));
    for (other, name) in [("\"f\"", Some("f".into())), ("null", None)] {
        let experiment = format!("\"experiment\":{other}");
        let change = [("\"experiment\":\"e\"", experiment.as_str())];
        assert_eq!(judged(FILE, &[], &change), Ok(Judged::OtherExperiment(name)));
    }
    assert_eq!(excluded(FILE, &[], &[("\"one\"", "\"three\"")]), Excluded::OtherWeights);
    let early = [("\"one\"", "null"), ("09:30", "08:59")];
    assert_eq!(excluded(FILE, &[], &early), Excluded::OtherWeights);
}

#[test]
fn a_bucket_must_belong_to_the_assigned_variant() {
    let of = |bucket: &str, phase: &str| {
        let judged = judged(FILE, &[], &[("150000", bucket), ("\"one\"", phase)]);
        matches!(judged, Ok(Judged::Counts(..)))
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
    assert!(matches!(others, Ok(Judged::Counts(..))));
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    for (from, to, problem) in [
        ("2026-11", "x026-11", "time: not a time as in 2026-11-23T09:00:00.123Z"),
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

/// The trial of the file: printf 'trial1\0e\0e' | sha256sum.
const TRIAL: &str = "trial=TRIAL";

/// The line above as proxies write it now.
fn exposed(exposure: &str) -> String {
    let trial = |plan: &str| {
        let plan = sidetrack::config::parse_json(plan.as_bytes()).unwrap();
        sidetrack::exposure::trial(plan.experiments.first().unwrap())
    };
    let exposure = exposure.replace("TRIAL", &trial(FILE));
    let line = LINE.replace(r#""reason":"hash","bucket":150000,"#, "");
    line.replace("{", &format!("{{\"exposure\":\"{exposure}\","))
}

#[test]
fn only_lines_of_the_trial_count() {
    let of = |exposure: &str, wanted: Option<&str>| {
        let wanted = wanted.map(|wanted| wanted.parse().unwrap());
        judged_line(FILE, &[], wanted, &exposed(exposure)).unwrap()
    };
    let rest = "weights=c=200000/400000 reason=hash bucket=150000";
    let own = of(&format!("{TRIAL} plan=0badcafe {rest}"), None);
    assert!(matches!(own, Judged::Counts(_, Some(plan)) if plan.to_string() == "0badcafe"));
    // Without a trial, as in former times, a line can only be taken for one of the file's.
    assert!(matches!(of(rest, None), Judged::Counts(_, None)));
    let other = "0a1b2c3d".parse().ok();
    let line = OtherLine { time: Some(TIME), ..OtherLine::default() };
    assert_eq!(
        of(&format!("trial=0a1b2c3d {rest}"), None),
        Judged::OtherTrial(OtherLine { trial: other, ..line })
    );
    assert!(matches!(of(&format!("trial=0a1b2c3d {rest}"), Some("0a1b2c3d")), Judged::Counts(..)));
    assert_eq!(of(rest, Some("0a1b2c3d")), Judged::OtherTrial(line));
    // Also a line that would not count for another reason.
    let overridden = format!("trial=0a1b2c3d {rest}").replace("hash", "override");
    assert_eq!(of(&overridden, None), Judged::OtherTrial(OtherLine { trial: other, ..line }));
}

#[test]
fn a_line_is_judged_by_its_own_weights() {
    let of = |weights: &str, bucket: u32, changes: &[(&str, &str)]| {
        let exposure = format!("{TRIAL} weights={weights} reason=hash bucket={bucket}");
        let mut line = exposed(&exposure);
        for (from, to) in changes {
            assert!(line.contains(from), "{from}");
            line = line.replace(from, to);
        }
        judged_line(FILE, &[], None, &line)
    };
    let stratum = |judged| match judged {
        Ok(Judged::Counts(row, _)) => row.stratum,
        other => panic!("{other:?}"),
    };
    // The file says 20 % in phase one; the set is the same if the log says so as well.
    assert_eq!(stratum(of("c=200000/400000", 150_000, &[])), 0);
    assert_eq!(stratum(of("c=400000/400000", 150_000, &[("one", "two")])), 1);
    // Other weights, phases and spans are sets of their own.
    assert_eq!(stratum(of("c=300000/400000", 299_999, &[])), 2);
    assert_eq!(stratum(of("c=200000/400000", 150_000, &[("one", "three")])), 2);
    assert_eq!(stratum(of("c=200000/500000", 150_000, &[("\"one\"", "null")])), 2);
    let contradicts = Ok(Judged::Excluded(Excluded::OtherWeights));
    assert_eq!(of("c=300000/400000", 300_000, &[]), contradicts);
    assert_eq!(of("a=100000/100000,c=200000/400000", 50_000, &[]), contradicts);
    assert_eq!(stratum(of("a=100000/100000,c=200000/400000", 100_000, &[])), 2);
    // A variant that the file does not have is no mistake of the log.
    let gone = [("\"assigned\":\"c\"", "\"assigned\":\"a\"")];
    let other = Ok(Judged::Excluded(Excluded::OtherVariant));
    assert_eq!(of("a=100000/100000,c=200000/400000", 50_000, &gone), other);
    let served = [("\"served\":\"c\"", "\"served\":\"a\"")];
    match of("c=200000/400000", 150_000, &served) {
        Ok(Judged::Counts(row, _)) => assert!(row.marks.elsewhere),
        other => panic!("{other:?}"),
    }
    let bad = of("c=9", 0, &[]).unwrap_err();
    assert_eq!(bad, "weights: \"c=9\" is not as in fancy=300000/500000");
}
