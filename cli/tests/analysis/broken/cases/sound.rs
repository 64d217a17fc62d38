//! Sound data: they must decide.

use super::*;

pub(super) const CASES: &[Case] = &[
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
    case("names of columns in other letters, below a comment", UNITS, "promote", |story| {
        story.by_unit = |story| {
            let mut lines = story.rows("Unit,Time,revenue", |row| row.revenue.clone());
            lines.insert(0, "# exported by the shop on 2026-11-30".to_owned());
            lines
        };
    }),
    case("outcomes of many more users than the experiment has", UNITS, "promote", |story| {
        let mut others = Vec::new();
        for number in 0..6 {
            for mut row in story.purchases.clone() {
                row.unit = format!("user-{}", 1_000_000 * (number + 1) + row.user);
                others.push(row);
            }
        }
        story.purchases.extend(others);
    }),
    with(
        &["--metric", "points"],
        case("points from one on, named as a metric", UNITS, "inconclusive", |story| {
            for (at, row) in story.purchases.iter_mut().enumerate() {
                row.revenue = (at + 1).to_string();
            }
            story.by_unit = |story| story.rows("unit,time,points", |row| row.revenue.clone());
        }),
    ),
];
