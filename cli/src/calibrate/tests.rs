use sidetrack_analysis::calibrate::Row;

use super::*;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

#[test]
fn the_time_left_is_that_of_the_part_that_is_done() {
    let left = |seconds, done| time_left(Duration::from_secs(seconds), done, 100);
    assert_eq!([left(30, 50), left(60, 10), left(0, 1)], ["30 s", "9 min", "0 s"]);
    assert_eq!(left(60, 100), "0 s");
}

/// The calibration that docs/calibration.csv has.
fn published() -> Calibration {
    let mut file = csv::Reader::from_path(format!("{DOCS}/calibration.csv")).unwrap();
    let cells = file.records().map(|record| {
        let record = record.unwrap();
        let text = |column: usize| &*String::leak(record[column].to_owned());
        let number = |column: usize| record[column].parse().ok();
        let whole = |column: usize| record[column].parse::<u32>().unwrap();
        Row {
            metric: text(0),
            rate: number(1),
            looks: text(2),
            variants: whole(3) as usize,
            share: number(4).unwrap(),
            units: whole(5).into(),
            margin: number(6),
            runs: whole(7),
            false_promotions: number(8),
            false_worse: number(9),
            false_non_inferior: number(10),
            false_inferior: number(11),
            false_harm: number(12),
            missed: number(13).unwrap(),
            power: number(14),
            oracle: number(15),
            corner: None,
            failed: Vec::new(),
        }
    });
    let (grid, experiments) = (Grid::Full.name(), Grid::Full.experiments());
    Calibration { grid, experiments, runs: 200, days: 14, ok: true, cells: cells.collect() }
}

#[test]
fn the_summary_of_the_whole_grid_is_of_the_published_table() {
    let found = published();
    let csv = std::fs::read(format!("{DOCS}/calibration.csv")).unwrap();
    assert!(table::csv(&found).unwrap() == csv, "the columns are of another version");
    let docs = std::fs::read_to_string(format!("{DOCS}/statistics.md")).unwrap();
    let (_, rest) = docs.split_once("<!-- calibration: full -->\n\n").unwrap();
    let (summary, _) = rest.split_once("\n<!-- end of the calibration: full -->").unwrap();
    assert_eq!(summary, markdown(&found, Grid::Full), "renew both by one run");
}
