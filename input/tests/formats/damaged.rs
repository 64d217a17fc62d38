//! Damaged files: an error, or a loss that is counted and reported.

use serde_json::Value;

use crate::written::{Says, csv, framed, lines, otlp_json, otlp_proto, parquet, requests, zstd};
use crate::{Folder, story};

fn reasons(found: &Value) -> String {
    found["reasons"].to_string()
}

fn check<'v>(found: &'v Value, name: &str) -> &'v Value {
    let checks = found["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn zstd_that_breaks_off_gives_what_it_has() {
    // Several blocks, as of a real file: a frame gives what it has up to its last whole block.
    let many: Vec<_> = std::iter::repeat_with(story).take(6).flatten().collect();
    let whole = zstd(&lines(&many));
    let found = Folder::new().analysis(&whole[..whole.len() - 2000]).unwrap();
    let read = found["lines"]["read"].as_u64().unwrap();
    assert!(read > 1000 && read < many.len() as u64, "{read}");
    assert!(reasons(&found).contains("the zstd data breaks off"), "{}", reasons(&found));
    let mut broken = whole.clone();
    let middle = whole.len() / 2;
    broken[middle..middle + 400].fill(0xff);
    let found = Folder::new().analysis(&broken).unwrap();
    assert!(reasons(&found).contains("the zstd data is damaged"), "{}", reasons(&found));
}

#[test]
fn parquet_that_breaks_off_is_an_error() {
    let whole = parquet(&story(), 200);
    for end in [5, whole.len() / 2, whole.len() - 1] {
        let error = Folder::new().analysis(&whole[..end]).unwrap_err();
        assert!(error.contains("the Parquet file breaks off"), "{end}: {error}");
    }
}

#[test]
fn rows_of_a_damaged_row_group_are_counted() {
    let rows = story();
    let mut broken = parquet(&rows, 200);
    // The pages of the first group, without the magic number.
    broken[300..700].fill(0xff);
    let found = Folder::new().analysis(&broken).unwrap();
    assert_eq!(found["lines"]["read"], 1660);
    let malformed = found["lines"]["malformed"].as_u64().unwrap();
    assert!((100..=451).contains(&malformed), "{malformed}");
    assert_eq!(check(&found, "damaged_lines")["state"], "blocking", "{found:#}");
    assert_eq!(found["decision"], "invalid");
}

#[test]
fn any_byte_of_parquet_may_be_wrong() {
    let whole = parquet(&story()[..200], 50);
    let folder = Folder::new();
    for at in (4..whole.len()).step_by(41) {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        // Any result but a panic: values may have changed as well, unless the file has checksums.
        folder.analysis(&broken).ok();
    }
}

#[test]
fn a_table_of_something_else_is_an_error() {
    let mut rows = story();
    rows.iter_mut().for_each(|row| drop(row.remove("experiment")));
    let error = Folder::new().analysis(parquet(&rows, 500)).unwrap_err();
    assert!(error.contains("the Parquet file has no column experiment; it has: "), "{error}");
}

#[test]
fn rows_of_a_table_that_cannot_be_read_are_counted() {
    let text = String::from_utf8(csv(&story(), ',')).unwrap();
    let torn: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| match at % 10 {
            4 if at > 0 => line[..line.len() / 2].to_owned(),
            6 => format!("{line},surplus"),
            _ => line.to_owned(),
        })
        .collect();
    let found = Folder::new().analysis(torn.join("\n")).unwrap();
    let malformed = found["lines"]["malformed"].as_u64().unwrap();
    assert!((330..=390).contains(&malformed), "{malformed}");
    assert_eq!(check(&found, "damaged_lines")["state"], "blocking");
}

#[test]
fn messages_of_otlp_that_cannot_be_read_are_counted_by_their_records() {
    let requests = requests(&story(), 100, Says::Attributes);
    let mut json = otlp_json(&requests);
    let end = json[3].len() - 9;
    json[3].truncate(end);
    let found = Folder::new().analysis(json.join(&b'\n')).unwrap();
    // The other malformed ones are those of the story.
    let lost = found["lines"]["malformed"].as_u64().unwrap() - 50 + 3;
    assert!((97..=103).contains(&lost), "{lost}");
    assert_eq!(check(&found, "damaged_lines")["state"], "blocking");
    let mut proto = otlp_proto(&requests);
    let end = proto[2].len() - 9;
    proto[2].truncate(end);
    let found = Folder::new().analysis(framed(&proto)).unwrap();
    let lost = found["lines"]["malformed"].as_u64().unwrap() - 50 + 3;
    assert!((97..=103).contains(&lost), "{lost}");
}

#[test]
fn frames_that_break_off_give_what_they_have() {
    let whole = framed(&otlp_proto(&requests(&story(), 100, Says::Attributes)));
    let found = Folder::new().analysis(&whole[..whole.len() - 50]).unwrap();
    assert_eq!(found["lines"]["read"], 1600);
    let reasons = reasons(&found);
    assert!(reasons.contains("message 17 breaks off after"), "{reasons}");
}
