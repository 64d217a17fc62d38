use std::io::Write;

use super::*;

fn experiment() -> Experiment {
    let file = br#"{"experiments": [{"name": "e", "salt": "s", "unit": [{"header": "u"}],
        "baseline": "b", "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;
    sidetrack::config::parse_json(file).unwrap().experiments.into_iter().next().unwrap()
}

fn outcomes(content: impl AsRef<[u8]>) -> Result<Outcomes, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    Outcomes::read(file.path(), &experiment()).map_err(|error| error.to_string())
}

/// The values of a row; `None` where there are none.
fn values(outcomes: &Outcomes, row: u32) -> Vec<Option<f64>> {
    outcomes.row(row).iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect()
}

#[test]
fn each_column_is_a_metric_of_numbers() {
    let text = "\u{feff}request_id, unit ,correct,score,time\n\
        r1,u1,1,2.5,2026-11-23T09:00:00Z\nr2,u1, 0 ,-1e150,\nr3,,true,,\nr4,,,False,\n";
    let found = outcomes(text).unwrap();
    assert!(found.by_request);
    assert_eq!(found.columns, [ACCURACY, "score"]);
    assert_eq!((found.rows(), found.malformed, found.repeated), (4, 0, 0));
    assert_eq!(values(&found, 0), [Some(1.0), Some(2.5)]);
    assert_eq!(values(&found, 1), [Some(0.0), Some(-1e150)]);
    assert_eq!(values(&found, 2), [Some(1.0), None]);
    assert_eq!(values(&found, 3), [None, Some(0.0)]);
    assert_eq!(values(&found, 4), []);
    let rows = ["r1", "r2", "r3", "r4", "r5", "u1"].map(|id| found.request(id));
    assert_eq!(rows, [Some(0), Some(1), Some(2), Some(3), None, None]);
    assert!(found.is_binary(0) && !found.is_binary(1));
}

#[test]
fn a_prediction_is_right_if_it_equals_its_label() {
    let text = "request_id,label,prediction,score\na,1,1.0,0\nb,cat,cat,1\nc,cat,dog,0\nd,1,,1\n\
        e,,1,1\nf,nan,nan,1\ng,1,2,1\n";
    let found = outcomes(text).unwrap();
    assert_eq!(found.columns, [ACCURACY, "score"]);
    let right: Vec<_> = (0..7).map(|row| values(&found, row)[0]).collect();
    let wanted = [Some(1.0), Some(1.0), Some(0.0), None, None, Some(1.0), Some(0.0)];
    assert_eq!(right, wanted);
    assert!(found.is_binary(0) && found.is_binary(1));
    // Of the two, one alone is a column like any other.
    assert_eq!(outcomes("request_id,label\na,1\n").unwrap().columns, ["label"]);
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_the_first_ones_shown() {
    let text =
        b"request_id,correct,score\na,1,1\n,1,1\nb,2,1\nc,1,x\nd,1,inf\ne,1,1e151\n\xff,1,1\n\
        f,1,1\na,0,5\n";
    let found = outcomes(text).unwrap();
    assert_eq!((found.rows(), found.malformed, found.repeated), (2, 6, 1));
    assert_eq!(
        found.examples,
        [
            "line 3: request_id is empty",
            "line 4: correct is 2, but must be 0 or 1",
            "line 5: score: not a number: \"x\"",
        ]
    );
    assert_eq!((values(&found, 0)[1], found.request("f")), (Some(1.0), Some(1)));
    let found = outcomes("unit,time,n\n,,1\nu,noon,1\nu,,1\n").unwrap();
    assert_eq!((found.rows(), found.malformed), (1, 2));
    let wanted = ["line 2: unit is empty", "line 3: time: not RFC 3339: \"noon\""];
    assert_eq!(found.examples, wanted);
}

#[test]
fn rows_about_units_match_the_unit_and_its_digest() {
    let found = outcomes("unit,time,n\nu1,2026-11-23T09:00:00Z,1\nu1,,2\nu2,,\n").unwrap();
    assert!(!found.by_request);
    assert_eq!((found.rows(), found.repeated), (3, 0), "a unit may have several rows");
    assert_eq!(found.request("u1"), None);
    let digest = |unit: &str| key(&experiment().exposure.pseudonym(unit.as_bytes()));
    let rows: Vec<_> =
        found.units().map(|(keys, time, values)| (keys, time, values.len())).collect();
    let one = [key("u1"), digest("u1")];
    let nine = Timestamp::parse("2026-11-23T09:00:00Z").map(Timestamp::get);
    assert_eq!(rows, [(one, nine, 1), (one, None, 1), ([key("u2"), digest("u2")], None, 1)]);
    let values: Vec<f64> = found.units().flat_map(|(_, _, values)| values.to_vec()).collect();
    assert!(values[..2] == [1.0, 2.0] && values[2].is_nan(), "{values:?}");
    assert!(!found.is_binary(0));
}

#[test]
fn a_header_that_is_not_clear_is_an_error() {
    for (header, problem) in [
        ("id,score", "the header has neither request_id nor unit: id, score"),
        ("request_id,score,score", "the header has \"score\" twice"),
        ("request_id,correct,label,prediction", "remove one"),
        ("request_id", "no column has values: request_id"),
        ("unit,time", "no column has values: unit, time"),
    ] {
        let error = outcomes(format!("{header}\n")).unwrap_err();
        assert!(error.contains(problem), "{header}: {error}");
    }
    // One of the pair is enough beside `correct`.
    assert!(outcomes("request_id,correct,label\n").is_ok());
    assert_eq!(outcomes("request_id,label,prediction\n").unwrap().rows(), 0);
}

#[test]
fn a_gzip_file_is_read_as_a_plain_one() {
    let text = "request_id,score\na,1\nb,2\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let found = outcomes(gzip.finish().unwrap()).unwrap();
    assert_eq!((found.rows(), values(&found, 1)), (2, vec![Some(2.0)]));
    let missing = Outcomes::read(Path::new("/does/not/exist.csv"), &experiment()).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /does/not/exist.csv");
}
