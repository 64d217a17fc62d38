use super::*;
use crate::exposure::tests::line;

fn rows(count: u64) -> impl Iterator<Item = Result<Exposure, Error>> {
    (0..count).map(|number| {
        let unit = if number % 3 == 0 { "null".to_owned() } else { format!("\"u{number}\"") };
        let more = format!(
            r#""request_id": "r{number}", "status": 200, "duration": {number}, "unit": {unit}, "flags": "UF,URX""#
        );
        Ok(line(&more).unwrap())
    })
}

#[test]
fn a_segment_gives_the_rows_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment { day: 20_780, experiment: "..".to_owned(), trial: String::new() };
    let count = GROUP as u64 + 5;
    segment.write(folder.path(), rows(count)).unwrap().publish().unwrap();
    assert!(segment.path(folder.path()).starts_with(folder.path().join("experiment=..")));
    assert_eq!(Segment::all(folder.path(), None).unwrap(), std::slice::from_ref(&segment));
    assert!(Segment::all(folder.path(), Some("e")).unwrap().is_empty());
    let read: Vec<Exposure> =
        segment.read(folder.path()).unwrap().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read.len() as u64, count);
    for (read, written) in read.iter().zip(rows(count)) {
        let written = written.unwrap();
        assert_eq!((read.key, read.time, read.line()), (written.key, written.time, written.line()));
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_segment() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment { day: 20_780, experiment: "e".to_owned(), trial: "5cda82bb".to_owned() };
    segment.write(folder.path(), rows(10)).unwrap().publish().unwrap();
    let failing = rows(5).chain([Err(Error::Full)]);
    assert!(matches!(segment.write(folder.path(), failing), Err(Error::Full)));
    // Written, and not published.
    drop(segment.write(folder.path(), rows(3)).unwrap());
    assert_eq!(segment.read(folder.path()).unwrap().unwrap().count(), 10);
    let parent = segment.path(folder.path()).parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(parent).unwrap().count(), 1, "no rest");
}

#[test]
fn a_file_that_is_no_segment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment { day: 20_780, experiment: "e".to_owned(), trial: "5cda82bb".to_owned() };
    segment.write(folder.path(), rows(10)).unwrap().publish().unwrap();
    let path = segment.path(folder.path());
    std::fs::write(&path, "PAR1 no").unwrap();
    let error = segment.read(folder.path()).err().unwrap().to_string();
    assert!(error.contains("2026-11-23.parquet is damaged"), "{error}");
}

#[test]
fn the_analysis_reads_the_folder_of_segments_as_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (segments, log) = (folder.path().join("exposures"), folder.path().join("access.log"));
    for day in [20_780, 20_781] {
        let segment = Segment { day, experiment: "e".to_owned(), trial: String::new() };
        let skip = if day == 20_780 { 0 } else { 300 };
        segment.write(&segments, rows(600).skip(skip).take(300)).unwrap().publish().unwrap();
    }
    let lines: String = rows(600).map(|row| row.unwrap().line()).collect();
    std::fs::write(&log, lines).unwrap();
    let analysis = |path: &Path| {
        let text = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;
        let plan = sidetrack::config::parse_json(text.as_bytes()).unwrap();
        let experiment = plan.experiments.first().unwrap();
        let files = sidetrack_input::expand(&[path.to_owned()]).unwrap();
        let input = sidetrack_analysis::Input {
            experiment,
            strata: &sidetrack_analysis::Strata::new(experiment, "").unwrap(),
            config_hash: "",
            logs: &sidetrack_input::logs(&files).unwrap(),
            outcomes: None,
        };
        let threads = std::num::NonZero::new(2).unwrap();
        let settings = sidetrack_analysis::Settings::planned(None, threads).unwrap();
        let (found, _) = sidetrack_analysis::analyze(input, &settings, &|_, _| {}).unwrap();
        assert_eq!(found.lines.read, 600);
        serde_json::to_string(&found).unwrap()
    };
    assert_eq!(analysis(&segments), analysis(&log));
}
