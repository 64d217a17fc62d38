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
use crate::row::{Aside, Marks, Row, Sink, key};
use crate::segments::Chosen;
use crate::source::outcomes::Outcomes;
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
    /// A predicted class of each answered request, and the true one.
    Classes,
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
    /// The share of answers that blame the client.
    refused: f64,
    /// Of so many labels of requests in the logs, one more is of a request that they do not have.
    strangers: Option<u64>,
    /// The lines of so many days name no trial, as of an older version.
    untold: u64,
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
    refused: 0.0,
    strangers: None,
    untold: 0,
    weekly: false,
    labels: LABELS,
    metric: "accuracy",
};
const WORLDS: [World; 16] = [
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
    World { name: "updated proxies", untold: 6, share: ramp, users: 400, ..PLAIN },
    World { name: "labels of others", strangers: Some(3), tail: 1.5, ..PLAIN },
    World { name: "client errors", refused: 0.1, tail: 1.5, ..PLAIN },
    World { name: "classes", labels: Labels::Classes, share: |_| 0.1, users: 600, ..PLAIN },
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
    /// By time.
    seen: Vec<Seen>,
    /// The header of the outcomes, and their rows with the time at which each is known, by this time.
    head: &'static str,
    labels: Vec<(u64, String)>,
    phases: Vec<Phase>,
    /// The candidate's share on each day.
    shares: Vec<f64>,
}

/// A request that counts.
struct Seen {
    row: Row,
    /// The digest of its unit, if it is looked up.
    digest: Option<u64>,
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
        let head = match self.labels {
            Labels::Units => "unit,time,revenue\n",
            Labels::Requests { .. } => "request_id,correct\n",
            Labels::Classes => "request_id,prediction,label\n",
        };
        let mut seen: Vec<Seen> = Vec::new();
        // When each is known, its text, and the number of its request.
        let mut labels: Vec<(u64, String, Option<usize>)> = Vec::new();
        for day in 0..DAYS {
            let weekend = self.weekly && day % 7 > 4;
            for number in 0..if weekend { self.users / 2 } else { self.users } {
                let unit = format!("{seed}-{day}-{number}");
                // As the proxy draws it, since checks draw it again.
                let bucket = f64::from(experiment.arm.bucket(unit.as_bytes()).get()) / 1e6;
                let is_looked_up = key(&unit).is_multiple_of(8);
                let digest = || key(&experiment.exposure.pseudonym(unit.as_bytes()));
                let digest = is_looked_up.then(digest);
                let (able, luck) = (dice.uniform(), dice.uniform());
                let visits = (1.0 - dice.uniform()).powf(-1.0 / self.tail).min(2000.0);
                let mut time = DAY * day + (dice.uniform() * DAY as f64) as u64;
                for visit in 0..visits as u64 {
                    if visit > 0 {
                        // Heavy users come often: all visits are within a week or so.
                        time += (dice.exponential() * 7.0 * DAY as f64 / visits) as u64;
                    }
                    let today = time / DAY;
                    let Some(stratum) = of_day.get(today as usize) else { break };
                    let failed = dice.uniform() < self.errors * 2.0 * luck;
                    let refused = !failed && dice.uniform() < self.refused * 2.0 * luck;
                    let right = |dice: &mut Dice| dice.uniform() < 0.7 + 0.3 * able;
                    let id = seen.len();
                    match self.labels {
                        Labels::Requests { delay, failed: all } if all || !failed => {
                            let later = (delay * dice.exponential() * DAY as f64) as u64;
                            let label = format!("{id},{}", u8::from(right(dice)));
                            labels.push((START + time + later, label, Some(id)));
                        }
                        Labels::Classes if !failed => {
                            let class = dice.bits() % 5;
                            let other = if right(dice) { class } else { dice.bits() % 5 };
                            let label = format!("{id},class {other},class {class}");
                            labels.push((START + time, label, Some(id)));
                        }
                        Labels::Units if dice.uniform() < 0.05 => {
                            let revenue = 5.0 + 20.0 * dice.exponential();
                            let later = START + time + (dice.exponential() * 3_600_000.0) as u64;
                            labels.push((later, format!("{unit},{later},{revenue:.2}"), None));
                        }
                        _ => {}
                    }
                    if self.strangers.is_some_and(|of| (id as u64).is_multiple_of(of)) {
                        labels.push((START + time, format!("of others {id},1"), None));
                    }
                    let arm = u8::from(bucket < (self.share)(today));
                    let untold = today < self.untold;
                    let marks = Marks { failed, refused, untold, ..Marks::default() };
                    let row = Row {
                        unit: Some(key(&unit)),
                        position: id as u64,
                        time: START + time,
                        duration: 20 + (40.0 * dice.exponential()) as u32,
                        print: None,
                        outcome: None,
                        group: crate::row::Id::of(&unit).group,
                        stratum: *stratum,
                        arm,
                        marks,
                    };
                    seen.push(Seen { row, digest });
                }
            }
        }
        labels.sort_by_key(|(known, ..)| *known);
        for (number, (.., request)) in (0u32..).zip(&labels) {
            if let Some(seen) = request.and_then(|request| seen.get_mut(request)) {
                seen.row.outcome = Some(number);
            }
        }
        seen.sort_by_key(|seen| seen.row.time);
        let labels = labels.into_iter().map(|(known, text, _)| (known, text)).collect();
        Life { seen, head, labels, phases, shares: (0..DAYS).map(self.share).collect() }
    }
}

/// 2026-03-02T00:00:00Z, a Monday.
const START: u64 = 1_772_409_600_000;

fn experiment() -> sidetrack::plan::Experiment {
    sidetrack::config::parse_json(FILE).unwrap().experiments.into_iter().next().unwrap()
}

