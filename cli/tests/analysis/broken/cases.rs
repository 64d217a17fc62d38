//! What happens to the story, and the verdict that must follow.

use super::story::{Purchase, Story, line, plain, rfc3339};

/// A data set.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) outcomes: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) change: fn(&mut Story),
    /// A decision, or `error` for input that is no data.
    pub(super) decision: &'static str,
}

impl Case {
    /// The exit status.
    pub(super) fn code(&self) -> i32 {
        i32::from(["invalid", "error"].contains(&self.decision))
    }
}

const UNITS: &str = "by_unit.csv";
const REQUESTS: &str = "by_request.csv";

const fn case(
    name: &'static str,
    outcomes: &'static str,
    decision: &'static str,
    change: fn(&mut Story),
) -> Case {
    Case { name, outcomes, options: &[], change, decision }
}

const fn with(options: &'static [&'static str], case: Case) -> Case {
    Case { options, ..case }
}

/// Every so-and-so-many'th purchase has another value.
fn spoil(story: &mut Story, each: usize, value: &str) {
    for row in story.purchases.iter_mut().step_by(each) {
        value.clone_into(&mut row.revenue);
    }
}

fn extra(text: &str) -> impl Fn(&Purchase) -> String {
    move |row| format!("{}{text}", row.revenue)
}

