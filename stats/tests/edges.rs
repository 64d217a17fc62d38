//! Edge cases of formulas: no variance, no successes, too few units, values that are not numbers.
//! The result is a reason, never NaN.

#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

use proptest::prelude::*;
use sidetrack_stats::accumulate::{Moments, Pairs};
use sidetrack_stats::bandit::{Rule, State, weights};
use sidetrack_stats::distribution::beta::Beta;
use sidetrack_stats::group_sequential::{Spending, bounds};
use sidetrack_stats::input::{Fraction, Proportion, Sample};
use sidetrack_stats::result::{Comparison, Decision, Estimate, Goal, Test, Undefined};
use sidetrack_stats::score::Score;
use sidetrack_stats::sequential::{ConfidenceSequence, Msprt};
use sidetrack_stats::srm::{Counts, Shares, always_valid, over_phases};
use sidetrack_stats::{cuped, means, posterior, power, ratio, score, trap};

const LEVEL: Fraction = Fraction::FIVE_PERCENT;

fn share(successes: u64, trials: u64) -> Proportion {
    Proportion::new(successes, trials).unwrap()
}

fn compare(one: Proportion, two: Proportion) -> Comparison {
    Score::of_shares(&[(one, two)], 1.0).unwrap().comparison(LEVEL)
}

fn pairs(values: &[(f64, f64)]) -> Pairs {
    let mut pairs = Pairs::default();
    values.iter().for_each(|(y, x)| pairs.add(*y, *x).unwrap());
    pairs
}

#[test]
fn zero_variance_is_undefined() {
    for (one, two) in [(share(0, 10), share(0, 20)), (share(10, 10), share(20, 20))] {
        let found = compare(one, two);
        assert_eq!(found.test, Err(Undefined::ZeroVariance));
        assert_eq!(found.decision(Goal::Higher, LEVEL), Decision::Undefined);
        assert_eq!(found.power, None);
        // The interval knows that ten units prove little.
        let interval = found.interval.unwrap();
        assert!(interval.low < -0.1 && interval.high > 0.1);
    }
    let constant = |mean| Sample::new(mean, 0.0, 10).unwrap();
    let found = means::compare(constant(5.0), constant(6.0), LEVEL);
    assert_eq!((found.test, found.interval), (Err(Undefined::ZeroVariance), None));
    assert_eq!(found.lift_interval, Err(Undefined::ZeroVariance));
    assert_eq!(
        power::detectable_for_means(constant(5.0), constant(6.0), LEVEL, Fraction::EIGHTY_PERCENT),
        None
    );
    let same = pairs(&[(1.0, 2.0), (1.0, 2.0), (2.0, 4.0)]);
    assert_eq!(ratio::compare(&same, &same, LEVEL).unwrap().test, Err(Undefined::ZeroVariance));
    let known = Estimate { difference: 1.0, variance: 0.0, df: None };
    assert_eq!(Msprt::new(1.0).unwrap().p_value(known), Err(Undefined::ZeroVariance));
}

#[test]
fn a_share_of_nothing_is_undefined() {
    let found = compare(share(0, 50), share(3, 40));
    assert_eq!(
        (found.lift, found.lift_interval),
        (Err(Undefined::ZeroBaseline), Err(Undefined::ZeroBaseline))
    );
    let found = compare(share(3, 40), share(0, 50));
    assert_eq!((found.lift, found.lift_interval), (Ok(-1.0), Err(Undefined::TooFew)));
    let sample = |mean| Sample::new(mean, 1.0, 10).unwrap();
    assert_eq!(means::compare(sample(0.0), sample(1.0), LEVEL).lift, Err(Undefined::ZeroBaseline));
    assert_eq!(
        means::compare(sample(0.1), sample(1.0), LEVEL).lift_interval,
        Err(Undefined::ZeroBaseline)
    );
    // Of a negative baseline more is still more.
    assert!(means::compare(sample(-5.0), sample(-4.0), LEVEL).lift.unwrap() > 0.0);
    let empty = pairs(&[(1.0, 0.0), (2.0, 0.0)]);
    assert_eq!(ratio::ratio(&empty), Err(Undefined::ZeroBaseline));
}

#[test]
fn too_few_is_said() {
    let one = pairs(&[(1.0, 1.0)]);
    assert_eq!(ratio::ratio(&one), Err(Undefined::TooFew));
    assert_eq!(cuped::compare(&one, &one, LEVEL), Err(Undefined::TooFew));
    assert_eq!(
        means::compare_raw(&Moments::default(), &Moments::default(), LEVEL),
        Err(Undefined::TooFew)
    );
    assert_eq!(Score::of_shares(&[], 1.0), Err(Undefined::TooFew));
    assert_eq!(always_valid(&[]), Err(Undefined::TooFew));
    assert_eq!(means::stratified(&[], LEVEL), Err(Undefined::TooFew));
    assert_eq!(over_phases(&[]), Err(Undefined::TooFew));
    assert_eq!(trap::weights_changed(&[(share(1, 2), share(1, 2))]), Err(Undefined::TooFew));
    let sequence = ConfidenceSequence::new(1000, LEVEL).unwrap();
    let estimate = Estimate { difference: 1.0, variance: 1.0, df: None };
    assert_eq!(sequence.interval(estimate, 99), Err(Undefined::TooFew));
    assert!(sequence.interval(estimate, 100).is_ok());
}

