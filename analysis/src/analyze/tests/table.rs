use super::*;
use crate::summary::Table;

fn read(text: &[u8]) -> Result<Table, Error> {
    Table::read(Box::new(std::io::Cursor::new(text.to_vec())), "table")
}

/// The verdict from the table of the summary is the same, bit for bit.
pub(super) fn from_a_table(input: Input<'_>, settings: &Settings, direct: &(Analysis, Series)) {
    let table = summarize(input, settings, &|_, _| {}).unwrap().table(input.subject());
    let mut text = Vec::new();
    table.write(&mut text).unwrap();
    let table = read(&text).unwrap();
    assert_eq!(table.choices().unwrap().attribution, settings.attribution);
    let summary = Summary::of_table(table, input.subject(), settings).unwrap();
    let again = conclude(input.subject(), settings, &summary).unwrap();
    let json = |analysis| serde_json::to_value(analysis).unwrap();
    assert_eq!(json(&again.0), json(&direct.0), "{}", String::from_utf8_lossy(&text));
    assert_eq!(format!("{:?}", again.1), format!("{:?}", direct.1));
}

/// The verdict from the table of a small log, after `change` of its text; or why there is none.
fn changed(change: impl Fn(String) -> String) -> Result<Analysis, String> {
    let mut log = String::new();
    (0..400).for_each(|unit| log += &line(unit, unit % 3000, &ok(10 + unit % 50)));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(log.as_bytes()).unwrap();
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").unwrap(),
        config_hash: "",
        logs: &Logs::new(&[file.path().to_owned()]).unwrap(),
        outcomes: None,
    };
    let table = summarize(input, &settings(), &|_, _| {}).unwrap().table(input.subject());
    let mut text = Vec::new();
    table.write(&mut text).unwrap();
    let text = change(String::from_utf8(text).unwrap());
    let table = read(text.as_bytes()).map_err(|error| error.to_string())?;
    let summary = Summary::of_table(table, input.subject(), &settings());
    let summary = summary.map_err(|error| error.to_string())?;
    Ok(conclude(input.subject(), &settings(), &summary).unwrap().0)
}

#[test]
fn a_table_that_is_not_sound_is_refused() {
    let add = |row: &str| changed(|text| text + row + "\n").unwrap_err();
    for (row, problem) in [
        ("sums,0,,,x,,1,,,,,,,,", "unknown row: sums x"),
        (
            "metric,0,9,plain,error_rate,,3,0,0,0,1,0,0,0,",
            "unknown row: metric error_rate of plain in phase 9",
        ),
        (
            "metric,0,0,third,error_rate,,3,0,0,0,1,0,0,0,",
            "unknown row: metric error_rate of third",
        ),
        ("minutes,0,,third,,5,,,,,,,,,1:2", "unknown variant"),
        ("summary,0,,,version,,1,,,,,,,,", "two rows are about the same"),
        ("plan,0,,,x,,-1,,,,,,,,", "\"-1\" is not a number"),
        ("latency_bins,0,0,plain,,99999,,,,,,,,,1:2", "bin 99999"),
        ("refused,0,,,,0,,,,,,,,,the log has no units", "the log has no units"),
        ("plan,0,,,x,,1", "too many or too few fields"),
    ] {
        let found = add(row);
        assert!(found.contains(problem), "{row}: {found}");
    }
    let replace = |one: &str, two: &str| changed(|text| text.replace(one, two)).unwrap_err();
    assert!(replace("version,,1,", "version,,2,").contains("version 2"));
    assert!(replace("summary,0,,,version,,1,,,,,,,,\n", "").contains("not a summary"));
    assert!(
        replace(",experiment,,,,,,,,,,e\n", ",experiment,,,,,,,,,,f\n")
            .contains("the experiment \"f\"")
    );
    assert!(
        replace("measure,0,,,latency_mean,,,,,,,,,,ratio\n", "")
            .contains("no sums of latency_mean")
    );
    assert!(replace("ratio decides", "ratio").contains("error_rate decides, but was exploratory"));
    assert!(replace("kind,pass", "kind,path").contains("unknown column \"path\""));
}

#[test]
fn a_check_that_was_not_done_is_neither_passed_nor_hidden() {
    let direct = changed(|text| text).unwrap();
    assert!(direct.checks.iter().all(|check| check.state != CheckState::NotChecked));
    let row = "not_checked,0,,,,0,,,,,,,,,damaged_lines: a table has no such lines\n";
    let found = changed(|text| text + row).unwrap();
    let damaged: Vec<_> =
        found.checks.iter().filter(|check| check.name == CheckName::DamagedLines).collect();
    assert_eq!(damaged.len(), 1);
    assert_eq!((damaged[0].state, damaged[0].value), (CheckState::NotChecked, None));
    let reasons: Vec<String> = found.reasons.iter().map(ToString::to_string).collect();
    let note = "Not checked: damaged_lines (a table has no such lines)";
    assert!(reasons.iter().any(|reason| reason == note), "{reasons:?}");
    assert_eq!(found.checks.len(), direct.checks.len());
}

#[test]
fn engines_may_write_names_in_capitals_and_numbers_with_decimals() {
    let direct = changed(|text| text).unwrap();
    let found = changed(|text| {
        let (head, rows) = text.split_once('\n').unwrap();
        let rows = rows.replace("units,0,0,plain,first,,200,", "units,0,0,plain,first,,200.0,");
        assert!(rows.contains("200.0"), "{rows}");
        format!("{}\n{rows}", head.to_uppercase())
    });
    let json = |analysis: &Analysis| serde_json::to_value(analysis).unwrap();
    assert_eq!(json(&found.unwrap()), json(&direct));
}
