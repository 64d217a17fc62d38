use super::*;

pub(crate) fn catalog() -> Catalog {
    let file = br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
        "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;
    let plan = sidetrack::config::parse_json(file).unwrap();
    let file = crate::ExperimentFile { plan, analyses: Vec::new(), text: String::new() };
    Catalog::new(vec![file]).unwrap()
}

pub(crate) fn line(more: &str) -> Result<Exposure, Unfit> {
    let line = format!(
        r#"{{"time": "2026-11-23T09:00:00.5Z", "experiment": "e", "assigned": "b", "served": "b", {more}}}"#
    );
    Fields::of_line(&line)?.exposure(&catalog(), &mut Clock::default())
}

const GOOD: &str = r#""request_id": "r", "status": 200, "duration": 7"#;

#[test]
fn one_request_has_one_identity_however_its_record_is_written() {
    let plain = line(GOOD).unwrap();
    let text =
        r#""request_id": "r", "status": "200", "duration": "0007", "flags": "-", "phase": null"#;
    let pipeline =
        r#""request_id": "r", "status": 200.0, "duration": 7.0, "kubernetes": {"pod": "p"}"#;
    let later =
        r#""request_id": "r", "status": 200, "duration": 7, "first_byte": 5, "cluster": "b""#;
    for same in [text, pipeline, later] {
        assert_eq!(line(same).unwrap().key, plain.key, "{same}");
    }
    let others = [
        GOOD.replace("\"r\"", "\"s\""),
        GOOD.replace("200", "503"),
        GOOD.replace('7', "8"),
        format!("{GOOD}, \"unit\": \"anna\""),
        format!("{GOOD}, \"trial\": \"5cda82bb\""),
    ];
    for other in others {
        assert_ne!(line(&other).unwrap().key, plain.key, "{other}");
    }
}

#[test]
fn without_a_request_id_only_equal_records_are_repeats() {
    let one = |more: &str| line(&format!(r#""status": 200, "duration": 7{more}"#)).unwrap().key;
    assert_eq!(one(""), one(r#", "request_id": "-""#));
    assert_ne!(one(""), one(r#", "cluster": "b""#));
}

#[test]
fn the_filters_part_is_spread_over_fields_and_the_line_reads_the_same() {
    let text =
        "trial=5cda82bb config=0a1b2c3d weights=c=500000/500000 reason=hash bucket=7 unit=anna b=c";
    let exposure = line(&format!(r#"{GOOD}, "exposure": "{text}", "plan": "-""#)).unwrap();
    assert_eq!(exposure.trial(), "5cda82bb");
    assert_eq!(exposure.get(log::UNIT), Some("anna b=c"));
    assert_eq!(exposure.get(log::WEIGHTS), Some("c=500000/500000"));
    let again = Exposure::of_stored_line(exposure.time, &exposure.line()).unwrap();
    assert_eq!(again.key, exposure.key);
    assert_eq!(again.line(), exposure.line());
    assert!(exposure.line().ends_with("}\n"), "{}", exposure.line());
}

#[test]
fn what_the_analysis_could_not_read_is_refused() {
    let problem = |more: &str| match line(more) {
        Err(Unfit::Malformed(problem)) => problem,
        other => panic!("{more}: {other:?}"),
    };
    assert!(problem(r#""status": 1200, "duration": 7"#).contains("status is \"1200\""));
    assert!(problem(r#""duration": 7"#).contains("status is \"missing\""));
    assert!(problem(r#""status": 200, "duration": -1"#).contains("milliseconds"));
    assert!(problem(&format!("{GOOD}, \"bucket\": 1000000")).contains("999999"));
    assert!(problem(&format!("{GOOD}, \"trial\": \"x\"")).contains("eight hexadecimal"));
    assert!(problem(&format!("{GOOD}, \"phase\": \"{}\"", "x".repeat(64))).contains("63 bytes"));
    assert!(problem(&format!("{GOOD}, \"flags\": \"{}\"", "x".repeat(5000))).contains("4096"));
    let unknown = r#"{"experiment": "other"}"#;
    let found = Fields::of_line(unknown).unwrap().exposure(&catalog(), &mut Clock::default());
    assert_eq!(found.err(), Some(Unfit::Unknown));
}