#[test]
fn what_cannot_be_used_is_refused() {
    assert!(
        Proportion::new(2, 1).is_err()
            && Proportion::new(0, 0).is_err()
            && Proportion::new(0, 1 << 53).is_err()
    );
    for (mean, sd, n) in [
        (f64::NAN, 1.0, 2),
        (1.0, f64::NAN, 2),
        (1.0, -1.0, 2),
        (1.0, f64::INFINITY, 2),
        (1.0, 1.0, 1),
    ] {
        assert!(Sample::new(mean, sd, n).is_err(), "{mean} {sd} {n}");
    }
    for value in [0.0, 1.0, -0.5, 5.0, f64::NAN] {
        assert!(Fraction::new(value).is_err(), "{value}");
    }
    assert!(Fraction::new(5.0).unwrap_err().to_string().contains("0.05"));
    assert!(
        Moments::default().add(f64::NAN).is_err()
            && Pairs::default().add(1.0, f64::INFINITY).is_err()
    );
    assert!(Pairs::of_summary(10, (1.0, 1.0), (1.0, 1.0), 1.5).is_err());
    assert!(Shares::new(&[50.0, 40.0]).is_err() && Shares::new(&[100.0, 0.0]).is_err());
    assert!(Shares::new(&[f64::NAN, 100.0]).is_err());
    let even = Shares::new(&[0.5, 0.5]).unwrap();
    assert!(Counts::new(&even, &[1, 2, 3]).is_err() && Counts::new(&even, &[0, 0]).is_err());
    assert!(Counts::new(&even, &[u64::MAX, 2]).is_err());
    for looks in [&[][..], &[0.5, 0.5], &[0.0, 1.0], &[0.5, 1.1], &[f64::NAN]] {
        assert!(bounds(looks, Spending::Pocock, LEVEL).is_err(), "{looks:?}");
    }
    assert!(bounds(&[1.0], Spending::Power(0.0), LEVEL).is_err());
    assert!(Beta::new(0.0, 1.0).is_none() && Beta::new(1.0, f64::NAN).is_none());
    assert!(
        State::new(1, 1.0).is_err() && State::new(2, 0.0).is_err() && State::new(2, 1.5).is_err()
    );
    let state = State::new(2, 1.0).unwrap();
    let weigh = |rule: Rule, now: &[f64]| weights(&state, rule, now).is_ok();
    assert!(weigh(Rule::default(), &[0.5, 0.5]));
    assert!(!weigh(Rule { floor: 0.5, ..Rule::default() }, &[0.5, 0.5]));
    assert!(!weigh(Rule { step: 0.0, ..Rule::default() }, &[0.5, 0.5]));
    assert!(!weigh(Rule::default(), &[0.5, 0.4]) && !weigh(Rule::default(), &[1.0]));
}

#[test]
fn a_bandit_adds_its_floor_and_forgets() {
    let mut state = State::new(2, 0.5).unwrap();
    let rule = Rule { warm_up: 0.0, ..Rule::default() };
    state.batch(&[Some(share(10, 100)), Some(share(20, 100))]).unwrap();
    let best = posterior::best(&state.posteriors(), false);
    let found = weights(&state, rule, &[0.5, 0.5]).unwrap();
    for (weight, p) in found.iter().zip(&best) {
        assert!((weight - (0.05 + 0.9 * p)).abs() < 1e-9, "{found:?} {best:?}");
    }
    // To minimise errors the order turns around, with two arms and with more.
    let turned = weights(&state, Rule { lowest: true, ..rule }, &[0.5, 0.5]).unwrap();
    assert!((turned[0] - found[1]).abs() < 1e-9);
    state.batch(&[None, None]).unwrap();
    assert_eq!(state.units(), [50.0, 50.0]);
    assert_eq!(
        weights(&state, Rule::default(), &[0.9, 0.1]).unwrap(),
        [0.5, 0.5],
        "below the warm-up all get the same"
    );
    assert!(state.batch(&[None]).is_err());
}

#[test]
fn what_is_detectable_has_the_power_that_it_says() {
    let (rate, sizes) = (Fraction::new(0.1).unwrap(), (4000, 2000));
    let rise = power::detectable_for_rate(rate, sizes, LEVEL, Fraction::EIGHTY_PERCENT).unwrap();
    let found = score::power_for_rates(0.1, 0.1 + rise, (4000.0, 2000.0), LEVEL);
    assert!((found - 0.8).abs() < 1e-9, "{found}");
    assert_eq!(power::detectable_for_rate(rate, (2, 2), LEVEL, Fraction::EIGHTY_PERCENT), None);
    let (one, two) = (Sample::new(5.0, 2.0, 30).unwrap(), Sample::new(5.0, 3.0, 40).unwrap());
    let size = power::detectable_for_means(one, two, LEVEL, Fraction::EIGHTY_PERCENT).unwrap();
    let found = means::compare(one, two, LEVEL).estimate.power(size, LEVEL).unwrap();
    assert!((found - 0.8).abs() < 1e-9, "{found}");
}

