use std::io::Write;

use sidetrack::quantity::Timestamp;

use super::columns::UNREADABLE;
use super::*;
use crate::row::key;

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
        r1,u1,1,2.5,2026-11-23T09:00:00Z\nr2,u1, 0 ,-1e150,\nr3,,true,,noon\nr4,,,False,\n";
    let found = outcomes(text).unwrap();
    assert!(found.by_request);
    assert_eq!(found.columns, [ACCURACY, "score"]);
    assert_eq!((found.rows(), found.malformed, found.repeated), (4, 0, 0));
    assert_eq!(values(&found, 0), [Some(1.0), Some(2.5)]);
    assert_eq!(values(&found, 1), [Some(0.0), Some(-1e150)]);
    assert_eq!(values(&found, 2), [Some(1.0), None]);
    assert_eq!(values(&found, 3), [None, Some(0.0)]);
    assert_eq!(values(&found, 4), []);
    let rows = ["r1", "r2", "r3", "r4", "r5", "u1"].map(|id| found.request(key(id)));
    assert_eq!(rows, [Some(0), Some(1), Some(2), Some(3), None, None]);
    assert!(found.is_binary(0) && !found.is_binary(1));
}

#[test]
fn a_prediction_is_right_if_it_equals_its_label() {
    let text = "request_id,label,prediction,score\na,1,1.0,0\nb,cat,cat,1\nc,cat,dog,0\nd,1,,1\n\
        e,,1,1\nf,nan,nan,1\ng,1,2,1\nh,NULL,1,1\ni,none,none,1\n";
    let found = outcomes(text).unwrap();
    assert_eq!(found.columns, [ACCURACY, "score"]);
    // A word for a missing value is not a class, but a class may be called none.
    assert_eq!(found.unreadable[0].rows, 2);
    let right: Vec<_> = (0..9).map(|row| values(&found, row)[0]).collect();
    let [yes, no, unknown] = [Some(1.0), Some(0.0), Some(UNREADABLE)];
    assert_eq!(right, [yes, yes, no, None, None, unknown, no, unknown, yes]);
    assert!(found.is_binary(0) && found.is_binary(1));
    // Of the two, one alone is a column like any other.
    assert_eq!(outcomes("request_id,label\na,1\n").unwrap().columns, ["label"]);
}

#[test]
fn a_value_that_cannot_be_read_is_neither_zero_nor_absent() {
    let text = "request_id,correct,score\na,1,1\nb,2,1\nc,1,x\nd,,inf\ne,1,12 %\nf,yes,2026-03-02\n\
        g,0,NaN\nh,NULL,3\n";
    let found = outcomes(text).unwrap();
    assert_eq!((found.rows(), found.malformed, found.read), (8, 0, 8));
    let infinite = |row: u32| found.row(row).iter().map(|value| value.is_infinite()).collect();
    let rows: Vec<Vec<bool>> = (0..8).map(infinite).collect();
    let (t, f) = (true, false);
    let wanted = [[f, f], [t, f], [f, t], [f, t], [f, t], [t, t], [f, t], [t, f]];
    assert_eq!(rows, wanted);
    assert!(found.row(3)[0].is_nan(), "an empty field is absent");
    let counts: Vec<u64> = found.unreadable.iter().map(|found| found.rows).collect();
    assert_eq!(counts, [3, 5]);
    assert_eq!(
        found.unreadable[0].examples,
        [
            "line 3: accuracy is \"2\": expected 0 or 1",
            "line 7: accuracy is \"yes\": write 1 and 0, or true and false",
            "line 9: accuracy is \"NULL\": a word for a missing value; leave the field empty",
        ]
    );
    assert_eq!(found.unreadable[1].examples[0], "line 4: score is \"x\": not a number");
    assert!(found.is_binary(0) && !found.is_binary(1), "of the values that can be read");
}

