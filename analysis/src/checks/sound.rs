//! Sound experiments of many kinds, looked at daily for two weeks: all checks together must hardly ever stop one.
//!
//! Rows are simulated and take the whole way of an analysis: join, placement of outcomes, sums, checks and judgement.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "days and visits are small numbers"
)]

use std::io::Write as _;
use std::ops::ControlFlow;

use sidetrack_stats::input::Fraction;

use super::*;
use crate::analyze::look;
use crate::answer::SrmVerdict;
use crate::compare::Data;
use crate::error::Error;
use crate::join::{Shape, join};
use crate::judge::{Names, judge};
use crate::metric::{Available, MetricRequests};
use crate::phases::Phase;
use crate::reason::Note;
use crate::row::{Marks, Row, Sink, key};
use crate::source::{Source, Trial};
use crate::sums::{Summation, place};
use crate::weights::Weights;
use crate::window::Window;
use sidetrack_stats::dice::Dice;

const DAY: u64 = 86_400_000;
const DAYS: u64 = 14;
const FILE: &[u8] =
    br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}]}"#;

/// What the outcomes are.
#[derive(Clone, Copy, PartialEq)]
enum Labels {
    /// A label of each answered request, delayed by so many days on average; `failed`: also of failed requests.
    Requests { delay: f64, failed: bool },
    /// Purchases of users with their times.
    Units,
}

/// An experiment whose variants are equal.
#[derive(Clone, Copy)]
struct World {
    name: &'static str,
    /// The candidate's share on each day; other shares are another phase.
    share: fn(u64) -> f64,
    /// New users a day.
    users: u64,
    /// The shape of the Pareto distribution of visits.
    tail: f64,
    errors: f64,
    /// Half as many users at weekends.
    weekly: bool,
    labels: Labels,
    metric: &'static str,
}

const LABELS: Labels = Labels::Requests { delay: 0.0, failed: false };
const PLAIN: World = World {
    name: "plain",
    share: |_| 0.5,
    users: 300,
    tail: 2.5,
    errors: 0.02,
    weekly: false,
    labels: LABELS,
    metric: "accuracy",
};
const WORLDS: [World; 12] = [
    PLAIN,
    World { name: "canary", share: |_| 0.05, users: 600, ..PLAIN },
    World { name: "weekly", weekly: true, users: 500, ..PLAIN },
    World { name: "heavy tail", tail: 1.2, ..PLAIN },
    World { name: "very heavy tail", tail: 1.05, users: 200, ..PLAIN },
    World { name: "heavy tail, canary", tail: 1.2, share: |_| 0.05, users: 600, ..PLAIN },
    World { name: "ramp", share: ramp, users: 400, ..PLAIN },
    World { name: "bandit", share: |day| 0.3 + 0.02 * day as f64, users: 400, ..PLAIN },
    World { name: "late labels", labels: Labels::Requests { delay: 2.0, failed: false }, ..PLAIN },
    World {
        name: "all labels",
        labels: Labels::Requests { delay: 0.0, failed: true },
        errors: 0.06,
        ..PLAIN
    },
    World {
        name: "by unit, ramp",
        share: ramp,
        labels: Labels::Units,
        metric: "revenue=mean",
        tail: 1.5,
        ..PLAIN
    },
    World {
        name: "by unit, per row",
        labels: Labels::Units,
        metric: "revenue=ratio",
        weekly: true,
        ..PLAIN
    },
];

fn ramp(day: u64) -> f64 {
    match day {
        0..2 => 0.05,
        2..6 => 0.2,
        _ => 0.4,
    }
}

/// Everything that happens in two weeks.
struct Life {
    /// By time, each with the time at which its label is known.
    rows: Vec<(Row, u64)>,
    outcomes: Outcomes,
    phases: Vec<Phase>,
    /// The candidate's share on each day.
    shares: Vec<f64>,
}

impl World {
    /// The phase of each day, and the shares of all.
    fn phases(&self) -> (Vec<u8>, Vec<Phase>) {
        let (mut of_day, mut phases, mut last) = (Vec::new(), Vec::new(), f64::NAN);
        for day in 0..DAYS {
            let share = (self.share)(day);
            if share != last {
                phases.push(Phase::of_shares(&[1.0 - share, share]));
                last = share;
            }
            of_day.push(u8::try_from(phases.len() - 1).unwrap());
        }
        (of_day, phases)
    }

