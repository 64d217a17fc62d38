//! Lines that are recognized mean what the parser finds in them, and all others are left to it.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::phases::Book;
use crate::row::{Aside, Excluded, MINUTE, OtherLine, Place, Row, Sink, Whose};
use crate::short::Short;
use crate::source::blocks::Block;
use crate::source::outcomes::Outcomes;
use crate::source::rules::LineRules;
use crate::source::torn::Start;
use crate::source::{AccessLogs, Item, Logs, Piece, Source as _, Trial, text_row, text_rows};
use crate::strata::Strata;
use crate::window::Window;

/// The baseline b, and c with the first half of the buckets of 40 % in phase one, of all in phase two.
const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
    "variants": [{"name": "b"}, {"name": "c"}], "rollout": {"start": "2026-11-23T09:00:00Z", "phases": [
        {"name": "one", "for": "1h", "weights": {"c": 20}}, {"name": "two", "weights": {"c": 40}}]}}]}"#;

/// 2026-11-23T09:00:00Z.
const NINE: u64 = 1_795_424_400_000;

/// All that a source says, in words.
#[derive(Default)]
struct Words(Vec<String>);

impl Sink for Words {
    fn row(&mut self, row: &Row, plan: Option<Short>) {
        self.0.push(format!("{row:?} {plan:?}"));
    }

    fn readable(&mut self, start: Start, is_ours: bool) {
        self.0.push(format!("{start:?} {is_ours}"));
    }

    fn default_log(&mut self) {
        self.0.push("default log".to_owned());
    }

    fn excluded(&mut self, why: Excluded) {
        self.0.push(format!("{why:?}"));
    }

    fn other_experiment(&mut self, name: Option<&str>) {
        self.0.push(format!("experiment {name:?}"));
    }

    fn other_trial(&mut self, line: &OtherLine) {
        self.0.push(format!("{line:?}"));
    }

    fn aside(&mut self, aside: Aside) {
        self.0.push(format!("{aside:?}"));
    }

    fn malformed(&mut self, place: Place, whose: Whose, problem: String) {
        self.0.push(format!("{place:?} {whose:?} {problem}"));
    }
}

/// What the lines of a text mean: as they are read, and as they are parsed. How many were recognized.
fn read(text: &[u8], window: Window, closed: &[u64]) -> (Words, Words, u64) {
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let strata = Strata::new(&experiment, "").unwrap();
    let trial: Short = sidetrack::exposure::trial(&experiment).parse().unwrap();
    let closed: BTreeSet<u64> = closed.iter().copied().collect();
    let logs = AccessLogs {
        logs: &Logs::new(&[]).unwrap(),
        experiment: &experiment,
        trial: Trial { wanted: trial, of_file: trial },
        window,
        book: &Book::new(&experiment, &strata),
        strata: &strata,
        timeline: None,
        outcomes: &Outcomes::default(),
        dimensions: &[],
        closed: &closed,
    };
    let block = || Block { file: 1, first_line: 7, text: text.to_vec(), too_long: 0, head: None };
    let (mut found, mut wanted) = (Words::default(), Words::default());
    let mut rules = LineRules::new(logs);
    text_rows(&mut rules, &block(), &mut found);
    let recognized = rules.recognized_lines();
    let mut parsing = LineRules::without_shapes(logs);
    logs.items(&Piece::Text(block()), &mut |place, position, item| {
        let Item::Text(line) = item else { panic!("no text") };
        text_row(&mut parsing, line, position, place, &mut wanted);
        true
    });
    // The source itself takes the same way.
    let mut whole = Words::default();
    logs.rows(&Piece::Text(block()), &mut whole);
    assert_eq!(whole.0, found.0);
    (found, wanted, recognized)
}

