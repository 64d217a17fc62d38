use sidetrack_stats::accumulate::{Moments, Pairs};

use super::*;
use crate::answer::Role;
use crate::join::Totals;
use crate::metric::{Absent, Measure, Origin};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from(u32::try_from(z >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// A primary metric of the first column.
fn column(measure: Measure, absent: Absent) -> Metric {
    Metric {
        name: "accuracy".to_owned(),
        role: Role::Primary,
        measure,
        origin: Origin::Column(0),
        goal: crate::answer::Goal::Increase,
        absent,
        margin: None,
        cap: None,
        model: None,
        llm: None,
        per: None,
    }
}

/// Two variants, of which the candidate gets this share.
struct World {
    share: f64,
    /// Units a day.
    units: u64,
    /// Of each request of the candidate, the probability that its line is lost.
    lost: f64,
    /// The same for its labels.
    unlabeled: f64,
}

impl World {
    /// Whether any check blocks at a daily look, over two weeks.
    fn blocks(&self, random: &mut Random) -> Option<CheckName> {
        let shape = Shape { strata: 1, arms: 2, baseline: 0 };
        let mut balance = Balance::of(2, 2, 1);
        let phases = [Phase::of_shares(&[1.0 - self.share, self.share])];
        for day in 0..14 {
            for _ in 0..self.units {
                let arm = usize::from(random.fraction() < self.share);
                // Some units come often: a Pareto distribution with shape 1.5, cut at 300.
                let visits = random.fraction().max(1e-6).powf(-1.0 / 1.5).min(300.0).floor();
                let (lost, unlabeled) =
                    if arm == 1 { (self.lost, self.unlabeled) } else { (0.0, 0.0) };
                let (mut requests, mut labels) = (0u32, 0u32);
                for visit in (1..=300).take_while(|visit| f64::from(*visit) <= visits) {
                    // The first line is never lost, so that the split stays as configured.
                    let here = visit == 1 || random.fraction() >= lost;
                    requests += u32::from(here);
                    labels += u32::from(here && random.fraction() < 0.7 - unlabeled);
                }
                balance.add(day, arm, requests, labels);
            }
            let firsts = balance.requests.iter().map(Moments::count).collect();
            let sums = Sums { firsts, balance: balance.clone(), ..Sums::default() };
            let column = column(Measure::Ratio, Absent::Zero);
            let arms = Arms {
                sums: &sums,
                shape,
                phases: &phases,
                names: &["plain", "fancy"],
                metrics: &[column],
                by_request: true,
                planned: 10_000,
            };
            if let Some(check) = arms.checks().into_iter().find(Check::blocks) {
                return Some(check.name);
            }
        }
        None
    }
}

const SOUND: World = World { share: 0.5, units: 300, lost: 0.0, unlabeled: 0.0 };

#[test]
fn lines_and_labels_that_one_variant_loses_are_found() {
    let mut random = Random(7);
    let mut found = |world: World| world.blocks(&mut random);
    let lines = World { lost: 0.3, units: 1000, ..SOUND };
    assert_eq!(found(lines), Some(CheckName::RequestsPerUnit));
    let labels = World { unlabeled: 0.1, units: 1000, ..SOUND };
    assert_eq!(found(labels), Some(CheckName::LabelCoverage));
    let canary = World { share: 0.05, unlabeled: 0.2, units: 2000, ..SOUND };
    assert_eq!(found(canary), Some(CheckName::LabelCoverage));
}

/// Checks by variant of one phase, half and half.
fn checked(sums: &Sums, name: CheckName) -> Check {
    checked_by(sums, name, true)
}

fn checked_by(sums: &Sums, name: CheckName, by_request: bool) -> Check {
    let measure = if by_request { Measure::Ratio } else { Measure::Mean };
    let labels = column(measure, if by_request { Absent::Zero } else { Absent::Missing });
    let phases = [Phase::of_shares(&[0.5, 0.5])];
    let arms = Arms {
        sums,
        shape: Shape { strata: 1, arms: 2, baseline: 0 },
        phases: &phases,
        names: &["plain", "fancy"],
        metrics: if sums.balance.labels.is_empty() { &[] } else { std::slice::from_ref(&labels) },
        by_request,
        planned: 10_000,
    };
    arms.checks().into_iter().find(|check| check.name == name).unwrap()
}

#[test]
fn few_effective_units_are_a_warning() {
    use CheckState::{Ok, Warning};
    let of = |units: u64, bots: u32, each: u32| {
        let mut balance = Balance::of(2, 2, 0);
        (0..5000).for_each(|_| balance.add(0, 0, 3, 0));
        (0..units).for_each(|_| balance.add(0, 1, 3, 0));
        (0..bots).for_each(|_| balance.add(0, 1, each, 0));
        let sums = Sums { balance, ..Sums::default() };
        let check = checked(&sums, CheckName::EffectiveUnits);
        (check.state, check.variants["fancy"].round())
    };
    // Kish: (Σ n)² / Σ n².
    assert_eq!(of(5000, 0, 0), (Ok, 5000.0));
    assert_eq!(of(60, 0, 0), (Ok, 60.0));
    assert_eq!(of(1000, 1, 1000), (Warning, 16.0));
    assert_eq!(of(1000, 8, 400), (Warning, 30.0));
    assert_eq!(of(1000, 100, 100), (Ok, 167.0));
    // So few units decide nothing.
    assert_eq!(of(50, 1, 100).0, Ok);
}

#[test]
fn heavy_units_that_visit_one_variant_are_found() {
    let of = |plain: u64, fancy: u64| {
        let mut balance = Balance::of(2, 2, 0);
        balance.heavy = vec![plain, fancy];
        let sums = Sums { balance, heavy: 30, ..Sums::default() };
        checked(&sums, CheckName::HeavyUnits)
    };
    let failed = [(0, 0), (15, 15), (5, 15), (20, 10), (480, 520), (400, 590)];
    assert!(failed.iter().all(|(plain, fancy)| !of(*plain, *fancy).blocks()));
    for (plain, fancy) in [(0, 20), (20, 0), (10, 60), (300, 700)] {
        assert!(of(plain, fancy).blocks(), "{plain} {fancy}");
    }
    let message = of(0, 20).message;
    assert!(
        message.contains("of the 20 heaviest units (more than 30 requests each), plain has 0"),
        "{message}"
    );
}

#[test]
fn a_candidate_with_hardly_any_failure_has_lost_them_unless_its_requests_are_all_there() {
    // A unit of `plain` has five requests; one of so many has a failure. Those of `fancy` have none.
    let of = |units: u64, failing: u64, own: u64, requests: u32| {
        let mut balance = Balance::of(2, 2, 0);
        (0..units).for_each(|_| balance.add(0, 0, 5, 0));
        (0..units).for_each(|unit| balance.add(0, 1, requests - u32::from(unit % 2 == 0), 0));
        (0..units).for_each(|unit| balance.add(0, 0, 5 + u32::from(unit % 2 == 0), 0));
        balance.failing = vec![failing, own];
        let totals = vec![
            Totals { requests: units * 10, failed: failing * 2, ..Totals::default() },
            Totals::default(),
        ];
        let sums = Sums { firsts: vec![2 * units, units], totals, balance, ..Sums::default() };
        checked(&sums, CheckName::FailedLines).state
    };
    use CheckState::{Blocking, Ok, Warning};
    // (2/3)^20 is 3e-4, (2/3)^40 is 9e-8; with an eighth of the failures, (16/17)^110 is 1.3e-3, and ^120 7e-4.
    assert_eq!(
        [20, 40, 110, 120].map(|failing| of(500, failing, 0, 5)),
        [Ok, Warning, Warning, Blocking]
    );
    assert_eq!([1, 5, 60].map(|own| of(500, 180, own, 5)), [Blocking, Warning, Ok]);
    // 20 % of the requests failed, but the candidate has as many requests as the baseline.
    assert_eq!((of(500, 500, 0, 4), of(500, 500, 0, 6)), (Blocking, Warning));
}

#[test]
fn a_faulty_candidate_beside_a_baseline_without_failures_is_no_loss_unless_requests_are_missing() {
    // A unit of `fancy` has ten or eleven requests, of which a fifth failed; one of `plain` has this many less.
    let of = |units: u64, less: u32| {
        let mut balance = Balance::of(2, 2, 0);
        for unit in 0..units {
            let requests = 10 + u32::from(unit % 2 == 0);
            balance.add(0, 0, requests - less, 0);
            balance.add(0, 1, requests, 0);
        }
        balance.failing = vec![0, units / 2];
        let own = Totals { requests: units * 10, ..Totals::default() };
        let totals = vec![own.clone(), Totals { failed: units * 2, ..own }];
        let sums = Sums { firsts: vec![units, units], totals, balance, ..Sums::default() };
        checked(&sums, CheckName::FailedLines).state
    };
    assert_eq!((of(500, 0), of(500, 2)), (CheckState::Warning, CheckState::Blocking));
    // So few units do not show it.
    assert_eq!(of(20, 0), CheckState::Ok);
}

/// The pairs of a slot, for which the variants are merged.
#[test]
fn a_small_variant_borrows_the_variance_of_the_large_one() {
    // All ten units of a canary have a label; of the baseline, half.
    let mut labels = vec![Pairs::default(); 2];
    for number in 0..10_000 {
        labels[0].add(f64::from(number % 2), 1.0).unwrap();
    }
    (0..10).for_each(|_| labels[1].add(1.0, 1.0).unwrap());
    let arms = Arms {
        sums: &Sums::default(),
        shape: Shape { strata: 1, arms: 2, baseline: 0 },
        phases: &[],
        names: &["plain", "fancy"],
        metrics: &[],
        by_request: false,
        planned: 10_000,
    };
    let (_, found) = arms.worst(&labels).unwrap();
    assert!(found.difference > 0.49 && found.p > LEVEL, "ten units prove nothing: {}", found.p);
}

/// Whether a check finds a loss of the candidate's, in an even split with five requests per unit on average.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 100 visits")]
fn finds(name: CheckName, units: u64, lost: f64, by_request: bool, random: &mut Random) -> bool {
    let mut balance = Balance::of(2, 2, 1);
    for unit in 0..units {
        let arm = usize::from(unit % 2 == 1);
        let lost = if arm == 1 { lost } else { 0.0 };
        // The logarithm of the number has a standard deviation of about 0.8.
        let visits = 1 + (-4.6 * random.fraction().max(1e-9).ln()) as u32;
        let (lines, unlabeled) = match name {
            CheckName::RequestsPerUnit => (lost, 0.0),
            _ => (0.0, lost),
        };
        let rate = if by_request { 0.9 } else { 0.5 };
        let (mut requests, mut labels) = (0, 0);
        for visit in 0..visits {
            let here = visit == 0 || random.fraction() >= lines;
            requests += u32::from(here);
            labels += u32::from(here && random.fraction() < rate - unlabeled);
        }
        if !by_request {
            (requests, labels) = (1, u32::from(random.fraction() < rate - unlabeled));
        }
        balance.add(0, arm, requests, labels);
    }
    let sums = Sums { firsts: vec![units / 2, units / 2], balance, ..Sums::default() };
    checked_by(&sums, name, by_request).blocks()
}

/// The rows of the table in docs/analysis.md.
#[test]
fn losses_are_found_as_often_as_the_docs_say() {
    let mut random = Random(3);
    let (lines, labels) = (CheckName::RequestsPerUnit, CheckName::LabelCoverage);
    for (name, units, lost, by_request) in [
        (lines, 3000, 0.22, true),
        (lines, 10_000, 0.12, true),
        (labels, 3000, 0.027, true),
        (labels, 10_000, 0.015, true),
        (labels, 3000, 0.095, false),
        (labels, 10_000, 0.05, false),
    ] {
        let runs = 60;
        let mut count =
            |lost| (0..runs).filter(|_| finds(name, units, lost, by_request, &mut random)).count();
        let (found, half) = (count(lost), count(lost / 2.0));
        println!("{name} {units} {lost}: {found} and {half} of {runs}");
        assert!((40..=57).contains(&found), "{name} {units} {lost}: {found} of {runs}");
        assert!(half < 20, "{name} {units}: half of it is found in {half} of {runs}");
    }
}