fn utf16(lines: &[String]) -> Vec<u8> {
    let text = format!("\u{feff}{}\r\n", lines.join("\r\n").replace(',', "\t"));
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Revenue in cents, as people write it.
fn thousands(story: &mut Story, separator: &str) {
    for row in &mut story.purchases {
        let cents = row.revenue.replace('.', "");
        let at = cents.len() - 3;
        let (head, tail) = cents.split_at(at);
        let text = [head, tail].join(if head.is_empty() { "" } else { separator });
        row.revenue = if separator == "," { format!("\"{text}\"") } else { text };
    }
}

/// Rows of CSV as objects of JSON, with numbers as numbers.
fn objects(lines: &[String]) -> Vec<String> {
    let names: Vec<&str> = lines[0].split(',').collect();
    let object = |line: &String| {
        let fields = names.iter().zip(line.split(',')).map(|(name, value)| {
            let value = if value.parse::<f64>().is_ok() { value.to_owned() } else { quoted(value) };
            format!("\"{name}\": {value}")
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
    };
    lines[1..].iter().map(object).collect()
}

/// Predictions of two classes and their labels, in the spelling of each.
fn classes(story: &Story, predicted: [&str; 2], labels: [&str; 2]) -> Vec<String> {
    let rows = story.requests.iter().enumerate().map(|(at, row)| {
        let label = at % 2;
        let prediction = if row.correct { label } else { 1 - label };
        format!("{},{},{}", row.id, predicted[prediction], labels[label])
    });
    std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
}

/// Purchases without their times, so many times over.
fn untimed(story: &Story, copies: usize) -> Vec<String> {
    let rows = story.purchases.iter().map(|row| format!("{},{}", row.unit, row.revenue));
    let rows: Vec<String> = rows.collect();
    let all = std::iter::repeat_n(rows, copies).flatten();
    std::iter::once("unit,revenue".to_owned()).chain(all).collect()
}

pub(super) const CASES: &[Case] = &[
    // ---- Sound ---------------------------------------------------------------------------------------------------
    case("the story by unit", UNITS, "promote", |_| {}),
    case("the story by request", REQUESTS, "promote", |_| {}),
    case("semicolons, decimal commas and CRLF", UNITS, "promote", |story| {
        story.table = |lines| {
            let text = lines.join("\r\n").replace(',', ";");
            let rows = text.split("\r\n").map(|row| match row.rsplit_once(';') {
                Some((rest, value)) => format!("{rest};{}\r\n", value.replace('.', ",")),
                None => row.to_owned(),
            });
            rows.collect::<String>().into_bytes()
        };
    }),
    case("UTF-16 with tabs", UNITS, "promote", |story| story.table = utf16),
    case("a log of containerd", UNITS, "promote", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            format!("{}000Z stdout F {}", time.trim_end_matches('Z'), line(request, &time, "shop"))
        };
    }),
    case("a log of Docker", UNITS, "promote", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            let log = quoted(&(line(request, &time, "shop") + "\n"));
            format!(r#"{{"log":{log},"stream":"stdout","time":"{time}"}}"#)
        };
    }),
    case("kubectl logs --prefix, with lines of the application", UNITS, "promote", |story| {
        story.line = |request, at| {
            let line = line(request, &rfc3339(request.time), "shop");
            let other =
                if at % 3 == 0 { "[pod/shop-0/proxy] info\tenvoy main\tstarting\n" } else { "" };
            format!("{other}[pod/shop-0/proxy] {line}")
        };
    }),
    case("a rotated file overlaps", UNITS, "promote", |story| story.twice = true),
    case("every line twice, by request", REQUESTS, "promote", |story| {
        story.log = |lines| plain(&[lines, lines].concat());
    }),
    case("epoch times, and numbers as units", UNITS, "promote", |story| {
        story.time = |time| time.to_string();
        story.line = |request, _| {
            let line = line(request, "TIME", "shop").replace("\"TIME\"", &request.time.to_string());
            let unit = format!("\"unit\":{}", 9_007_199_254_740_993 + request.user);
            line.replace(" unit=", " other=").replace("\"phase\":null", &unit)
        };
        for row in &mut story.purchases {
            row.unit = (9_007_199_254_740_993 + row.user).to_string();
        }
    }),
    case("a space in the times, and no offset", UNITS, "promote", |story| {
        story.time = |time| rfc3339(time).replace('T', " ").replace('Z', "");
    }),
    case("one value in two hundred cannot be read", UNITS, "promote", |story| {
        spoil(story, 200, "NULL");
    }),
    case("a column of text, and one without a name", UNITS, "promote", |story| {
        story.by_unit = |story| story.rows("unit,time,revenue,country,", extra(",DE,7"));
    }),
    case("the outcomes' clock is a second behind", UNITS, "promote", |story| {
        for (at, row) in story.purchases.iter_mut().enumerate() {
            row.time -= if at % 4 == 0 { 3_600_000 } else { 0 };
        }
        story.purchases.iter_mut().for_each(|row| row.time += 3_599_000);
    }),
    case("callers that cancel over HTTP/2", REQUESTS, "keep_baseline", |story| {
        for request in story.requests.iter_mut().filter(|request| request.fancy).step_by(8) {
            (request.status, request.flags) = (0, "DR");
        }
    }),
    case("purchases from before the experiment", UNITS, "promote", |story| {
        let mut old = story.purchases.clone();
        old.iter_mut().for_each(|row| row.time -= 40 * 86_400_000);
        story.purchases.extend(old);
    }),
    case("seconds with three decimals", UNITS, "promote", |story| {
        for row in &mut story.purchases {
            row.revenue = format!("{:.3}", row.revenue.parse::<f64>().unwrap() / 12.0);
        }
    }),
    case("up to three decimals beside whole numbers", UNITS, "promote", |story| {
        for (at, row) in story.purchases.iter_mut().enumerate() {
            let value = row.revenue.parse::<f64>().unwrap();
            let thousandths = (1000.0 * value).round() / 1000.0 + [0.0, 0.125, 0.5][at % 3];
            row.revenue = if at % 5 == 0 { format!("{value:.0}") } else { thousandths.to_string() };
        }
    }),
    case("lines of other programs break off", UNITS, "promote", |story| {
        story.line = |request, at| {
            let line = line(request, &rfc3339(request.time), "shop");
            let other =
                if at % 3 == 0 { "{\"level\":\"info\",\"time\":\"2026-11\n{\n" } else { "" };
            format!("{other}{line}")
        };
    }),
    case("one line in four hundred is cut", UNITS, "promote", |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            line.truncate(if at % 400 == 0 { 40 } else { line.len() });
            line
        };
    }),
    case("a log of Elasticsearch", UNITS, "promote", |story| {
        story.line = |request, _| {
            let line = line(request, &rfc3339(request.time), "shop");
            format!(
                r#"{{"_index":"logs","_source":{{"stream":"stdout","message":{}}}}}"#,
                quoted(&line)
            )
        };
    }),
    case("a log of Loki", UNITS, "promote", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            let line = quoted(&line(request, &time, "shop"));
            format!(r#"{{"labels":{{"app":"shop"}},"line":{line},"timestamp":"{time}"}}"#)
        };
    }),
    case("outcomes as JSON, one object per line", UNITS, "promote", |story| {
        story.table = |lines| plain(&objects(lines));
    }),
    case("outcomes as a JSON array", UNITS, "promote", |story| {
        story.table = |lines| format!("[\n{}\n]\n", objects(lines).join(",\n")).into_bytes();
    }),
    case("predictions as True, labels as 1", REQUESTS, "promote", |story| {
        story.by_request = |story| classes(story, ["True", "False"], ["1", "0"]);
    }),
    case("classes in other letters", REQUESTS, "promote", |story| {
        story.by_request = |story| classes(story, ["New York", "Berlin"], ["new_york", "berlin"]);
    }),
    case("y_true and y_pred", REQUESTS, "promote", |story| {
        story.by_request = |story| {
            let mut lines = classes(story, ["1", "0"], ["1.0", "0.0"]);
            lines[0] = "request_id,y_pred,y_true".to_owned();
            lines
        };
    }),
    case("no times", UNITS, "promote", |story| {
        story.by_unit = |story| untimed(story, 1);
    }),
    case(
        "two files with their headers, joined, and one of them again",
        UNITS,
        "promote",
        |story| {
            story.by_unit = |story| {
                let lines = story.rows("unit,time,revenue", |row| row.revenue.clone());
                let (one, two) = lines.split_at(lines.len() / 2);
                let header = &lines[..1];
                [one, header, two, header, two].concat()
            };
        },
    ),
    with(
        &["--metric", "cost:decrease"],
        case("a cost whose direction is given", UNITS, "keep_baseline", |story| {
            story.by_unit = |story| story.rows("unit,time,cost", |row| row.revenue.clone());
        }),
    ),
    case("many objects of JSON on one line", UNITS, "promote", |story| {
        story.table = |lines| {
            let rows = objects(lines);
            let (one, two) = rows.split_at(rows.len() / 2);
            format!("{}\n[{}]\n{}\n", one[0], one[1..].join(","), two.concat()).into_bytes()
        };
    }),
    case(
        "purchases of each user from the days before the first request",
        UNITS,
        "promote",
        |story| {
            let mut old = story.purchases.clone();
            for (at, row) in old.iter_mut().enumerate() {
                row.time -= 4_000_000 + at as u64 * 7919 % 60 * 3_600_000;
            }
            story.purchases.extend(old);
        },
    ),
    case("no difference", UNITS, "inconclusive", |story| {
        for row in story.purchases.iter_mut().filter(|row| row.fancy) {
            row.revenue = format!("{:.2}", row.revenue.parse::<f64>().unwrap() / 1.5);
        }
    }),
    // ---- Values that cannot be read ------------------------------------------------------------------------------
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
    // ---- Rows that cannot be read --------------------------------------------------------------------------------
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
    // ---- Nothing fits --------------------------------------------------------------------------------------------
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
    // ---- One variant has less ------------------------------------------------------------------------------------
    case("labels of one variant are missing", REQUESTS, "invalid", |story| {
        story.by_request = |story| {
            let rows = story.requests.iter().enumerate();
            let rows = rows.filter(|(at, row)| row.status == 200 && !(row.fancy && at % 5 == 0));
            let rows = rows.map(|(_, row)| format!("{},{}", row.id, u8::from(row.correct)));
            std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
        };
    }),
    case("one variant has no rows", UNITS, "invalid", |story| {
        story.purchases.retain(|row| row.fancy);
    }),
    case("labels of one variant are a word for a missing value", REQUESTS, "invalid", |story| {
        story.by_request = |story| {
            let rows = story.requests.iter().enumerate().map(|(at, row)| {
                let label = if !row.fancy && at % 8 == 0 { "NULL" } else { "cat" };
                format!("{},{},{label}", row.id, if row.correct { "cat" } else { "dog" })
            });
            std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
        };
    }),
    case("a column has the name of a built-in metric", REQUESTS, "error", |story| {
        story.by_request = |story| {
            let rows =
                story.requests.iter().map(|row| format!("{},{},0", row.id, u8::from(row.correct)));
            std::iter::once("request_id,correct,error_rate".to_owned()).chain(rows).collect()
        };
    }),
    with(
        &["--metric", "revenue=mean:absent=missing"],
        case("ratings of one variant are missing", UNITS, "invalid", |story| {
            story.purchases = story
                .purchases
                .drain(..)
                .enumerate()
                .filter(|(at, row)| !(row.fancy && at % 3 == 0))
                .map(|(_, row)| row)
                .collect();
        }),
    ),
    case("lines of one variant are missing", UNITS, "invalid", |story| {
        let mut at = 0;
        story.requests.retain(|request| {
            at += 1;
            !(request.fancy && at % 4 == 0)
        });
    }),
    case("the lines of one variant are missing on a day", UNITS, "invalid", |story| {
        let day = story.requests[0].time / 86_400_000 + 2;
        story.requests.retain(|request| !(request.fancy && request.time / 86_400_000 == day));
    }),
    case("a split that is not the configured one", UNITS, "invalid", |story| {
        story.requests.retain(|request| !(request.fancy && request.user % 5 == 0));
    }),
    case("a bot", REQUESTS, "inconclusive", |story| {
        let mut bot = story.requests.iter().find(|request| request.fancy).unwrap().clone();
        for number in 0..6000 {
            bot.id = format!("b0b0b0b0-0000-4000-8000-{number:012x}");
            bot.time += 1000;
            bot.correct = true;
            story.requests.push(bot.clone());
        }
    }),
    case("several bots, each below a fifth of the requests", REQUESTS, "invalid", |story| {
        for number in 0..12 {
            let mut bot =
                story.requests.iter().filter(|row| row.fancy).nth(97 * number).unwrap().clone();
            for visit in 0..900 {
                bot.id = format!("b0b0b0b0-{number:04x}-4000-8000-{visit:012x}");
                bot.time += 1000;
                (bot.status, bot.flags, bot.correct) = (200, "-", true);
                story.requests.push(bot.clone());
            }
        }
        // Without them, the variants are equal.
        for (at, request) in story.requests.iter_mut().enumerate() {
            if !request.id.starts_with("b0b0b0b0") {
                request.correct = at * 7919 % 10 < 8;
            }
        }
    }),
    case("many bots with equally many requests", UNITS, "invalid", |story| {
        for number in 0..40 {
            let mut users = story.requests.iter().filter(|row| row.fancy);
            let mut bot = users.nth(97 * number).unwrap().clone();
            for visit in 0..60 {
                bot.id = format!("b0b0b0b0-{number:04x}-4000-8000-{visit:012x}");
                bot.time += 60_000;
                story.requests.push(bot.clone());
            }
        }
    }),
    case("users with heavy tails in both variants", REQUESTS, "promote", |story| {
        let requests = story.requests.clone();
        for (at, request) in requests.into_iter().enumerate() {
            // Pareto with shape 1.2, by ranks.
            let rank = at * 7919 % 10_501 + 1;
            let visits = (10_501.0 / rank as f64).powf(1.0 / 1.2) as u64;
            for visit in 1..visits.min(400) {
                let mut more = request.clone();
                more.id = format!("{:08x}-{visit:04x}-4000-9000-{at:012x}", request.user);
                more.time += 1000 * visit;
                more.correct =
                    (at as u64 * 31 + visit * 7919) % 20 < if request.fancy { 19 } else { 15 };
                story.requests.push(more);
            }
        }
    }),
    case("the lines of one variant's failures are missing", REQUESTS, "invalid", |story| {
        story.requests.retain(|request| !(request.fancy && request.status == 503));
    }),
    case("labels of failed requests too", REQUESTS, "inconclusive", |story| {
        // The baseline fails more often, and all its requests have labels.
        let plain = story.requests.iter_mut().filter(|request| !request.fancy);
        plain.step_by(9).for_each(|request| request.status = 503);
        story.by_request = |story| {
            let rows =
                story.requests.iter().map(|row| format!("{},{}", row.id, u8::from(row.correct)));
            std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
        };
    }),
    with(
        &["--metric", "revenue=ratio"],
        case("orders of one variant are missing, per order", UNITS, "invalid", |story| {
            story.purchases = story
                .purchases
                .drain(..)
                .enumerate()
                .filter(|(at, row)| !(row.fancy && at % 4 == 0))
                .map(|(_, row)| row)
                .collect();
        }),
    ),
    with(
        &["--planned-units", "2000"],
        case("units are planned, but the log has none", REQUESTS, "invalid", |story| {
            story.line = |request, _| {
                let line = line(request, &rfc3339(request.time), "shop");
                let unit = format!(" unit={}", request.unit);
                line.replace(&unit, "")
            };
        }),
    ),
    case("units of two salts", UNITS, "invalid", |story| {
        for (at, request) in story.requests.iter_mut().enumerate() {
            if at % 10 == 0 {
                request.fancy = !request.fancy;
                request.bucket = (request.bucket + 500_000) % 1_000_000;
            }
        }
    }),
    // ---- Lines that cannot be read -------------------------------------------------------------------------------
    case("lines that are cut off", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            if at % 40 == 0 {
                line.truncate(line.len() - 9);
            }
            line
        };
    }),
    case("lines that are cut before the experiment's name", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            line.truncate(if at % 40 == 0 { 2 + at % 150 } else { line.len() });
            line
        };
    }),
    case("lines of Docker that are cut within", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let time = rfc3339(request.time);
            let mut line = line(request, &time, "shop");
            line.truncate(if at % 40 == 0 { 60 } else { line.len() });
            format!(r#"{{"log":{},"stream":"stdout","time":"{time}"}}"#, quoted(&line))
        };
    }),
    case("zeros of a full disk", UNITS, "invalid", |story| {
        story.line = |request, at| match at % 40 {
            0 => "\0".repeat(200),
            _ => line(request, &rfc3339(request.time), "shop"),
        };
    }),
    case("no line of the experiment can be read", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let line = line(request, &rfc3339(request.time), "shop");
            format!("{{\"level\":\"info\"}}\n{}", line.replace("\"status\":", "\"status\":-"))
        };
    }),
    case("the answer of a log store", UNITS, "invalid", |story| {
        story.log = |lines| {
            let values: Vec<String> =
                lines.iter().map(|line| format!("[\"1\",{}]", quoted(line))).collect();
            format!("{{\"data\":{{\"result\":[{{\"values\":[{}]}}]}}}}", values.join(","))
                .into_bytes()
        };
    }),
    case("an empty log", UNITS, "invalid", |story| story.log = |_| Vec::new()),
    case("the log of another experiment", UNITS, "invalid", |story| {
        story.line = |request, _| line(request, &rfc3339(request.time), "shop-2");
    }),
    case("Istio's default text", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            format!(
                "[{time}] \"POST /predict HTTP/1.1\" 200 - via_upstream - \"-\" 5 7 {} 3",
                request.duration
            )
        };
    }),
    case("Istio's default JSON", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            format!(
                r#"{{"start_time":"{time}","method":"POST","response_code":200,"duration":{}}}"#,
                request.duration
            )
        };
    }),
    case("lines that the runtime has split", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            let line = line(request, &time, "shop");
            let (head, tail) = line.split_at(100);
            format!("{time} stdout P {head}\n{time} stdout F {tail}")
        };
    }),
];
