//! Analyses that give confident nonsense: that they do, that the right one does not, and that they
//! are refused.

use sidetrack_stats::bandit::{Rule, State, weights};
use sidetrack_stats::sequential::ConfidenceSequence;
use sidetrack_stats::trap::{Design, Rows, Trap, Weights, check, weights_changed};

use super::*;

/// Sums over phases.
fn summed(phases: &[(Proportion, Proportion)]) -> (Proportion, Proportion) {
    let sum = |of: fn(&(Proportion, Proportion)) -> Proportion| {
        let successes = phases.iter().map(|phase| of(phase).successes()).sum();
        share(successes, phases.iter().map(|phase| of(phase).trials()).sum())
    };
    (sum(|phase| phase.0), sum(|phase| phase.1))
}

/// The test within phases.
fn apart(phases: &[(Proportion, Proportion)]) -> Test {
    Score::of_shares(phases, 1.0).unwrap().test().unwrap()
}

#[test]
fn a_ramp_during_a_drift_fools_only_who_sums_up() {
    // 5, 15, 30 percent, while the conversion rate of all users rises from 8 to 12 percent.
    let ramp = |dice: &mut Dice| -> Vec<(Proportion, Proportion)> {
        let phase = |(weight, p): (f64, f64)| {
            let n2 = dice.binomial(10_000, weight);
            let n1 = 10_000 - n2;
            (share(dice.binomial(n1, p), n1), share(dice.binomial(n2, p), n2))
        };
        [(0.05, 0.08), (0.15, 0.10), (0.30, 0.12)].map(phase).to_vec()
    };
    let pooled = rate(2000, 60, |dice| {
        let (one, two) = summed(&ramp(dice));
        test(one, two).p.below(LEVEL)
    });
    println!("phases summed up: {pooled:.3}");
    assert!(pooled > 0.5, "the trap does not exist anymore: {pooled}");
    let apart = rate(10_000, 61, |dice| self::apart(&ramp(dice)).p.below(LEVEL));
    is_nominal("phases apart", apart, 0.05, 10_000);
    assert!(weights_changed(&ramp(&mut Dice::new(62))).unwrap().p.get() < 1e-12);
    let design = Design { rows: Rows::Units, weights: Weights::Scheduled, summed: true };
    assert_eq!(check(design), Err(Trap::PooledPhases));
    assert_eq!(check(Design { summed: false, ..design }), Ok(()));
}

#[test]
fn a_bandits_sums_fool_a_fixed_test_of_its_batches_errs_and_an_always_valid_one_does_not() {
    let sequence = ConfidenceSequence::new(50_000, LEVEL).unwrap();
    let (mut pooled, mut fixed, mut always) = (0u64, 0u64, 0u64);
    let repetitions = 2000;
    for number in 0..repetitions {
        let mut dice = Dice::new(70_000 + number);
        let mut state = State::new(2, 1.0).unwrap();
        let rule = Rule { floor: 0.05, ..Rule::default() };
        let mut now = vec![0.5, 0.5];
        let mut batches = Vec::new();
        let mut found = false;
        for batch in 1..=25 {
            // Everybody converts more and more often: from 5 to 10 percent.
            let p = 0.05 + 0.002 * batch as f64;
            let n2 = dice.binomial(2000, now[1]);
            let pair =
                (share(dice.binomial(2000 - n2, p), 2000 - n2), share(dice.binomial(n2, p), n2));
            state.batch(&[Some(pair.0), Some(pair.1)]).unwrap();
            now = weights(&state, rule, &now).unwrap();
            batches.push(pair);
            let z = apart(&batches).statistic;
            found |= sequence.p_of_score(z, 2000 * batch).unwrap().below(LEVEL);
        }
        let (one, two) = summed(&batches);
        pooled += u64::from(test(one, two).p.below(LEVEL));
        fixed += u64::from(apart(&batches).p.below(LEVEL));
        always += u64::from(found);
    }
    let share = |count: u64| count as f64 / repetitions as f64;
    let (pooled, fixed, always) = (share(pooled), share(fixed), share(always));
    println!(
        "a bandit's sums: {pooled:.3}, its batches at the end: {fixed:.3}, daily: {always:.3}"
    );
    assert!(pooled > 0.2, "the trap does not exist anymore: {pooled}");
    assert!(fixed > 0.06, "the trap does not exist anymore: {fixed}");
    is_at_most("a bandit's batches, always valid", always, 0.05, repetitions);
    let design = Design { rows: Rows::Units, weights: Weights::Adaptive, summed: true };
    assert_eq!(check(design), Err(Trap::PooledBandit));
}

#[test]
fn requests_are_refused_whatever_else_holds() {
    for weights in [Weights::Constant, Weights::Scheduled, Weights::Adaptive] {
        let design = Design { rows: Rows::Requests, weights, summed: false };
        assert_eq!(check(design), Err(Trap::RequestLevel));
    }
    assert!(Trap::RequestLevel.to_string().contains("not independent"));
}

#[test]
fn a_bandit_finds_the_best_and_keeps_the_floor() {
    let mut dice = Dice::new(80);
    let mut state = State::new(3, 0.95).unwrap();
    let mut now = vec![1.0 / 3.0; 3];
    for _ in 0..40 {
        let mut outcomes = Vec::new();
        for (weight, p) in now.iter().zip([0.05, 0.05, 0.08]) {
            let n = dice.binomial(3000, *weight).max(1);
            outcomes.push(Some(share(dice.binomial(n, p), n)));
        }
        state.batch(&outcomes).unwrap();
        let before = now.clone();
        now = weights(&state, Rule { step: 0.1, ..Rule::default() }, &now).unwrap();
        assert!((now.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{now:?}");
        assert!(
            now.iter().zip(&before).all(|(a, b)| (a - b).abs() <= 0.1 + 1e-12),
            "{now:?} {before:?}"
        );
        assert!(now.iter().all(|weight| *weight >= 0.05 - 1e-12), "{now:?}");
    }
    assert!(now[2] > 0.85, "{now:?}");
}
