//! Many looks.

use sidetrack_stats::group_sequential::{Spending, bounds};
use sidetrack_stats::result::{Estimate, PValue};
use sidetrack_stats::sequential::{ConfidenceSequence, Msprt, is_planned_look, running};
use sidetrack_stats::srm::{self, Counts, Shares, always_valid};

use super::*;

const DAYS: u64 = 14;
const DAILY: u64 = 1000;

/// Two equal shares, day by day: what `look` sees each evening, until it stops.
fn fortnight(dice: &mut Dice, mut look: impl FnMut(u64, Proportion, Proportion) -> bool) -> bool {
    let (mut x1, mut x2) = (0, 0);
    (1..=DAYS).any(|day| {
        x1 += dice.binomial(DAILY, 0.1);
        x2 += dice.binomial(DAILY, 0.1);
        look(day, share(x1, day * DAILY), share(x2, day * DAILY))
    })
}

fn estimate(one: Proportion, two: Proportion) -> Estimate {
    compare(one, two).estimate
}

#[test]
fn looking_every_day_keeps_the_level_only_with_an_interval_that_is_made_for_it() {
    let naive = rate(4000, 20, |dice| fortnight(dice, |_, one, two| test(one, two).p.below(LEVEL)));
    println!("a fixed test looked at for a fortnight: {naive:.3}");
    assert!(naive > 0.15, "the trap does not exist anymore: {naive}");

    let sequence = ConfidenceSequence::new(2 * DAYS * DAILY, LEVEL).unwrap();
    let found = rate(4000, 21, |dice| {
        fortnight(dice, |day, one, two| {
            let interval = sequence.interval(estimate(one, two), 2 * day * DAILY).unwrap();
            interval.low > 0.0 || interval.high < 0.0
        })
    });
    is_at_most("confidence sequence, daily", found, 0.05, 4000);
    assert!(found > 0.001, "so wide that it never errs: {found}");

    let test = Msprt::new(0.01).unwrap();
    let found = rate(4000, 22, |dice| {
        let mut smallest = PValue::new(1.0).unwrap();
        fortnight(dice, |_, one, two| {
            smallest = running(smallest, test.p_value(estimate(one, two)).unwrap());
            smallest.below(LEVEL)
        })
    });
    is_at_most("mSPRT, daily", found, 0.05, 4000);
}

#[test]
fn looking_on_beyond_the_plan_does_not_repeat_the_fixed_test() {
    // Every day until twice the plan: always valid before and beyond, fixed at the plan.
    let look = |dice: &mut Dice, fixed: &dyn Fn(u64, u64) -> bool| {
        let planned = DAYS * 200;
        let sequence = ConfidenceSequence::new(planned, LEVEL).unwrap();
        let (mut x1, mut x2) = (0, 0);
        (1..=2 * DAYS).any(|day| {
            x1 += dice.binomial(100, 0.1);
            x2 += dice.binomial(100, 0.1);
            let (one, two) = (share(x1, day * 100), share(x2, day * 100));
            if fixed(planned, 200 * day) {
                return test(one, two).p.below(LEVEL);
            }
            sequence.p_value(estimate(one, two), 200 * day).unwrap().below(LEVEL)
        })
    };
    let naive = rate(2000, 60, |dice| look(dice, &|planned, units| units >= planned));
    println!("a fixed test from the plan on: {naive:.3}");
    assert!(naive > 0.1, "the trap does not exist anymore: {naive}");
    let found = rate(2000, 61, |dice| look(dice, &is_planned_look));
    // The looks before and after the planned one add about a percent to its level.
    is_at_most("looks until twice the plan", found, 0.06, 2000);
}

#[test]
fn planned_looks_keep_the_level_exactly() {
    let looks: Vec<f64> = (1..=DAYS).map(|day| day as f64 / DAYS as f64).collect();
    for (seed, spending) in [(30, Spending::ObrienFleming), (31, Spending::Pocock)] {
        let bounds = bounds(&looks, spending, LEVEL).unwrap();
        let found = rate(8000, seed, |dice| {
            fortnight(dice, |day, one, two| {
                let z = test(one, two).statistic;
                z.abs() >= bounds[usize::try_from(day - 1).unwrap()]
            })
        });
        is_nominal(&format!("{spending:?}"), found, 0.05, 8000);
    }
}

#[test]
fn a_true_difference_is_found_early() {
    let sequence = ConfidenceSequence::new(2 * DAYS * DAILY, LEVEL).unwrap();
    let found = rate(500, 40, |dice| {
        let (mut x1, mut x2) = (0, 0);
        (1..DAYS).any(|day| {
            x1 += dice.binomial(DAILY, 0.10);
            x2 += dice.binomial(DAILY, 0.12);
            let now = estimate(share(x1, day * DAILY), share(x2, day * DAILY));
            sequence.p_value(now, 2 * day * DAILY).unwrap().below(LEVEL)
        })
    });
    assert!(found > 0.95, "{found}");
}

#[test]
fn sample_ratios_may_be_looked_at_all_the_time() {
    let shares = Shares::new(&[50.0, 30.0, 20.0]).unwrap();
    let look = |dice: &mut Dice, alarm: &dyn Fn(&Counts) -> bool| {
        let mut counts = [0, 0, 0];
        (0..100).any(|_| {
            let first = dice.binomial(500, 0.5);
            let second = dice.binomial(500 - first, 0.6);
            counts = [counts[0] + first, counts[1] + second, counts[2] + 500 - first - second];
            alarm(&Counts::new(&shares, &counts).unwrap())
        })
    };
    let naive = rate(500, 50, |dice| look(dice, &|counts| counts.test().p.below(LEVEL)));
    println!("a chi-square test looked at a hundred times: {naive:.3}");
    assert!(naive > 0.2, "the trap does not exist anymore: {naive}");
    let found = rate(2000, 51, |dice| {
        look(dice, &|counts| always_valid(std::slice::from_ref(counts)).unwrap().below(LEVEL))
    });
    is_at_most("sequential sample ratio", found, 0.05, 2000);
}

#[test]
fn sample_ratios_of_phases_may_be_looked_at_all_the_time() {
    // 5, 20 and 50 % for 20 days each, then 5 % again.
    let found = rate(1000, 52, |dice| {
        let mut phases: Vec<Counts> = Vec::new();
        [0.05, 0.2, 0.5, 0.05].iter().any(|weight| {
            let shares = Shares::new(&[1.0 - weight, *weight]).unwrap();
            let mut counts = [0, 0];
            let before = phases.clone();
            (0..20).any(|_| {
                let candidate = dice.binomial(500, *weight);
                counts = [counts[0] + 500 - candidate, counts[1] + candidate];
                phases.clone_from(&before);
                phases.push(Counts::new(&shares, &counts).unwrap());
                always_valid(&phases).unwrap().below(LEVEL)
            })
        })
    });
    is_at_most("sequential sample ratio of phases", found, 0.05, 1000);
}

#[test]
fn a_mismatch_that_a_single_look_finds_is_found_at_every_look() {
    // The smallest mismatches of 10000 units that the chi-square test at 0.1 % and the always-valid one at 1 % find.
    let shares = Shares::new(&[50.0, 50.0]).unwrap();
    let counts = |candidate: u64| Counts::new(&shares, &[10_000 - candidate, candidate]).unwrap();
    let fixed = (5000..).find(|n| counts(*n).test().p.get() < srm::LEVEL).unwrap();
    let always = (5000..).find(|n| always_valid(&[counts(*n)]).unwrap().get() < srm::ALWAYS_LEVEL);
    assert_eq!((fixed, always), (5165, Some(5185)));
}