/// The rows until a time, and how many rows of outcomes are known.
struct Until<'l> {
    life: &'l Life,
    time: u64,
    known: usize,
}

impl Source for Until<'_> {
    type Piece = ();

    fn pieces(&self, take: &mut dyn FnMut(()) -> bool) -> Result<Vec<Note>, Error> {
        take(());
        Ok(Vec::new())
    }

    fn rows(&self, (): &(), sink: &mut impl Sink) {
        for Seen { row, digest } in &self.life.seen {
            if row.time >= self.time {
                break;
            }
            let outcome = row.outcome.filter(|outcome| (*outcome as usize) < self.known);
            sink.row(&Row { outcome, ..*row }, None);
            digest.iter().for_each(|digest| sink.aside(Aside::Digest(*digest)));
        }
    }

    fn file(&self, _: usize) -> String {
        String::new()
    }
}

impl Life {
    /// The outcomes that are known before a time.
    fn known(&self, time: u64) -> Outcomes {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let known = self.labels.iter().take_while(|(known, _)| *known < time);
        let text: String = known.flat_map(|(_, text)| [text, "\n"]).collect();
        file.write_all([self.head, &text].concat().as_bytes()).unwrap();
        Outcomes::read(file.path(), &experiment()).unwrap()
    }

    /// What blocks a decision at the end of a day.
    fn blocks(&self, metric: &str, day: u64) -> Vec<String> {
        let experiment = experiment();
        let time = START + (day + 1) * DAY;
        let shape = Shape::new(&experiment, self.phases.len());
        let outcomes = &self.known(time);
        let source = Until { life: self, time, known: outcomes.rows() };
        let none = (1, None);
        let mut joined = join(&source, shape, (outcomes, false, 0), none, &|_| ()).unwrap();
        let by_request = outcomes.by_request;
        let until = sidetrack::quantity::Timestamp::new(time).to_string().parse().unwrap();
        let window = Window { since: None, until: Some(until) };
        let trial = sidetrack::exposure::trial(&experiment).parse().unwrap();
        let trial = Trial { wanted: trial, of_file: trial };
        let placed =
            (!by_request).then(|| place(&mut joined, outcomes, window, None, trial, &[]).unwrap());
        let binary = vec![by_request; outcomes.columns.len()];
        let available = Available {
            columns: &outcomes.columns,
            by_request,
            binary: &binary,
            ignored: &[],
            caps: &[],
            modeled: 0,
            logged: &[],
            covariates: &[],
        };
        let primary = vec![metric.parse().unwrap()];
        let requests = MetricRequests { primary, ..MetricRequests::default() };
        let metrics = available.select(&requests).unwrap();
        let placed = placed.as_ref();
        let none = Chosen::default();
        let summation = Summation {
            segments: &none,
            joined: &joined,
            placed,
            covariates: None,
            metrics: &metrics,
            caps: Vec::new(),
            large: Vec::new(),
            attribution: None,
            shape,
            units: true,
            threads: 1,
        };
        let sums = summation.run().unwrap();
        let names = ["plain", "fancy"];
        let level = Fraction::FIVE_PERCENT;
        let data = Data { sums: &sums, shape, units: true, level };
        let units = sums.firsts.iter().sum();
        let (look, _, _) = look(None, level, units, false, None).unwrap();
        let compared: Vec<_> = metrics
            .iter()
            .zip(&sums.metrics)
            .map(|(metric, of)| (metric.clone(), data.compare(metric, of)))
            .collect();
        let strata = vec![None; self.phases.len()];
        let judged =
            judge(&compared, look, level, &Names { variants: names.to_vec(), baseline: 0, strata });
        let few = few_units(&data, &metrics, &judged, &names);
        let facts = RowFacts::new(outcomes, &joined.tally, placed, names.len());
        let counts = outcome_counts(&facts, placed, &names);
        let arms = Arms {
            sums: &sums,
            shape,
            phases: &self.phases,
            names: &names,
            metrics: &metrics,
            by_request,
            planned: 10_000,
        };
        let rows = Some((&facts, &counts));
        // The weights of the day.
        let of_candidate = self.shares.get(day as usize).copied().unwrap_or_default();
        let weights = format!("fancy={}/1000000", (of_candidate * 1e6).round());
        let weights = Weights::parse(&weights, &experiment);
        let sample = Sample::new(&experiment, outcomes, &joined, shape, weights.as_ref()).unwrap();
        let (counts, tally) = (&counts, &joined.tally);
        let unmatched = Unmatched { outcomes: &facts, counts, sample: &sample, names: &names };
        let classes = by_request.then(|| classes(&facts, counts, &names)).flatten();
        let more = few
            .into_iter()
            .chain(placed.and_then(|placed| ends(placed, tally, &names)))
            .chain([unmatched.check()])
            .chain(classes)
            .chain([twice(named_twice(&joined).unwrap()), untold(tally, &sums)])
            .chain(scales(&facts, placed, shape, &metrics, &names));
        let checks = checks(rows, &joined, Some(&arms), more, &metrics, &[], false);
        let observed = observed(&sums, shape, true);
        let srm = srm(&experiment, &self.phases, &observed, &observed, true);
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
    let runs = if long { 200 } else { 5 };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let alarms = std::sync::Mutex::new(Vec::new());
    let work = || loop {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(world) = WORLDS.get(at / runs) else { break };
        let seed = 1000 * (at / runs) + at % runs;
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
    // One in a hundred; of the eighty of the short form, one.
    let most = all.div_ceil(100);
    assert!(alarms.len() <= most, "{} of {all}:\n{}", alarms.len(), alarms.join("\n"));
}