#[test]
fn a_row_that_cannot_be_read_leaves_its_unit_unknown() {
    let text =
        b"request_id,correct,score\na,1,1\n,1,1\nb,1,1,304\n\xff,1,1\nc,1\nd,1,2,\n\"e,1,1\n\
        f,1,1\na,1,1\na,0,5\n";
    let found = outcomes(text).unwrap();
    assert_eq!((found.read, found.malformed, found.repeated, found.conflicting), (10, 5, 1, 1));
    assert_eq!(
        found.examples,
        [
            "line 3: request_id is empty",
            "line 4: 4 fields, but the header has 3; a value with a comma must be in quotes",
            "line 5: request_id is not UTF-8 text",
        ]
    );
    let row = |id: &str| found.request(key(id)).map(|row| values(&found, row));
    let unknown = Some(vec![Some(f64::INFINITY); 2]);
    assert_eq!([row("b"), row("c")], [unknown.clone(), unknown]);
    assert_eq!(row("a"), Some(vec![Some(1.0), Some(1.0)]), "the first row counts");
    assert_eq!(row("d"), Some(vec![Some(1.0), Some(2.0)]), "an empty field more");
    assert_eq!(row("f"), Some(vec![Some(1.0), Some(1.0)]), "below a quote that is not closed");
    let found = outcomes("unit,time,n\n,,1\nu,noon,1\nu,,1\n").unwrap();
    assert_eq!((found.rows(), found.malformed), (2, 2));
    let wanted =
        ["line 2: unit is empty", "line 3: time: not a time as in 2026-11-23T09:00:00Z: \"noon\""];
    assert_eq!(found.examples, wanted);
    assert!(found.row(0)[0].is_infinite());
}

#[test]
fn only_columns_of_numbers_are_metrics() {
    let text = "request_id,country,,score,Unnamed: 0,day,note\na,DE,0,1,0,2026-03-02,\n\
        b,FR,1,NULL,1,2026-03-02,\n";
    let found = outcomes(text).unwrap();
    assert_eq!(found.columns, ["score"]);
    assert_eq!((found.rows(), found.nameless), (2, 2));
    let ignored: Vec<String> = found.ignored.iter().map(Ignored::to_string).collect();
    let wanted = [
        "country is text, for example \"DE\"",
        "day is text, for example \"2026-03-02\"",
        "note has no values",
    ];
    assert_eq!(ignored, wanted);
    assert_eq!(
        (values(&found, 0), values(&found, 1)),
        (vec![Some(1.0)], vec![Some(f64::INFINITY)])
    );
    // Numbers in the notation of people are no text: the column is a metric that cannot be read.
    let found = outcomes("unit,revenue\na,\"1 304,00\"\nb,\"12,00\"\n").unwrap();
    assert_eq!((found.columns.len(), found.unreadable[0].rows), (1, 2));
}

#[test]
fn separators_and_encodings_are_detected() {
    let plain = "request_id,score,n\na,1.5,1\nb,2,0\n";
    let utf16 = |order: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    };
    let marked = format!("\u{feff}{plain}");
    let forms: [(&str, Vec<u8>); 10] = [
        ("plain", plain.into()),
        ("BOM", marked.clone().into()),
        ("semicolons", plain.replace(',', ";").into()),
        ("tabs", plain.replace(',', "\t").into()),
        ("Excel", format!("sep=;\r\n{}", plain.replace(',', ";").replace('.', ",")).into()),
        ("CRLF", plain.replace('\n', "\r\n").into()),
        ("CR", plain.replace('\n', "\r").into()),
        ("UTF-16 LE", utf16(u16::to_le_bytes, &marked)),
        ("UTF-16 BE", utf16(u16::to_be_bytes, &marked)),
        ("UTF-16 LE without BOM", utf16(u16::to_le_bytes, plain)),
    ];
    for (form, text) in forms {
        let found = outcomes(text).unwrap();
        assert_eq!(found.columns, ["score", "n"], "{form}");
        assert_eq!((found.rows(), found.malformed), (2, 0), "{form}");
        let rows = [values(&found, 0), values(&found, 1)];
        assert_eq!(rows, [[Some(1.5), Some(1.0)], [Some(2.0), Some(0.0)]], "{form}");
        assert!(found.request(key("b")).is_some(), "{form}");
    }
}