    fn live(&self, seed: u64) -> Life {
        let dice = &mut Dice::new(seed);
        let (of_day, phases) = self.phases();
        let experiment = experiment();
        let mut rows = Vec::new();
        let mut table = match self.labels {
            Labels::Units => "unit,time,revenue\n".to_owned(),
            Labels::Requests { .. } => "request_id,correct\n".to_owned(),
        };
        let mut labels = 0;
        for day in 0..DAYS {
            let weekend = self.weekly && day % 7 > 4;
            for number in 0..if weekend { self.users / 2 } else { self.users } {
                let unit = format!("{seed}-{day}-{number}");
                // As the proxy draws it, since checks draw it again.
                let bucket = f64::from(experiment.arm.bucket(unit.as_bytes()).get()) / 1e6;
                let (able, luck) = (dice.uniform(), dice.uniform());
                let visits = (1.0 - dice.uniform()).powf(-1.0 / self.tail).min(2000.0);
                let mut time = DAY * day + (dice.uniform() * DAY as f64) as u64;
                for visit in 0..visits as u64 {
                    if visit > 0 {
                        // Heavy users come often: all visits are within a week or so.
                        time += (dice.exponential() * 7.0 * DAY as f64 / visits) as u64;
                    }
                    let Some(stratum) = of_day.get((time / DAY) as usize) else { break };
                    let failed = dice.uniform() < self.errors * 2.0 * luck;
                    let mut outcome = None;
                    let mut known = time;
                    match self.labels {
                        Labels::Requests { delay, failed: all } if all || !failed => {
                            known += (delay * dice.exponential() * DAY as f64) as u64;
                            let right = dice.uniform() < 0.7 + 0.3 * able;
                            table += &format!("{labels},{}\n", u8::from(right));
                            outcome = Some(labels);
                            labels += 1;
                        }
                        Labels::Units if dice.uniform() < 0.05 => {
                            let revenue = 5.0 + 20.0 * dice.exponential();
                            let later = time + (dice.exponential() * 3_600_000.0) as u64;
                            table += &format!("{unit},{later},{revenue:.2}\n");
                        }
                        _ => {}
                    }
                    let arm = u8::from(bucket < (self.share)(time / DAY));
                    let marks = Marks { failed, ..Marks::default() };
                    let row = Row {
                        unit: Some(key(&unit)),
                        position: rows.len() as u64,
                        time: START + time,
                        duration: 20 + (40.0 * dice.exponential()) as u32,
                        print: None,
                        outcome,
                        stratum: *stratum,
                        arm,
                        marks,
                    };
                    rows.push((row, START + known));
                }
            }
        }
        rows.sort_by_key(|(row, _)| row.time);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(relative(&table).as_bytes()).unwrap();
        let outcomes = Outcomes::read(file.path(), &experiment).unwrap();
        Life { rows, outcomes, phases, shares: (0..DAYS).map(self.share).collect() }
    }
}

/// 2026-03-02T00:00:00Z, a Monday.
const START: u64 = 1_772_409_600_000;

/// Makes times since the start times since 1970.
fn relative(table: &str) -> String {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let mut out = format!("{head}\n");
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        match fields.as_slice() {
            [unit, time, value] => {
                out += &format!("{unit},{},{value}\n", START + time.parse::<u64>().unwrap());
            }
            _ => out += &format!("{line}\n"),
        }
    }
    out
}

fn experiment() -> sidetrack::plan::Experiment {
    sidetrack::config::parse_json(FILE).unwrap().experiments.into_iter().next().unwrap()
}

/// The rows until a time.
struct Until<'l> {
    life: &'l Life,
    time: u64,
}

impl Source for Until<'_> {
    type Piece = ();

    fn pieces(&self, take: &mut dyn FnMut(()) -> bool) -> Result<Vec<Note>, Error> {
        take(());
        Ok(Vec::new())
    }

    fn rows(&self, (): &(), sink: &mut impl Sink) {
        for (row, known) in self.life.rows.iter().take_while(|(row, _)| row.time < self.time) {
            let outcome = row.outcome.filter(|_| *known < self.time);
            sink.row(&Row { outcome, ..*row }, None);
        }
    }

    fn file(&self, _: usize) -> String {
        String::new()
    }
}