/// A time of the hour, mostly as Envoy writes it.
fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => (0..80u64, 0..61u64, 0..1000u64)
            .prop_map(|(m, s, ms)| format!("\"2026-11-23T09:{m:02}:{s:02}.{ms:03}Z\"")),
        2 => select(vec![
            "\"2026-11-24T00:00:00.000Z\"", "\"2026-11-23 09:00:00,5\"", "1795424400001", "17954244000.5",
            "\"1795424400\"", "null", "\"-\"", "\"\"", "\"noon\"", "\"2026-11-23T09:00:00.000\\u005a\"",
            "\"2026-11-23T09:00:00.123456Z\"", "[1]",
        ]).prop_map(str::to_owned),
    ]
}

/// An id, mostly as proxies write it.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => any::<u128>().prop_map(|id| format!("\"{id:032x}\"")),
        12 => any::<u128>().prop_map(|id| {
            let id = format!("{id:032x}");
            let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]];
            format!("\"{}\"", parts.join("-"))
        }),
        6 => (0..50u32).prop_map(|id| format!("\"user-{id}\"")),
        3 => (0..500u32).prop_map(|id| id.to_string()),
        2 => any::<u128>().prop_map(|id| format!("\"{id:032X}\"")),
        4 => select(vec![
            "null", "\"-\"", "\"\"", "\"\u{e4}\"", "\"a\\\"b\"", "\"\\u0061\"", "1.5", "-3", "017", "0", "true",
            "12345678901234567890", "123456789012345678901234", "{\"a\":1}", "\"0123456789abcdef0123456789abcde\"",
            "\"a unit=b\"", "\"a b=c\"",
        ]).prop_map(str::to_owned),
    ]
}

/// A whole number below the limit, mostly.
fn whole(limit: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (0..limit).prop_map(|number| number.to_string()),
        2 => (0..limit).prop_map(|number| format!("\"{number}\"")),
        1 => select(vec![
            "null", "\"-\"", "0", "00", "007", "\"007\"", "-1", "1.0", "1.5", "1e2", "4294967296", "\"+5\"",
            "99999999999999999999", "\"x\"",
        ]).prop_map(str::to_owned),
    ]
}

/// One of these, mostly the first ones.
fn one_of(common: &'static [&'static str], rare: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![12 => select(common), 1 => select(rare)].prop_map(str::to_owned).boxed()
}

/// An exposure, mostly as the proxy writes it.
fn exposure() -> BoxedStrategy<String> {
    let inside = |text: String| text.trim_matches('"').to_owned();
    let head = one_of(
        &[
            "trial=TRIAL config=1a weights=c=200000/400000 reason=hash",
            "weights=c=400000/400000 reason=probe",
        ],
        &["trial=0000000a weights=c=1/2", "reason=", "weights=x", "a", "bucket=5", "unit=x"],
    );
    let bucket =
        prop_oneof![9 => whole(1_000_000).prop_map(inside), 1 => Just("1 bucket=2".to_owned())];
    (head, prop::option::weighted(0.9, bucket), prop::option::weighted(0.9, id().prop_map(inside)))
        .prop_map(|(head, bucket, unit)| {
            let bucket = bucket.map(|it| format!(" bucket={it}")).unwrap_or_default();
            let unit = unit.map(|it| format!(" unit={it}")).unwrap_or_default();
            format!("\"{head}{bucket}{unit}\"")
        })
        .boxed()
}

