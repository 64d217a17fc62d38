//! The log and the outcomes of a case, from the same random numbers as in data.py.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ARMS, PHASES};

/// Knuth's linear congruential generator, as in make.py.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A log, and a file of outcomes.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) log: String,
    pub(crate) by_request: String,
    pub(crate) by_unit: String,
}

/// `2026-11-23T09:00:00Z` and so many milliseconds, within the day.
pub(crate) fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (hour, minute, second) = (9 + seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2026-11-23T{hour:02}:{minute:02}:{second:02}.{:03}Z", milliseconds % 1000)
}

fn small(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// The country of a request as JSON, as in data.py.
fn country(unit: u64, period: u64, number: u64) -> &'static str {
    const COUNTRIES: [&str; 11] = [
        "\"DE\"", "\"DE\"", "\"FR\"", "\"DE\"", "\"US\"", "null", "\"FR\"", "\"DE\"", "\"US\"",
        "\"DE\"", "\"FR\"",
    ];
    if unit % 13 == 3 && (period, number) != (0, 0) {
        return "\"FR\"";
    }
    COUNTRIES[usize::try_from(unit % 11).unwrap()]
}

/// As `generate` in make.py, number by number.
pub(crate) fn generate(case: &Value) -> Data {
    let flag = |key: &str| case[key].as_bool().unwrap();
    let (phased, overlap, units) = (flag("phased"), flag("overlap"), flag("units"));
    let (late, covariate) = (flag("late"), flag("covariate"));
    let mut random = Random(case["seed"].as_u64().unwrap());
    let mut labels = 0;
    let mut data = Data {
        by_request: "request_id,correct,score,time,device\n".to_owned(),
        by_unit: format!(
            "unit,time,converted,basket,tier{}\n",
            if covariate { ",pre" } else { "" }
        ),
        ..Data::default()
    };
    for unit in 0..case["count"].as_u64().unwrap() {
        let one = match random.below(100) {
            0..20 => 1,
            20..30 if !late => 2,
            _ => 0,
        };
        let draw = random.below(100);
        let two = match draw {
            _ if !phased || one != 0 => one,
            0..15 => 1,
            15..40 => 2,
            _ => 0,
        };
        let presence = match random.below(3) {
            2 if !overlap => unit % 2,
            presence => presence,
        };
        let counts = [1 + random.below(4), 1 + random.below(4)];
        let luck = random.below(40);
        for (period, arm) in [(0, one), (1, two)] {
            let count =
                if [period, 2].contains(&presence) { counts[usize::from(period == 1)] } else { 0 };
            for number in 0..count {
                let at = period * 3_600_000 + random.below(3600) * 1000 + random.below(1000);
                let mut duration = 5 + luck + random.below(60) + 3 * arm;
                if random.below(20) == 0 {
                    duration += random.below(4000);
                }
                let what = random.below(100);
                let (status, flags, rescued) = match what {
                    _ if what < 4 + arm => (503, "-", "null"),
                    _ if what < 9 + arm => (0, "DC", "null"),
                    _ if what < 11 + arm => (200, "-", "true"),
                    99 => (0, "UF", "null"),
                    _ => (200, "-", "null"),
                };
                let torn = !late && unit % 89 == 7 && number + 1 == count && count > 1;
                let seen = ARMS[usize::try_from(if torn { (arm + 1) % 3 } else { arm }).unwrap()];
                let name = format!("u{unit}-{period}-{number}");
                let unit_name = if units { format!("\"u{unit}\"") } else { "null".to_owned() };
                let phase = PHASES[usize::from(period == 1)];
                let phase = if phased { format!("\"{phase}\"") } else { "null".to_owned() };
                writeln!(
                    data.log,
                    r#"{{"time":"{}","request_id":"{name}","unit":{unit_name},"experiment":"e","assigned":"{seen}","served":"{seen}","reason":"hash","phase":{phase},"status":{status},"flags":"{flags}","duration":{duration},"rescued":{rescued},"country":{},"city":"c{}"}}"#,
                    time(at),
                    country(unit, period, number),
                    unit % 25
                )
                .unwrap();
                if random.below(10) < 8 {
                    let correct = random.below(100) + luck / 2 < 70 + 5 * arm;
                    let score = (small(random.below(9) + arm) * 0.25).to_string();
                    let score = if random.below(7) == 0 { "" } else { &score };
                    let label = time(at + labels * 37 % 90 * 60_000);
                    let device =
                        ["phone", "desk", ""][usize::try_from((unit + number) % 3).unwrap()];
                    let correct = u8::from(correct);
                    writeln!(data.by_request, "{name},{correct},{score},{label},{device}").unwrap();
                    labels += 1;
                }
            }
        }
        for number in 0..random.below(4) {
            let is_timed = random.below(2) == 0;
            let at = if is_timed { time(random.below(7200) * 1000) } else { String::new() };
            let converted = random.below(100) < 25 + 6 * two;
            let basket = small(random.below(40)) * 0.5
                + small(two)
                + if covariate { small(luck) * 0.5 } else { 0.0 };
            let tier = match (unit + number) % 4 {
                0 => "",
                _ => ["free", "pro", "team"][usize::try_from((unit * 7 + number) % 3).unwrap()],
            };
            let converted = u8::from(converted);
            let end = if covariate { "," } else { "" };
            writeln!(data.by_unit, "u{unit},{at},{converted},{basket},{tier}{end}").unwrap();
        }
        if covariate && random.below(9) > 0 {
            let before = small(luck) * 0.25 + small(random.below(8)) * 0.5;
            writeln!(data.by_unit, "u{unit},,,,,{before}").unwrap();
        }
        if unit.is_multiple_of(50) {
            // Of a unit that is not in the log.
            let end = if covariate { "," } else { "" };
            writeln!(data.by_unit, "u{},,1,5,free{end}", unit + 100_000).unwrap();
        }
    }
    data
}