impl Life {
    /// What blocks a decision at the end of a day.
    fn blocks(&self, metric: &str, day: u64) -> Vec<String> {
        let experiment = experiment();
        let time = START + (day + 1) * DAY;
        let shape = Shape::new(&experiment, self.phases.len());
        let source = Until { life: self, time };
        let joined = join(&source, shape, (&self.outcomes, false), 1, &|_| ()).unwrap();
        let by_request = self.outcomes.by_request;
        let until = sidetrack::quantity::Timestamp::new(time).to_string().parse().unwrap();
        let window = Window { since: None, until: Some(until) };
        let trial = sidetrack::exposure::trial(&experiment).parse().unwrap();
        let trial = Trial { wanted: trial, of_file: trial };
        let placed = (!by_request).then(|| place(&joined, &self.outcomes, window, None, trial));
        let binary = vec![by_request; self.outcomes.columns.len()];
        let available = Available {
            columns: &self.outcomes.columns,
            by_request,
            binary: &binary,
            ignored: &[],
            caps: &[],
        };
        let primary = vec![metric.parse().unwrap()];
        let requests = MetricRequests { primary, ..MetricRequests::default() };
        let metrics = available.select(&requests).unwrap();
        let placed = placed.as_ref();
        let summation = Summation {
            joined: &joined,
            placed,
            metrics: &metrics,
            caps: Vec::new(),
            large: Vec::new(),
            attribution: None,
            shape,
            units: true,
            threads: 1,
        };
        let sums = summation.run();
        let names = ["plain", "fancy"];
        let level = Fraction::FIVE_PERCENT;
        let data = Data { sums: &sums, shape, units: true, level };
        let units = sums.firsts.iter().sum();
        let (look, _) = look(None, level, units, false).unwrap();
        let compared: Vec<_> = metrics
            .iter()
            .zip(&sums.metrics)
            .map(|(metric, of)| (metric.clone(), data.compare(metric, of)))
            .collect();
        let strata = vec![None; self.phases.len()];
        let judged =
            judge(&compared, look, level, &Names { variants: names.to_vec(), baseline: 0, strata });
        let few = few_units(&data, &metrics, &judged, &names);
        let counts = outcome_counts(&self.outcomes, &joined.tally, placed, &[]);
        let arms = Arms {
            sums: &sums,
            shape,
            phases: &self.phases,
            names: &names,
            metrics: &metrics,
            by_request,
            planned: 10_000,
        };
        let rows = Some((&self.outcomes, &counts));
        // The weights of the day.
        let of_candidate = self.shares.get(day as usize).copied().unwrap_or_default();
        let weights = format!("fancy={}/1000000", (of_candidate * 1e6).round());
        let weights = Weights::parse(&weights, &experiment);
        let sample = Sample::new(&experiment, &self.outcomes, &joined, shape, weights.as_ref());
        let (outcomes, counts, tally) = (&self.outcomes, &counts, &joined.tally);
        let unmatched = Unmatched { outcomes, counts, tally, sample: &sample, names: &names };
        // Labels of the whole experiment are in the file from the first day on.
        let unmatched = (!by_request).then(|| unmatched.check());
        let more = few
            .into_iter()
            .chain(placed.and_then(|placed| ends(placed, tally, &names)))
            .chain(unmatched)
            .chain(scales(outcomes, tally, placed, shape, &metrics, &names));
        let checks = checks(rows, &joined, Some(&arms), more, &metrics, &[], false);
        let observed = observed(&sums, shape, true);
        let srm = srm(&experiment, &self.phases, &observed, true);
        let split = (srm.verdict == SrmVerdict::Mismatch).then(|| "srm".to_owned());
        let blocking = checks.into_iter().filter(Check::blocks);
        blocking.map(|check| format!("{}: {}", check.name, check.message)).chain(split).collect()
    }
}

/// `SIDETRACK_LONG=1` simulates forty times as many; docs/analysis.md has its result.
#[test]
#[expect(clippy::disallowed_methods, reason = "asks for the long form")]
fn all_checks_together_stop_hardly_any_sound_experiment() {
    let long = std::env::var_os("SIDETRACK_LONG").is_some();
    // The long form stops some; the short one looks at others, and any alarm among them is new.
    let (first, runs) = if long { (0, 200) } else { (5, 5) };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let alarms = std::sync::Mutex::new(Vec::new());
    let work = || loop {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(world) = WORLDS.get(at / runs) else { break };
        let seed = 1000 * (at / runs) + first + at % runs;
        let life = world.live(seed as u64);
        let stopped = (0..DAYS).try_for_each(|day| {
            let found = life.blocks(world.metric, day);
            if found.is_empty() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(format!(
                    "{} {seed}, day {day}: {}",
                    world.name,
                    found.join("; ")
                ))
            }
        });
        if let ControlFlow::Break(alarm) = stopped {
            alarms.lock().unwrap().push(alarm);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let alarms = alarms.into_inner().unwrap();
    let all = WORLDS.len() * runs;
    println!("{} of {all} are stopped:\n{}", alarms.len(), alarms.join("\n"));
    assert!(alarms.len() * 100 <= all, "{} of {all}:\n{}", alarms.len(), alarms.join("\n"));
}