#[test]
fn quantiles_turn_tails_around() {
    for (a, b) in [(0.5, 50.5), (3.0, 4.0), (1e8, 3e8)] {
        let beta = Beta::new(a, b).unwrap();
        for probability in [1e-12, 0.025, 0.5, 0.975] {
            let (lower, _) = beta.ln_tails(beta.quantile(probability));
            assert!(
                (lower.exp() / probability - 1.0).abs() < 1e-6,
                "{a} {b} {probability}: {}",
                lower.exp()
            );
        }
    }
}

#[test]
fn a_summary_is_as_good_as_the_data() {
    let raw = pairs(&[(1.0, 2.0), (4.0, 3.0), (2.0, 7.0), (9.0, 8.0)]);
    let summary =
        Pairs::of_summary(raw.count(), raw.means(), raw.variances(), raw.covariance()).unwrap();
    let (one, two) = (ratio::ratio(&raw).unwrap(), ratio::ratio(&summary).unwrap());
    assert!((one.value - two.value).abs() < 1e-14 && (one.variance - two.variance).abs() < 1e-14);
}

#[test]
fn of_four_the_one_with_fewest_errors_wins() {
    let mut state = State::new(4, 1.0).unwrap();
    state.batch(&[10, 60, 110, 160].map(|x| Some(share(x, 1000)))).unwrap();
    let found = weights(&state, Rule { lowest: true, ..Rule::default() }, &[0.25; 4]).unwrap();
    assert!(found[0] > 0.84 && found[3] < 0.051, "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the counts, numbers are numbers, p-values and powers are probabilities, and
    /// intervals hold the difference.
    #[test]
    fn nothing_is_ever_nan(n1 in 1u64..1 << 52, n2 in 1u64..1 << 52, a in 0.0..=1.0f64, b in 0.0..=1.0f64, small: bool) {
        let (n1, n2) = if small { (n1 % 50 + 1, n2 % 50 + 1) } else { (n1, n2) };
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of n")]
        let part = |n: u64, share: f64| ((n as f64 * share) as u64).min(n);
        let (one, two) = (share(part(n1, a), n1), share(part(n2, b), n2));
        let found = compare(one, two);
        let difference = found.estimate.difference;
        let interval = found.interval.unwrap();
        prop_assert!((-1.0..=1.0).contains(&interval.low) && (-1.0..=1.0).contains(&interval.high));
        prop_assert!(interval.low <= difference + 1e-12 && difference <= interval.high + 1e-12, "{:?}", found);
        if let Ok(test) = found.test {
            prop_assert!((0.0..=1.0).contains(&test.p.get()) && test.p.log10() <= 0.0, "{:?}", found);
            prop_assert!((0.0..=1.0).contains(&found.power.unwrap()), "{:?}", found);
        }
        if let (Ok(lift), Ok(interval)) = (found.lift, found.lift_interval) {
            prop_assert!(lift >= -1.0 && interval.low <= lift + 1e-9 && lift <= interval.high + 1e-9, "{:?}", found);
        }
        // Turned around, the difference changes its sign and nothing else.
        let turned = compare(two, one);
        prop_assert!((turned.estimate.difference + difference).abs() <= 1e-15 * difference.abs());
        let ln = |test: Result<Test, Undefined>| test.map_or(1.0, |test| test.p.ln());
        prop_assert!((ln(turned.test) - ln(found.test)).abs() <= 1e-9 * ln(found.test).abs(), "{:?} {:?}", found, turned);
    }

    #[test]
    fn means_are_never_nan(
        m1 in -1e150..1e150f64, s1 in 0.0..1e150f64, n1 in 2u64..1 << 52,
        m2 in -1e6..1e6f64, s2 in 0.0..1e3f64, n2 in 2u64..1000, same: bool,
    ) {
        let two = Sample::new(m2, s2, n2).unwrap();
        let one = if same { Sample::new(m2 + 1.0, s2, n1).unwrap() } else { Sample::new(m1, s1, n1).unwrap() };
        let found = means::compare(one, two, LEVEL);
        if let Ok(test) = found.test {
            prop_assert!((0.0..=1.0).contains(&test.p.get()) && test.p.log10() <= 0.0, "{:?}", found);
            prop_assert!((0.0..=1.0).contains(&found.power.unwrap()), "{:?}", found);
            prop_assert!(found.interval.unwrap().low <= found.interval.unwrap().high, "{:?}", found);
        }
    }

    #[test]
    fn probabilities_of_being_the_best_sum_to_one(arms in prop::collection::vec((0.5..1e6f64, 0.5..1e6f64), 2..4)) {
        let arms: Vec<Beta> = arms.iter().map(|(a, b)| Beta::new(*a, *b).unwrap()).collect();
        let sum: f64 = posterior::best(&arms, false).iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
        prop_assert!(posterior::expected_loss(&arms, false).iter().all(|loss| (0.0..=1.0).contains(loss)));
    }
}
