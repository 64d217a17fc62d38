//! Rows that cannot be read, and rows that match nothing.

use super::*;

pub(super) const CASES: &[Case] = &[
    case("a decimal comma in a file with commas", UNITS, "invalid", |story| {
        for row in &mut story.purchases {
            row.revenue = row.revenue.replace('.', ",");
        }
    }),
    case("fields are missing", UNITS, "invalid", |story| {
        story.table = |lines| {
            let cut = |(at, row): (usize, &String)| match row.rsplit_once(',') {
                Some((rest, _)) if at % 40 == 7 => rest.to_owned(),
                _ => row.clone(),
            };
            plain(&lines.iter().enumerate().map(cut).collect::<Vec<_>>())
        };
    }),
    case("quotes that are not closed", UNITS, "invalid", |story| {
        for row in story.purchases.iter_mut().step_by(40) {
            row.revenue.insert(0, '"');
        }
    }),
    case("times that are none", UNITS, "invalid", |story| story.time = |_| "Monday".to_owned()),
    case("only a header", UNITS, "invalid", |story| {
        story.by_unit = |_| vec!["unit,time,revenue".to_owned()];
    }),
    case("no key", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("user,time,revenue", |row| row.revenue.clone());
    }),
    case("a Parquet file", UNITS, "error", |story| story.table = |_| b"PAR1\x15\x04\x15".to_vec()),
    case("an Excel workbook", UNITS, "error", |story| story.table = |_| b"PK\x03\x04\x14".to_vec()),
    case("a JSON array that breaks off", UNITS, "error", |story| {
        story.table = |_| b"[{\"unit\": \"user-1\", \"revenue\": 3},\n{\"unit\": \"us".to_vec();
    }),
    case("objects of JSON that break off", UNITS, "invalid", |story| {
        story.table = |lines| {
            let mut lines = objects(lines);
            lines.iter_mut().step_by(40).for_each(|line| line.truncate(20));
            plain(&lines)
        };
    }),
    case("the whole file twice, without times", UNITS, "invalid", |story| {
        story.by_unit = |story| untimed(story, 2);
    }),
    case("days instead of times", UNITS, "invalid", |story| {
        story.time = |time| rfc3339(time)[..10].to_owned();
    }),
    case("rows that contradict each other", REQUESTS, "invalid", |story| {
        story.table = |lines| {
            let again = lines.iter().skip(1).step_by(30).map(|row| {
                if row.ends_with('1') { row.replace(",1", ",0") } else { row.replace(",0", ",1") }
            });
            plain(&lines.iter().cloned().chain(again).collect::<Vec<_>>())
        };
    }),
    case("outcomes of other users", UNITS, "invalid", |story| {
        story.purchases.iter_mut().for_each(|row| row.unit.insert(0, 'x'));
    }),
    case("outcomes five hours early", UNITS, "invalid", |story| {
        story.purchases.iter_mut().for_each(|row| row.time -= 5 * 3_600_000);
    }),
    case("outcomes two minutes early", UNITS, "invalid", |story| {
        for row in &mut story.purchases {
            row.time -= row.time % 3_600_000 % 7 * 120_000;
        }
    }),
    case("times to the hour", UNITS, "invalid", |story| {
        story.time = |time| rfc3339(time - time % 3_600_000);
    }),
    case("a key by another name", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("user_id,time,revenue", |row| row.revenue.clone());
    }),
    case("an empty column request_id beside unit", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,revenue,request_id", extra(","));
    }),
    case("all rows in one object of JSON", UNITS, "error", |story| {
        story.table = |lines| format!("{{\"data\":[{}]}}\n", objects(lines).join(",")).into_bytes();
    }),
    case("NaN in JSON", UNITS, "invalid", |story| {
        story.table = |lines| {
            let mut rows = objects(lines);
            let broken = rows.iter_mut().step_by(40);
            broken.for_each(|row| *row = row.replace("\"revenue\": ", "\"revenue\": NaN, \"x\": "));
            plain(&rows)
        };
    }),
    case("a table for each day, without times", UNITS, "invalid", |story| {
        story.by_unit = |story| {
            let lines = untimed(story, 1);
            let day = lines[1..].iter().take(300).map(|row| {
                let unit = row.split_once(',').map_or("", |(unit, _)| unit);
                format!("{unit},{}", unit.len() % 3)
            });
            let day: Vec<String> = day.collect();
            [lines[..1].to_vec(), day.clone(), day.clone(), day].concat()
        };
    }),
    with(
        &["--guardrail", "revenue:0.5pt", "--metric", "latency_mean"],
        case("a margin in points for a mean", UNITS, "error", |_| {}),
    ),
];
