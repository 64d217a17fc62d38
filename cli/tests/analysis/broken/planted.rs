//! Each check is the only one that finds what is planted for it, so a check that is lost is missed.

#[path = "planted/more.rs"]
mod more;

use serde_json::Value;
use sidetrack_analysis::CheckName;

use super::story::{self, DAYS, Purchase, Request, Story, line, plain, rfc3339};
use crate::Folder;
use crate::crowd::START;

/// What is planted for a check.
struct Plant {
    name: CheckName,
    outcomes: &'static str,
    options: &'static [&'static str],
    /// `blocking` or `warning`.
    state: &'static str,
    change: fn(&mut Story),
}

const UNITS: &str = "by_unit.csv";
const REQUESTS: &str = "by_request.csv";

const fn plant(name: CheckName, outcomes: &'static str, change: fn(&mut Story)) -> Plant {
    Plant { name, outcomes, options: &[], state: "blocking", change }
}

const fn warning(name: CheckName, outcomes: &'static str, change: fn(&mut Story)) -> Plant {
    Plant { state: "warning", ..plant(name, outcomes, change) }
}

/// Requests of a user of one variant who comes very often; all predictions are right if `right`.
fn bot(story: &mut Story, fancy: bool, number: u64, requests: u64, right: bool) {
    let user = |request: &&Request| request.fancy == fancy && request.user % 97 == number;
    let mut bot = story.requests.iter().find(user).unwrap().clone();
    (bot.status, bot.flags) = (200, "-");
    for visit in 0..requests {
        bot.id = format!("b0b0b0b0-{number:04x}-4000-8{:03x}-{visit:012x}", u8::from(fancy));
        bot.time += 20_000;
        bot.correct = right || visit % 5 > 0;
        story.requests.push(bot.clone());
    }
}

/// Makes the variants equally good.
fn equal(story: &mut Story) {
    for (at, request) in story.requests.iter_mut().enumerate() {
        request.correct = at * 7919 % 10 < 8;
    }
}