/// A value for a key.
fn value(key: &str) -> BoxedStrategy<String> {
    match key {
        "time" => time().boxed(),
        "unit" | "request_id" => id().boxed(),
        "duration" => whole(5000).boxed(),
        "bucket" => whole(400_000).boxed(),
        "exposure" => exposure(),
        "experiment" => one_of(&["\"e\""], &["\"other\"", "null", "7", "\"\\u0065\""]),
        "assigned" | "served" => {
            one_of(&["\"b\"", "\"c\""], &["\"d\"", "\"\u{e4}\"", "null", "\"-\""])
        }
        "reason" => {
            one_of(&["\"hash\"", "null"], &["\"probe\"", "\"override\"", "\"x\"", "\"random\""])
        }
        "phase" => one_of(&["\"one\"", "\"two\""], &["null", "\"three\"", "\"-\""]),
        "status" => {
            one_of(&["200", "503", "404"], &["0", "\"200\"", "1000", "200.0", "null", "2000", "20"])
        }
        "flags" => one_of(&["\"-\"", "\"UF,URX\""], &["\"DC\"", "null", "\"\"", "\"UT, x\""]),
        "rescued" => one_of(&["true", "null"], &["false", "\"true\"", "1"]),
        "trial" | "plan" => {
            one_of(&["\"TRIAL\"", "\"0a1b2c3d\""], &["null", "\"x\"", "[1,{\"a\":2}]"])
        }
        _ => one_of(
            &[
                "\"/v2/models\"",
                "7",
                "\"a much longer path than the others\"",
                "1.25",
                "null",
                "true",
                "-4.0",
            ],
            &[
                "\"\u{e4}\"",
                "\"a\\tb\"",
                "{\"deep\":[1]}",
                "1e999",
                "1e5",
                "00",
                "\"\u{1}\"",
                "nul",
                "",
            ],
        ),
    }
}

const KEYS: [&str; 17] = [
    "time",
    "request_id",
    "experiment",
    "unit",
    "assigned",
    "served",
    "reason",
    "bucket",
    "phase",
    "status",
    "flags",
    "duration",
    "rescued",
    "path",
    "input_tokens",
    "exposure",
    "trial",
];

/// A damage to a line, at a place in thousandths of its length.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(usize),
    Byte(usize, u8),
    Twice(String, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let twice = select(KEYS.to_vec()).prop_flat_map(|key| {
        value(key).prop_map(move |value| Damage::Twice(key.to_owned(), value))
    });
    prop_oneof![
        16 => Just(Damage::None),
        1 => (0..1000usize).prop_map(Damage::Cut),
        2 => (0..1000usize, select(b"\"\\{}:,0 -\t\x01\xc3z\r\n".to_vec()))
            .prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => twice,
    ]
}

/// Lines with the same keys, but for a few.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let keys = (Just(KEYS.to_vec()).prop_shuffle(), 11..=KEYS.len(), any::<bool>());
    let layout = (keys, select(vec!["", "", " "]), select(vec!["\n", "\n", "\r\n", " \n", "\n\n"]));
    layout.prop_flat_map(|((mut order, count, has_exposure), space, end)| {
        // What the experiment needs is always there.
        let needed = ["time", "experiment", "assigned", "status", "duration"];
        let mut kept: Vec<&str> =
            order.iter().copied().filter(|key| needed.contains(key)).collect();
        order.retain(|key| {
            !needed.contains(key)
                && if has_exposure { !["unit", "bucket"].contains(key) } else { *key != "exposure" }
        });
        kept.extend(order.into_iter().take(count - needed.len()));
        kept.sort_by_key(|key| {
            key.bytes().fold(0u32, |hash, byte| hash * 31 % 101 + u32::from(byte))
        });
        let values: Vec<BoxedStrategy<String>> = kept.iter().map(|key| value(key)).collect();
        vec((values, damage()), 1..40).prop_map(move |lines| {
            let mut text = Vec::new();
            for (values, damage) in lines {
                let pairs = kept.iter().zip(&values);
                let mut pairs: Vec<String> =
                    pairs.map(|(key, value)| format!("\"{key}\":{space}{value}")).collect();
                if let Damage::Twice(key, value) = &damage {
                    pairs.push(format!("\"{key}\":{value}"));
                }
                let mut line = format!("{{{}}}", pairs.join(&format!(",{space}"))).into_bytes();
                match damage {
                    Damage::Cut(at) => line.truncate(at * line.len() / 1000),
                    Damage::Byte(at, byte) => {
                        let at = at * line.len() / 1000;
                        line[at] = byte;
                    }
                    Damage::None | Damage::Twice(..) => {}
                }
                text.extend(line);
                text.extend(end.as_bytes());
            }
            text
        })
    })
}

