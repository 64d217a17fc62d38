//! One variant has less than the other.

use super::*;

pub(super) const CASES: &[Case] = &[
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
];