thread_local! {
    /// Rows that a story had before its lines were changed.
    static ROWS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The digest of a unit under a salt.
fn pseudonym(salt: &str, unit: &str) -> String {
    let text = [b"exposure1\0", salt.as_bytes(), b"\0", unit.as_bytes()].concat();
    let digest = sidetrack::draw::sha256(&text);
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The line of a request, which names the trial or not.
fn told(request: &Request, names: bool) -> String {
    thread_local! {
        static TRIAL: String =
            sidetrack::exposure::trial(&crate::crowd::experiment(story::EXPERIMENT));
    }
    let line = line(request, &rfc3339(request.time), "shop");
    let trial = TRIAL.with(|trial| format!("trial={trial} reason=hash"));
    if names { line.replace("reason=hash", &trial) } else { line }
}

/// Outcomes without their times.
fn untimed(story: &Story) -> Vec<String> {
    let row = |row: &Purchase| format!("{},{}", row.unit, row.revenue);
    std::iter::once("unit,revenue".to_owned()).chain(story.purchases.iter().map(row)).collect()
}

const PLANTS: &[Plant] = &[
    plant(CheckName::MatchedRows, UNITS, |story| {
        story.purchases.iter_mut().for_each(|row| row.unit.insert(0, 'x'));
    }),
    plant(CheckName::EndingRows, UNITS, |story| {
        // The export of plain is a day old.
        let end = story.requests.last().unwrap().time - 86_400_000;
        story.purchases.retain(|row| row.fancy || row.time < end);
    }),
    plant(CheckName::UnmatchedRows, UNITS, |story| {
        // A part of the export writes ids in capitals.
        story.purchases.iter_mut().step_by(9).for_each(|row| row.unit = row.unit.to_uppercase());
    }),
    plant(CheckName::UnmatchedRows, UNITS, |story| {
        // So few lost users are within the chance of the split.
        story.requests.retain(|row| !(row.fancy && row.user % 20 == 0));
    }),
    plant(CheckName::UnmatchedRows, REQUESTS, |story| {
        // The log of one proxy is missing, but its labels are there.
        let mut at = 0;
        let by_request = (story.by_request)(story);
        story.requests.retain(|_| {
            at += 1;
            at % 3 == 0
        });
        ROWS.with_borrow_mut(|rows| *rows = by_request);
        story.by_request = |_| ROWS.with_borrow(Clone::clone);
    }),
    plant(CheckName::ValueScale, UNITS, |story| {
        for row in story.purchases.iter_mut().filter(|row| row.fancy) {
            row.revenue = format!("{:.0}", row.revenue.parse::<f64>().unwrap() * 100.0);
        }
    }),
    plant(CheckName::ValueScale, REQUESTS, |story| {
        // One variant's score is a share, and the other's in percent.
        story.by_request = |story| {
            let rows = story.requests.iter().enumerate().map(|(at, row)| {
                let score = 0.5 + (at * 7919 % 100) as f64 / 200.0;
                format!("{},{:.3}", row.id, score * if row.fancy { 100.0 } else { 1.0 })
            });
            std::iter::once("request_id,score".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::LargeValues, UNITS, |story| {
        // The variants are equal but for the accounts with which one of them was tested.
        let mut tests = 0;
        for row in story.purchases.iter_mut().filter(|row| row.fancy) {
            let value = row.revenue.parse::<f64>().unwrap() / 1.5;
            tests += 1;
            row.revenue = format!("{:.2}", if tests % 25 == 0 { 9999.0 } else { value });
        }
    }),
    plant(CheckName::UntoldTrials, UNITS, |story| {
        // Another salt drew the first users, before the lines named their trial.
        for request in story.requests.iter_mut().filter(|row| row.user < 1500) {
            request.bucket = (request.bucket + 250_000) % 1_000_000;
            request.fancy = request.bucket < 500_000;
        }
        story.line = |request, _| told(request, request.user >= 1500);
    }),
    plant(CheckName::UntoldTrials, UNITS, |story| {
        // The same with digests, which do not show the salt.
        story.line = |request, _| {
            let salt = if request.user < 1500 { "old" } else { "shop-1" };
            let digest = pseudonym(salt, &request.unit);
            let line = told(request, request.user >= 1500);
            line.replace(&format!("unit={}", request.unit), &format!("unit={digest}"))
        };
    }),
    plant(CheckName::UnitsNamedTwice, UNITS, |story| {
        // exposure_unit was changed on the third day.
        story.line = |request, _| {
            let line = line(request, &rfc3339(request.time), "shop");
            let is_plain = request.time < START + DAYS / 2 * 86_400_000;
            let digest = format!("unit={}", pseudonym("shop-1", &request.unit));
            if is_plain { line } else { line.replace(&format!("unit={}", request.unit), &digest) }
        };
    }),
    plant(CheckName::MalformedRows, UNITS, |story| {
        story.purchases.iter_mut().step_by(40).for_each(|row| row.unit.clear());
    }),
    plant(CheckName::UnreadableValues, UNITS, |story| {
        story.purchases.iter_mut().step_by(40).for_each(|row| row.revenue = "NULL".to_owned());
    }),
    plant(CheckName::AmbiguousRows, UNITS, |story| {
        story.by_unit = untimed;
        story.log = |lines| {
            let other = |line: &String| line.replace("reason=hash", "trial=0a1b2c3d reason=hash");
            plain(&[lines, &lines.iter().map(other).collect::<Vec<_>>()].concat())
        };
    }),
    plant(CheckName::EarlyRows, UNITS, |story| {
        for row in &mut story.purchases {
            row.time -= row.time % 3_600_000 % 7 * 120_000;
        }
    }),
    plant(CheckName::RepeatedRows, UNITS, |story| {
        story.by_unit = |story| {
            let lines = untimed(story);
            [&lines[..], &lines[lines.len() / 2..]].concat()
        };
    }),
    plant(CheckName::DamagedLines, UNITS, |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            if at % 40 == 0 {
                line.truncate(line.len() - 9);
            }
            line
        };
    }),
    warning(CheckName::RepeatedLines, UNITS, |story| story.twice = true),
    plant(CheckName::RequestsPerUnit, UNITS, |story| {
        let mut met = std::collections::BTreeSet::new();
        // The first line of each user stays, so the split does.
        story.requests.retain(|row| met.insert(row.user) || !row.fancy || row.time % 3 > 0);
    }),
    plant(CheckName::LabelCoverage, REQUESTS, |story| {
        story.by_request = |story| {
            let rows = story.requests.iter().enumerate();
            let rows = rows.filter(|(at, row)| row.status == 200 && !(row.fancy && at % 5 == 0));
            let rows = rows.map(|(_, row)| format!("{},{}", row.id, u8::from(row.correct)));
            std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::UnitsPerDay, UNITS, |story| {
        let first = story.requests[0].time / 86_400_000;
        // Users of one variant begin a day later than they did, in equal numbers.
        let users = 3000 / DAYS;
        story.requests.retain(|row| {
            let joined = row.user / users;
            let lost = if row.fancy { joined == 1 } else { joined == 3 };
            !lost || row.time / 86_400_000 < first
        });
    }),
    plant(CheckName::FailedLines, REQUESTS, |story| {
        story.requests.retain(|row| !(row.fancy && row.status == 503));
    }),
    plant(CheckName::ClientErrors, UNITS, |story| {
        let answered = |row: &&mut Request| row.fancy && row.status == 200;
        story.requests.iter_mut().filter(answered).step_by(4).for_each(|row| row.status = 404);
    }),
    plant(CheckName::FailedLines, REQUESTS, |story| {
        // A single one is left.
        let mut failed = 0;
        story.requests.retain(|row| {
            failed += u32::from(row.fancy && row.status == 503);
            !(row.fancy && row.status == 503) || failed == 1
        });
    }),
    warning(CheckName::FailedLines, REQUESTS, |story| {
        // A candidate that never fails, beside a few failures.
        let mut failed = 0;
        for row in story.requests.iter_mut().filter(|row| row.status == 503) {
            failed += u32::from(!row.fancy);
            if row.fancy || failed > 24 {
                row.status = 200;
            }
        }
    }),
    warning(CheckName::FailedLines, REQUESTS, |story| {
        story.requests.retain(|row| row.fancy || row.status != 503);
    }),
    warning(CheckName::EffectiveUnits, REQUESTS, |story| bot(story, true, 1, 6000, false)),
    plant(CheckName::HeavyUnits, UNITS, |story| {
        (0..25).for_each(|number| bot(story, true, number, 20, false));
    }),
    plant(CheckName::FewUnits, REQUESTS, |story| {
        equal(story);
        (0..22).for_each(|number| bot(story, true, number, 900, true));
        (0..12).for_each(|number| bot(story, false, number, 20, false));
    }),
    plant(CheckName::TornUnits, UNITS, |story| {
        for (at, request) in story.requests.iter_mut().enumerate() {
            if at % 25 == 0 {
                request.fancy = !request.fancy;
                request.bucket = (request.bucket + 500_000) % 1_000_000;
            }
        }
    }),
    warning(CheckName::Skewness, UNITS, |story| {
        let purchases = story.purchases.iter_mut().step_by(80);
        purchases.for_each(|row| row.revenue = format!("9{}", row.revenue));
    }),
    plant(CheckName::SharedRows, REQUESTS, |story| {
        // A client sends one id with a third of its requests.
        for request in story.requests.iter_mut().filter(|row| row.fancy && row.user % 3 == 0) {
            request.id = "00000000-0000-4000-8000-000000000000".to_owned();
            (request.status, request.flags, request.correct) = (200, "-", true);
        }
        story.by_request = |story| {
            let rows = story.requests.iter().filter(|request| request.status == 200);
            let rows: std::collections::BTreeSet<_> =
                rows.map(|row| format!("{},{}", row.id, u8::from(row.correct))).collect();
            std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::PredictedClasses, REQUESTS, |story| {
        // The candidate answers with names, and the labels are numbers.
        story.by_request = |story| {
            let rows = story.requests.iter().filter(|request| request.status == 200);
            let rows = rows.enumerate().map(|(at, row)| {
                let label = at % 3;
                let class = if row.correct { label } else { (label + 1) % 3 };
                let names = if row.fancy { ["cat", "dog", "cow"] } else { ["0", "1", "2"] };
                format!("{},{},{label}", row.id, names[class])
            });
            std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::PredictedClasses, REQUESTS, |story| {
        // The candidate counts its classes from one.
        story.by_request = |story| {
            let rows = story.requests.iter().filter(|request| request.status == 200);
            let rows = rows.enumerate().map(|(at, row)| {
                let label = at % 10;
                let class = if row.correct { label } else { (label + 3) % 10 };
                format!("{},{},{label}", row.id, class + usize::from(row.fancy))
            });
            std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::ConflictingRows, REQUESTS, |story| {
        story.table = |lines| {
            let again = lines.iter().skip(1).step_by(30).map(|row| {
                if row.ends_with('1') { row.replace(",1", ",0") } else { row.replace(",0", ",1") }
            });
            plain(&lines.iter().cloned().chain(again).collect::<Vec<_>>())
        };
    }),
];

/// The analysis of a story, with these options.
fn analyzed(folder: &Folder, plant: &Plant, more: &[&str]) -> (Value, String, i32) {
    let mut arguments = vec!["analyze", "run", "experiment.json", "--exposures", "logs/access.log"];
    if folder.path().join("logs/access.log.1").exists() {
        arguments.push("logs/access.log.1");
    }
    arguments.extend(["--outcomes", plant.outcomes]);
    arguments.extend(["--guardrail", "error_rate:3pt", "--guardrail", "latency_p95:40%"]);
    arguments.extend(plant.options);
    arguments.extend(more);
    let (code, text, _) = folder.text(&arguments);
    arguments.push("--json");
    let json = folder.run(&arguments);
    (serde_json::from_slice(&json.stdout).unwrap(), text, code)
}

/// The names of the checks in this state.
fn names<'a>(analysis: &'a Value, state: &str) -> Vec<&'a str> {
    let checks = analysis["checks"].as_array().unwrap().iter();
    let mut names: Vec<&str> = checks
        .filter(|check| check["state"] == state)
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    names.dedup();
    names
}

fn folder(plant: &Plant, story: &Story) -> Folder {
    let folder = Folder::new();
    folder.write("experiment.json", story::EXPERIMENT);
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let mut story = story.clone();
    (plant.change)(&mut story);
    story.write(&folder);
    folder
}

#[test]
fn each_check_finds_what_is_planted_for_it() {
    let planted: Vec<CheckName> = PLANTS.iter().chain(more::MORE).map(|plant| plant.name).collect();
    let mut all = CheckName::ALL.to_vec();
    // The story's lines are served as assigned; `endings` plants others. It has no model, no segments and no trend:
    // `analyze/tests` and `tests/days` of the analysis plant these.
    let elsewhere = [
        CheckName::NeverServed,
        CheckName::LabelClasses,
        CheckName::SegmentValues,
        CheckName::SegmentSplit,
        CheckName::SegmentSum,
        CheckName::EffectTrend,
    ];
    all.retain(|name| !planted.contains(name) && !elsewhere.contains(name));
    assert!(all.is_empty(), "nothing is planted for {all:?}");
    let story = Story::new();
    let mut wrong = Vec::new();
    for plant in PLANTS.iter().chain(more::MORE) {
        let (folder, name) = (folder(plant, &story), plant.name.as_str());
        let (found, text, code) = analyzed(&folder, plant, &[]);
        let blocks = plant.state == "blocking";
        let state = names(&found, plant.state);
        let only = if blocks { state == [name] } else { state.contains(&name) };
        let decided = (found["decision"] == "invalid", code == 1) == (blocks, blocks);
        if !only || !decided || found["srm"]["verdict"] != "ok" {
            wrong.push(format!("{name}: {state:?}, exit {code}\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_check_that_is_allowed_is_marked_in_every_output() {
    let story = Story::new();
    // Without a row that matches there is nothing to decide from.
    let blocking = PLANTS.iter().filter(|plant| plant.state == "blocking");
    for plant in blocking.filter(|plant| plant.name != CheckName::MatchedRows) {
        let (folder, name) = (folder(plant, &story), plant.name.as_str());
        let (found, text, code) =
            analyzed(&folder, plant, &["--allow", name, "--html", "page.html"]);
        assert_ne!(found["decision"], "invalid", "{name}: {text}");
        assert_eq!((names(&found, "accepted"), code), (vec![name], 0), "{name}: {text}");
        let exploratory = found["plan"]["exploratory"].to_string();
        let mark = format!("the check {name} failed, and --allow {name} decides anyway");
        assert!(exploratory.contains(&mark), "{exploratory}");
        let head = format!("(exploratory: although {name} failed)");
        assert!(text.lines().next().unwrap().contains(&head), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&format!("exploratory: {mark}")), "{text}");
        assert!(words.contains(&format!("(accepted by --allow {name})")), "{text}");
        let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
        assert!(page.contains(&head) && page.contains(&mark), "{name}");
    }
}

/// What is planted for a check.
fn planted(name: CheckName) -> &'static Plant {
    PLANTS.iter().find(|plant| plant.name == name).unwrap()
}

#[test]
fn the_split_of_a_day_is_accepted_with_the_split() {
    let story = Story::new();
    let plant = planted(CheckName::UnitsPerDay);
    let (found, text, code) = analyzed(&folder(plant, &story), plant, &["--allow-srm"]);
    assert_eq!((names(&found, "accepted"), code), (vec!["units_per_day"], 0), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("(accepted by --allow-srm, as a part of the split)"), "{text}");
    assert!(words.contains("units_per_day failed, and --allow-srm decides anyway"), "{text}");
    assert!(!words.contains("--allow units_per_day"), "{text}");
}

/// All users of a variant come half as often again.
#[test]
fn a_variant_whose_users_all_come_more_often_needs_one_permission() {
    let plant = Plant {
        state: "warning",
        ..plant(CheckName::HeavyUnits, UNITS, |story| {
            let more = story.requests.clone();
            // Only users with many requests are heavy.
            for (at, mut request) in more.into_iter().enumerate() {
                let heavy = request.user % 40 == 0;
                for visit in 0..if heavy { 12 } else { u64::from(at % 2 == 0) } {
                    if request.fancy || (visit > 0 && at % 6 == 0) {
                        request.id = format!("c0c0c0c0-{visit:04x}-4000-8000-{at:012x}");
                        request.time += 1000;
                        story.requests.push(request.clone());
                    }
                }
            }
        })
    };
    let folder = folder(&plant, &Story::new());
    let (found, text, code) = analyzed(&folder, &plant, &[]);
    assert_eq!((names(&found, "blocking"), code), (vec!["requests_per_unit"], 1), "{text}");
    assert!(names(&found, "warning").contains(&"heavy_units"), "{text}");
    let (found, text, code) = analyzed(&folder, &plant, &["--allow", "requests_per_unit"]);
    assert!((names(&found, "blocking").is_empty(), code) == (true, 0), "{text}");
}

#[test]
fn units_without_a_row_are_counted_as_zero_in_words() {
    let plant = Plant { state: "ok", ..plant(CheckName::LabelCoverage, UNITS, |_| {}) };
    let folder = folder(&plant, &Story::new());
    let (_, text, _) = analyzed(&folder, &plant, &[]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("% of the units have no row of revenue and count as 0"), "{text}");
    let rated = ["--metric", "revenue=mean:absent=missing"];
    let (found, text, _) = analyzed(&folder, &plant, &rated);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!words.contains("count as 0"), "{text}");
    let mut checks = found["checks"].as_array().unwrap().iter();
    let coverage = checks.find(|check| check["name"] == "label_coverage").unwrap();
    let message = coverage["message"].as_str().unwrap();
    assert!(message.contains("% of the baseline's units have it, and "), "{message}");
}