/// With the digest of the file's trial.
fn with_trial(text: &[u8]) -> Vec<u8> {
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let trial = sidetrack::exposure::trial(plan.experiments.iter().next().unwrap());
    let mut text = text.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(&text, b"TRIAL").collect();
    for at in places.into_iter().rev() {
        text.splice(at..at + 5, trial.bytes());
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_recognized_as_they_are_parsed(
        text in lines(),
        since in prop::option::weighted(0.2, 0..60u64),
        closed in vec(0..80u64, 0..3),
    ) {
        let text = with_trial(&text);
        let since = since.map(|minute| format!("2026-11-23T09:{minute:02}:00Z").parse().unwrap());
        let closed: Vec<u64> = closed.iter().map(|minute| NINE / MINUTE + minute).collect();
        let (found, wanted, _) = read(&text, Window { since, until: None }, &closed);
        prop_assert_eq!(found.0, wanted.0, "{}", text.escape_ascii());
    }
}

/// A hundred lines, as each of the formats has them.
fn formats() -> Vec<String> {
    let format = |line: &dyn Fn(u32) -> String| (0..100).map(|n| line(n) + "\n").collect();
    let (variant, status) =
        (|n| if n % 2 == 0 { 'b' } else { 'c' }, |n| if n % 7 == 0 { 503 } else { 200 });
    let bucket = |n| if n % 2 == 0 { 500_000 + n } else { n };
    vec![
        format(&|n| {
            let (variant, status, bucket) = (variant(n), status(n), bucket(n));
            format!(
                r#"{{"time":"2026-11-23T09:{:02}:00.{n:03}Z","request_id":"0192f5a1-b3c4-7000-8000-{n:012x}","experiment":"e","exposure":"trial=TRIAL config=1a weights=c=200000/400000 reason=hash bucket={bucket} unit={n:032x}","assigned":"{variant}","served":"{variant}","phase":"one","status":{status},"flags":"-","duration":{n},"path":"/v2/{n}"}}"#,
                n % 60
            )
        }),
        format(&|n| {
            let (variant, status) = (variant(n), status(n));
            format!(
                r#"{{"time": 17954244{n:05}, "experiment": "e", "unit": {n}, "request_id": "r-{n}", "assigned": "{variant}", "served": "{variant}", "bucket": null, "phase": null, "status": {status}, "duration": "{n}", "x": -{n}.5}}"#
            )
        }),
    ]
}

#[test]
fn nearly_all_lines_of_a_proxy_are_recognized() {
    for text in formats() {
        let (found, wanted, recognized) =
            read(&with_trial(text.as_bytes()), Window::default(), &[]);
        assert_eq!(found.0, wanted.0, "{text}");
        assert!(recognized >= 90, "{recognized} of {text}");
    }
}

#[test]
fn lines_that_teach_nothing_are_not_learned_from_for_ever() {
    // Each has another key, so that none is recognized.
    let text: String = (0..1000)
        .map(|n| {
            format!(
                "{{\"time\":\"2026-11-23T09:00:00.000Z\",\"experiment\":\"e\",\"key{n}\":1,\"assigned\":\"b\",\"status\":200,\"duration\":1}}\n"
            )
        })
        .collect();
    let (found, wanted, recognized) = read(text.as_bytes(), Window::default(), &[]);
    assert_eq!((found.0, recognized), (wanted.0, 0));
    let mut shapes = super::Shapes::default();
    let line = text.lines().next().unwrap().as_bytes();
    for _ in 0..1000 {
        shapes.learn(line, crate::source::rules::Common::of_arm(0));
    }
    assert_eq!(shapes.lessons, super::LESSONS + 1);
}
