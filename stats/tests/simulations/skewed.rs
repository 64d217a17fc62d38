//! Skewed values in a small group: revenue, of which most users have none.

use sidetrack_stats::accumulate::Moments;
use sidetrack_stats::input::Sample;
use sidetrack_stats::means;
use sidetrack_stats::sequential::ConfidenceSequence;

use super::*;

type Draw = fn(&mut Dice) -> f64;

fn exponential(dice: &mut Dice) -> f64 {
    -dice.uniform().ln()
}

fn two_percent_pay(dice: &mut Dice) -> f64 {
    if dice.happens(0.02) { 50.0 * exponential(dice) } else { 0.0 }
}

/// Refunds: the long tail is on the other side.
fn two_percent_refund(dice: &mut Dice) -> f64 {
    -two_percent_pay(dice)
}

fn log_normal(dice: &mut Dice) -> f64 {
    (1.5 * dice.normal()).exp()
}

const SHAPES: [(&str, Draw); 5] = [
    ("exponential", exponential),
    ("2 % pay", two_percent_pay),
    ("2 % refund", two_percent_refund),
    ("log-normal", log_normal),
    ("Pareto", |dice| dice.pareto(1.2)),
];

fn sample(dice: &mut Dice, units: u64, draw: Draw) -> Moments {
    let mut moments = Moments::default();
    (0..units).for_each(|_| moments.add(draw(dice)).unwrap());
    moments
}

#[test]
fn equal_skewed_means_are_called_different_at_most_at_the_level() {
    const REPETITIONS: u64 = 600;
    let mut worst: f64 = 0.0;
    for (index, (name, draw)) in (0u64..).zip(SHAPES) {
        for (one, two) in [(950, 50), (1900, 100), (50, 950), (400, 400)] {
            let mut welch = 0u64;
            let found = rate(REPETITIONS, 10_000_000 * (index + 1) + one, |dice| {
                let groups = (sample(dice, one, draw), sample(dice, two, draw));
                let of = |group: &Moments| group.sample().unwrap();
                let alone = means::welch(of(&groups.0), of(&groups.1)).test();
                welch += u64::from(alone.is_ok_and(|test| test.p.below(LEVEL)));
                let test = means::compare_raw(&groups.0, &groups.1, LEVEL).unwrap().test;
                test.is_ok_and(|test| test.p.below(LEVEL))
            });
            let welch = welch as f64 / REPETITIONS as f64;
            println!("Welch alone: {welch:.3}");
            worst = worst.max(welch);
            is_at_most(&format!("{name}, {one} and {two}"), found, 0.05, REPETITIONS);
        }
    }
    assert!(worst > 0.2, "the trap does not exist anymore: {worst}");
}

#[test]
fn skewed_means_may_be_looked_at_every_day() {
    const REPETITIONS: u64 = 200;
    let sequence = ConfidenceSequence::new(10_000, LEVEL).unwrap();
    for (index, (name, draw)) in (0u64..).zip(SHAPES) {
        let found = rate(REPETITIONS, 20_000_000 * (index + 1), |dice| {
            let (mut one, mut two) = (Moments::default(), Moments::default());
            (1..=14).any(|day| {
                one.merge(&sample(dice, 285, draw));
                two.merge(&sample(dice, 15, draw));
                let estimate = means::compare_raw(&one, &two, LEVEL).unwrap().estimate;
                sequence.p_value(estimate, 300 * day).is_ok_and(|p| p.below(LEVEL))
            })
        });
        is_at_most(&format!("{name}, daily"), found, 0.05, REPETITIONS);
    }
}

#[test]
fn a_true_difference_of_skewed_means_is_found() {
    let found = rate(300, 30_000_000, |dice| {
        let one = sample(dice, 4000, exponential);
        let mut two = Moments::default();
        (0..400).for_each(|_| two.add(1.25 * exponential(dice)).unwrap());
        means::compare_raw(&one, &two, LEVEL).unwrap().test.unwrap().p.below(LEVEL)
    });
    assert!(found > 0.9, "{found}");
}

#[test]
fn a_group_that_missed_all_payers_is_not_certain() {
    let (one, two) = (Sample::new(0.9, 6.5, 4750).unwrap(), Sample::new(0.0, 0.0, 250).unwrap());
    let test = means::compare(one, two, LEVEL).test.unwrap();
    // Welch's test alone says p = 2e-21; the group misses all payers once in 150 experiments.
    assert!(test.p.get() > 0.01, "{test:?}");
    assert_eq!(test.df, Some(4998.0));
}