/// The values of a column in a file with this separator; infinite where they cannot be read.
fn scores(separator: char, rows: &[&str]) -> Vec<f64> {
    let row = |(row, value): (usize, &&str)| format!("r{row}{separator}{value}\n");
    let rows: String = rows.iter().enumerate().map(row).collect();
    let found = outcomes(format!("request_id{separator}score\n{rows}")).unwrap();
    let rows = 0..u32::try_from(found.rows()).unwrap();
    rows.map(|row| values(&found, row)[0].unwrap()).collect()
}

#[test]
fn a_separator_that_may_separate_thousands_is_not_guessed() {
    let unknown = f64::INFINITY;
    assert_eq!(scores(';', &["1,304", "12"]), [unknown; 2]);
    assert_eq!(scores(';', &["1,304", "12,5"]), [1.304, 12.5], "another row settles it");
    assert_eq!(scores(';', &["1.304", "12,5", "7"]), [unknown; 3]);
    assert_eq!(scores(';', &["1.304", "12.5"]), [1.304, 12.5], "no commas at all");
    assert_eq!(scores(';', &["1.5", "1,304"]), [unknown; 2]);
    for separator in [';', ',', '\t'] {
        assert_eq!(scores(separator, &["912", "1.103", "15"]), [unknown; 3], "{separator}");
        assert_eq!(scores(separator, &["912", "1.103", "1500"]), [912.0, 1.103, 1500.0]);
        assert_eq!(scores(separator, &["0.912", "1.103", "15"]), [0.912, 1.103, 15.0]);
        // The largest values alone have a separator, so the others are no sample.
        assert_eq!(scores(separator, &["912", "15.5", "1'304"]), [unknown; 3]);
    }
    assert_eq!(scores(',', &["912", "15", "\"1,304\""]), [unknown; 3]);
    let found = outcomes("request_id,score\na,912\nb,1.103\nc,\nd,x\n").unwrap();
    assert_eq!(found.unreadable[0].rows, 3);
    assert_eq!(
        found.unreadable[0].examples,
        [
            "line 3: score is \"1.103\": the point may separate decimals or thousands; write all \
             values with decimals, as in 912.00, or none with a separator",
            "line 5: score is \"x\": not a number",
        ]
    );
    assert!(values(&found, 2)[0].is_none(), "no value stays none");
}

#[test]
fn json_is_a_table() {
    let lines = "{\"request_id\":\"a\",\"score\":1.103,\"correct\":true}\n\
        {\"request_id\":7,\"score\":912}\n{\"score\":3,\"request_id\":\"c\",\"note\":\"x\"}\n\
        {\"request_id\":\"d\",\"score\":\"12,5\"}\nbroken\n";
    let array = format!("[{}]", lines.replace("\nbroken\n", "").replace('\n', ","));
    for (text, malformed) in [(lines.to_owned(), 1), (array, 0)] {
        let found = outcomes(&text).unwrap();
        assert_eq!(found.columns, ["score", ACCURACY], "{text}");
        assert_eq!((found.rows(), found.malformed), (4, malformed));
        let rows: Vec<_> = (0..4).map(|row| values(&found, row)).collect();
        let one = |score, correct| vec![Some(score), correct];
        let wanted = [one(1.103, Some(1.0)), one(912.0, None), one(3.0, None), one(12.5, None)];
        assert_eq!(rows, wanted, "numbers of JSON need no guess");
        assert!(found.request(key("7")).is_some() && found.ignored[0].name == "note");
    }
    // Numbers within text are as unclear as in a table.
    let text = "{\"unit\":\"a\",\"n\":\"1.103\"}\n{\"unit\":\"b\",\"n\":\"912\"}\n";
    assert_eq!(outcomes(text).unwrap().unreadable[0].rows, 2);
    let error = outcomes("{\"id\": 1, \"n\": 2}\n").unwrap_err();
    assert!(error.starts_with("the objects have neither request_id nor unit: id, n"), "{error}");
}

#[test]
fn files_that_were_joined_are_one_table() {
    let one = "\u{feff}request_id,score\na,1\n";
    let found = outcomes(format!("{one}{}", one.replace('a', "b"))).unwrap();
    assert_eq!((found.rows(), found.malformed, found.read), (2, 0, 2));
    assert_eq!(found.columns, ["score"]);
}

