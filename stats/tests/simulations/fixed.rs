//! One look at the end.

use sidetrack_stats::accumulate::{Moments, Pairs};
use sidetrack_stats::result::{Decision, Goal};
use sidetrack_stats::srm::{Counts, LEVEL as SRM_LEVEL, Shares};
use sidetrack_stats::{cuped, means, power, ratio};

use super::*;

#[test]
fn equal_shares_are_called_different_at_the_level() {
    let found = rate(20_000, 1, |dice| {
        let (x1, x2) = (dice.binomial(5000, 0.1), dice.binomial(3000, 0.1));
        let found = compare(share(x1, 5000), share(x2, 3000));
        found.decision(Goal::Higher, LEVEL) != Decision::NoDifferenceShown
    });
    is_nominal("A/A, shares", found, 0.05, 20_000);
}

#[test]
fn intervals_of_shares_hold_the_truth() {
    // Small groups, where Wald's interval holds it 87 times of 100.
    let missed = rate(20_000, 2, |dice| {
        let (x1, x2) = (dice.binomial(60, 0.03), dice.binomial(50, 0.08));
        let interval = compare(share(x1, 60), share(x2, 50)).interval.unwrap();
        !(interval.low..=interval.high).contains(&0.05)
    });
    is_at_most("the interval misses", missed, 0.05, 20_000);
    let missed = rate(20_000, 3, |dice| {
        let (x1, x2) = (dice.binomial(5000, 0.10), dice.binomial(5000, 0.11));
        let found = compare(share(x1, 5000), share(x2, 5000)).lift_interval.unwrap();
        !(found.low..=found.high).contains(&0.1)
    });
    is_nominal("the lift's interval misses", missed, 0.05, 20_000);
}

#[test]
fn equal_means_are_called_different_at_the_level() {
    // Unequal spreads and sizes: Student's test with a common variance would be far off.
    let found = rate(20_000, 4, |dice| {
        let (mut one, mut two) = (Moments::default(), Moments::default());
        (0..40).for_each(|_| one.add(10.0 + dice.normal()).unwrap());
        (0..15).for_each(|_| two.add(10.0 + 4.0 * dice.normal()).unwrap());
        means::compare_raw(&one, &two, LEVEL).unwrap().test.unwrap().p.below(LEVEL)
    });
    is_nominal("A/A, means", found, 0.05, 20_000);
}

#[test]
fn the_planned_size_has_the_planned_power() {
    let goal = power::Goal {
        level: LEVEL,
        power: Fraction::EIGHTY_PERCENT,
        share: Fraction::new(0.3).unwrap(),
    };
    let size = power::size_for_rate(Fraction::new(0.1).unwrap(), 0.02, goal, power::Formula::Score)
        .unwrap();
    let found = rate(10_000, 5, |dice| {
        let (x1, x2) = (dice.binomial(size.baseline, 0.1), dice.binomial(size.candidate, 0.12));
        let found = compare(share(x1, size.baseline), share(x2, size.candidate));
        found.decision(Goal::Higher, LEVEL) == Decision::Better
    });
    is_nominal("power", found, 0.8, 10_000);
}

/// A user makes many requests, a few make very many, and each has a conversion rate of his own.
fn heavy_user(dice: &mut Dice) -> (u64, u64) {
    let requests = dice.pareto(1.8).min(300.0).round() as u64;
    let own = 0.6 * dice.uniform().powi(3);
    (dice.binomial(requests, own), requests)
}

#[test]
fn heavy_users_do_not_raise_the_level() {
    let (mut users, mut requests) = (0u64, 0u64);
    let repetitions = 2000;
    for number in 0..repetitions {
        let mut dice = Dice::new(600_000 + number);
        let mut groups = [(Pairs::default(), 0, 0), (Pairs::default(), 0, 0)];
        for (pairs, successes, trials) in &mut groups {
            for _ in 0..1000 {
                let (x, n) = heavy_user(&mut dice);
                pairs.add(x as f64, n as f64).unwrap();
                (*successes, *trials) = (*successes + x, *trials + n);
            }
        }
        let [(one, x1, n1), (two, x2, n2)] = groups;
        users += u64::from(ratio::compare(&one, &two, LEVEL).unwrap().test.unwrap().p.below(LEVEL));
        requests += u64::from(test(share(x1, n1), share(x2, n2)).p.below(LEVEL));
    }
    let (users, requests) =
        (users as f64 / repetitions as f64, requests as f64 / repetitions as f64);
    is_nominal("A/A with heavy users, by user", users, 0.05, repetitions);
    println!("the same by request: {requests:.3}");
    assert!(requests > 0.15, "the trap does not exist anymore: {requests}");
}

#[test]
fn a_covariate_takes_noise_away_and_keeps_the_level() {
    let (mut wrong, mut narrower) = (0u64, 0.0);
    let repetitions = 4000;
    for number in 0..repetitions {
        let mut dice = Dice::new(700_000 + number);
        let mut groups = [Pairs::default(), Pairs::default()];
        for (group, size) in groups.iter_mut().zip([200, 120]) {
            for _ in 0..size {
                let before = dice.normal();
                group.add(5.0 + 0.8 * before + 0.6 * dice.normal(), before).unwrap();
            }
        }
        let found = cuped::compare(&groups[0], &groups[1], LEVEL).unwrap();
        wrong += u64::from(found.comparison.test.unwrap().p.below(LEVEL));
        narrower += found.reduction;
    }
    is_nominal("A/A with CUPED", wrong as f64 / repetitions as f64, 0.05, repetitions);
    // A correlation of 0.8 takes 64 percent of the variance.
    let reduction = narrower / repetitions as f64;
    assert!((reduction - 0.64).abs() < 0.01, "{reduction}");
}

#[test]
fn sample_ratio_alarms_are_rare_by_user_and_common_by_request() {
    let shares = Shares::new(&[70.0, 30.0]).unwrap();
    let alarm = Fraction::new(SRM_LEVEL).unwrap();
    let by_user = rate(50_000, 8, |dice| {
        let candidate = dice.binomial(20_000, 0.3);
        Counts::new(&shares, &[20_000 - candidate, candidate]).unwrap().test().p.below(alarm)
    });
    is_nominal("false alarms by user", by_user, SRM_LEVEL, 50_000);
    let by_request = rate(1000, 9, |dice| {
        let mut counts = [0, 0];
        for _ in 0..1000 {
            let group = usize::from(dice.happens(0.3));
            counts[group] += heavy_user(dice).1;
        }
        Counts::new(&shares, &counts).unwrap().test().p.below(alarm)
    });
    println!("false alarms by request: {by_request:.3}");
    assert!(by_request > 0.2, "the trap does not exist anymore: {by_request}");
    // And a real loss of three users in a hundred of the candidate is found.
    let found = rate(500, 10, |dice| {
        let candidate = dice.binomial(200_000, 0.3);
        let logged = dice.binomial(candidate, 0.97);
        Counts::new(&shares, &[200_000 - candidate, logged]).unwrap().test().p.below(alarm)
    });
    assert!(found > 0.9, "{found}");
}
