use sidetrack_stats::accumulate::{Moments, Pairs};

use super::*;

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
            let column = Metric {
                name: "accuracy".to_owned(),
                role: Role::Primary,
                measure: Measure::Ratio,
                origin: Origin::Column(0),
                goal: crate::answer::Goal::Increase,
                absent: Absent::Zero,
                margin: None,
                cap: None,
            };
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
fn sound_experiments_are_not_stopped_by_two_weeks_of_daily_looks() {
    let mut random = Random(5);
    let worlds = [
        SOUND,
        World { share: 0.05, ..SOUND },
        World { share: 0.05, units: 3000, ..SOUND },
        World { share: 0.01, units: 1000, ..SOUND },
    ];
    let runs = 300;
    let mut alarms = Vec::new();
    for world in &worlds {
        alarms.extend((0..runs).filter_map(|_| world.blocks(&mut random)));
    }
    assert!(alarms.len() * 100 < worlds.len() * runs, "{}: {alarms:?}", alarms.len());
}

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

#[test]
fn a_canary_with_one_heavy_unit_is_blocked_only_when_it_could_decide() {
    let of = |units: u64| {
        let mut balance = Balance::of(2, 2, 0);
        (0..5000).for_each(|_| balance.add(0, 0, 3, 0));
        (0..units).for_each(|_| balance.add(0, 1, 3, 0));
        balance.add(0, 1, u32::try_from(units).unwrap(), 0);
        let firsts = vec![5000, units + 1];
        let sums = Sums { firsts, balance, ..Sums::default() };
        let arms = Arms {
            sums: &sums,
            shape: Shape { strata: 1, arms: 2, baseline: 0 },
            phases: &[],
            names: &["plain", "fancy"],
            metrics: &[],
            by_request: true,
            planned: 10_000,
        };
        let check = arms.checks().into_iter().find(|check| check.name == CheckName::LargestUnit);
        let check = check.unwrap();
        assert!(check.message.contains("fancy has 25.0 %"), "{}", check.message);
        check.state
    };
    let states = [50, 150, 900, 1500].map(of);
    use CheckState::{Blocking, Ok, Warning};
    assert_eq!(states, [Ok, Warning, Warning, Blocking]);
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