#[test]
fn identifiers_and_times_are_no_metrics() {
    let rows: String =
        (0..30).map(|row| format!("u{row},{},{row},{}\n", 7 * row % 11, row * row)).collect();
    let found = outcomes(format!("unit,revenue,n,order_id\n{rows}")).unwrap();
    assert_eq!(found.columns, ["revenue"]);
    let ignored: Vec<String> = found.ignored.iter().map(Ignored::to_string).collect();
    let wanted = [
        "n looks like an identifier, for example \"0\"",
        "order_id looks like an identifier, for example \"0\"",
    ];
    assert_eq!(ignored, wanted);
    assert_eq!(values(&found, 3), [Some(10.0)]);
}

#[test]
fn a_file_that_is_delivered_twice_is_noticed_without_times() {
    let file: String = (0..40).map(|row| format!("u{},{}\n", row / 2, row % 9)).collect();
    let once = outcomes(format!("unit,n\n{file}")).unwrap();
    assert_eq!(once.untimed, Untimed::default());
    let twice = outcomes(format!("unit,n\n{file}unit,n\n{file}")).unwrap();
    assert_eq!((twice.rows(), twice.repeated), (80, 0));
    assert_eq!(twice.untimed, Untimed { repeated: 40, in_runs: 40, diverse: false });
}

#[test]
fn a_day_is_not_a_time() {
    let found = outcomes("unit,time,n\nu,2026-11-23,1\n").unwrap();
    assert_eq!(
        found.examples,
        [
            "line 2: time: \"2026-11-23\" is a day; without the time of day, it is unknown whether the \
          row is from before the unit's first request"
        ]
    );
}

#[test]
fn predictions_and_labels_go_by_several_names() {
    for (one, other) in [("y_true", "y_pred"), ("actual", "predicted"), ("target", "prediction")] {
        let found = outcomes(format!("request_id,{one},{other}\na,Cat,cat\nb,dog,cat\n")).unwrap();
        assert_eq!(found.columns, [ACCURACY], "{one}");
        assert_eq!([values(&found, 0), values(&found, 1)], [[Some(1.0)], [Some(0.0)]]);
    }
    let error = outcomes("request_id,prediction,label\na,cat,1\nb,dog,2\n").unwrap_err();
    assert!(error.contains("no class in common"), "{error}");
    // Beside `correct`, they are columns like others.
    let found = outcomes("request_id,correct,actual,predicted\na,1,3,4\n").unwrap();
    assert_eq!(found.columns, [ACCURACY, "actual", "predicted"]);
}

#[test]
fn a_row_that_is_delivered_twice_counts_once() {
    let text = "unit,time,n\nu,1795424400.5,1\nu,1795424400.5,1\nu,1795424400.5,2\nu,1795424401,1\nu,,1\nu,,1\n";
    let found = outcomes(text).unwrap();
    assert_eq!((found.rows(), found.repeated), (5, 1), "without a time, rows may be purchases");
}

#[test]
fn rows_about_units_match_the_unit_and_its_digest() {
    let found = outcomes("unit,time,n\nu1,2026-11-23T09:00:00Z,1\nu1,,2\nu2,,\n").unwrap();
    assert!(!found.by_request);
    assert_eq!((found.rows(), found.repeated), (3, 0), "a unit may have several rows");
    assert_eq!(found.request(key("u1")), None);
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
        ("id,score", "the header has neither request_id nor unit: id,score"),
        ("request_id,score,score", "the header has \"score\" twice"),
        ("request_id,correct,label,prediction", "remove one"),
        ("request_id", "no column has values: request_id"),
        ("unit,time", "no column has values: unit, time"),
        ("unit,", "no column has values: unit, "),
        ("{\"unit\": \"a\"", "no line is an object by itself"),
        ("[{\"unit\": \"a\"", "the JSON array breaks off"),
    ] {
        let error = outcomes(format!("{header}\n")).unwrap_err();
        assert!(error.contains(problem), "{header}: {error}");
    }
    for (content, problem) in [
        (&b""[..], "the file is empty"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ] {
        let error = outcomes(content).unwrap_err();
        assert!(error.contains(problem), "{error}");
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
