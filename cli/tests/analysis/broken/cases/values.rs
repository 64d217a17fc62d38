//! Values that cannot be read, and columns that are no metrics.

use super::*;

pub(super) const CASES: &[Case] = &[
    case("NULL in one row of 30", UNITS, "invalid", |story| spoil(story, 30, "NULL")),
    case("NaN in one row of 50", UNITS, "invalid", |story| spoil(story, 50, "NaN")),
    case("dates in one row of 50", UNITS, "invalid", |story| spoil(story, 50, "2026-03-02")),
    case("infinite values", UNITS, "invalid", |story| spoil(story, 50, "inf")),
    case("numbers as people write them", UNITS, "invalid", |story| {
        for row in &mut story.purchases {
            row.revenue = format!("\"1 {},00\"", row.revenue.replace('.', ""));
        }
    }),
    case("a comma that may be either", UNITS, "invalid", |story| {
        spoil(story, 1, "1,304");
        story.table = |lines| {
            plain(lines).split(|byte| *byte == b'\n').fold(Vec::new(), |mut out, row| {
                let text = String::from_utf8(row.to_vec()).unwrap();
                out.extend(text.replacen(',', ";", 2).bytes());
                out.push(b'\n');
                out
            })
        };
    }),
    case("thousands with a point", UNITS, "invalid", |story| thousands(story, ".")),
    case("thousands with a comma", UNITS, "invalid", |story| thousands(story, ",")),
    case("thousands with an apostrophe", UNITS, "invalid", |story| thousands(story, "'")),
    case("thousands with a narrow space", UNITS, "invalid", |story| thousands(story, "\u{202f}")),
    case("percent signs", UNITS, "invalid", |story| {
        story.purchases.iter_mut().for_each(|row| row.revenue += " %");
    }),
    case("a column whose direction is unclear", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,cost", |row| row.revenue.clone());
    }),
    case("order numbers", UNITS, "error", |story| {
        story.by_unit =
            |story| story.rows("unit,time,order_id", |row| (row.user * 7919 % 100_003).to_string());
    }),
    case("the attributes of users", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,user_age", |row| row.revenue.clone());
    }),
    case("times as a metric", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,opened", |row| row.time.to_string());
    }),
    case("predictions and labels have no class in common", REQUESTS, "error", |story| {
        story.by_request = |story| classes(story, ["cat", "dog"], ["1", "2"]);
    }),
    case("scores instead of predictions", REQUESTS, "error", |story| {
        story.by_request = |story| classes(story, ["0.83", "0.17"], ["1", "0"]);
    }),
    with(
        &["--metric", "sold"],
        case("yes and no", UNITS, "error", |story| {
            story.by_unit = |story| story.rows("unit,time,revenue,sold", extra(",yes"));
        }),
    ),
    with(
        &["--metric", "country"],
        case("a metric of text", UNITS, "error", |story| {
            story.by_unit = |story| story.rows("unit,time,revenue,country", extra(",DE"));
        }),
    ),
    case("only text", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,country", |_| "DE".to_owned());
    }),
    case("several columns, and none is chosen", UNITS, "error", |story| {
        story.by_unit = |story| story.rows("unit,time,revenue,items", extra(",3"));
    }),
    with(&["--cap", "accuracy=99%"], case("a cap of accuracy", REQUESTS, "error", |_| {})),
    with(
        &["--metric", "latency:decrease"],
        case("a column that is called like a metric of the requests", UNITS, "error", |story| {
            story.by_unit = |story| story.rows("unit,time,latency", |row| row.revenue.clone());
        }),
    ),
    case("another table behind the first", UNITS, "error", |story| {
        story.by_unit = |story| {
            let mut lines = story.rows("unit,time,revenue", |row| row.revenue.clone());
            lines.extend(story.rows("unit,time,refund", |row| row.revenue.clone()));
            lines
        };
    }),
    case("objects of JSON on one line that cannot be read", UNITS, "invalid", |story| {
        story.table = |lines| {
            let rows = objects(lines);
            let (one, two) = rows.split_at(rows.len() / 2);
            let two = two.concat().replace("\"revenue\": ", "\"revenue\": NaN");
            format!("{}\n{two}\n", one.join("\n")).into_bytes()
        };
    }),
    case("half of the times are of a zone five hours behind", UNITS, "invalid", |story| {
        story.purchases.iter_mut().step_by(2).for_each(|row| row.time -= 5 * 3_600_000);
    }),
    case("rows of one variant came twice, one by one", UNITS, "invalid", |story| {
        story.by_unit = |story| {
            let rows = story.purchases.iter().flat_map(|row| {
                let text = format!("{},{}", row.unit, row.revenue);
                std::iter::repeat_n(text, if row.fancy { 2 } else { 1 })
            });
            std::iter::once("unit,revenue".to_owned()).chain(rows).collect()
        };
    }),
    case("the rows of a join: each purchase with each item", UNITS, "invalid", |story| {
        story.by_unit = |story| {
            let rows = story.purchases.iter().flat_map(|row| {
                let time = rfc3339(row.time);
                ["pen", "ink"].map(|item| format!("{},{time},{},{item}", row.unit, row.revenue))
            });
            std::iter::once("unit,time,revenue,item".to_owned()).chain(rows).collect()
        };
    }),
    case("clicks of a second", UNITS, "invalid", |story| {
        story.by_unit = |story| {
            let rows = story.purchases.iter().flat_map(|row| {
                let text = format!("{},{},1", row.unit, row.time / 1000);
                std::iter::repeat_n(text, if row.fancy { 3 } else { 2 })
            });
            std::iter::once("unit,time,clicks".to_owned()).chain(rows).collect()
        };
    }),
];
