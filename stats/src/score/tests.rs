use super::*;

fn share(successes: u64, trials: u64) -> Proportion {
    Proportion::new(successes, trials).unwrap()
}

fn score(baseline: (u64, u64), candidate: (u64, u64)) -> Score {
    let pair = (share(baseline.0, baseline.1), share(candidate.0, candidate.1));
    Score::of_shares(&[pair], 1.0).unwrap()
}

/// The probability of `x` of `n`, and its range of all that matters.
fn binomial(n: u64, p: f64) -> Vec<(u64, f64)> {
    let ln = |x: u64| {
        let (n, x) = (float(n), float(x));
        libm::lgamma(n + 1.0) - libm::lgamma(x + 1.0) - libm::lgamma(n - x + 1.0)
            + x * p.ln()
            + (n - x) * (-p).ln_1p()
    };
    (0..=n).map(|x| (x, ln(x).exp())).filter(|(_, p)| *p > 1e-7).collect()
}

/// The exact probabilities that equal variants are called better and worse.
fn errors(n: (u64, u64), p: f64) -> (f64, f64) {
    let (mut better, mut worse) = (0.0, 0.0);
    for (x1, p1) in binomial(n.0, p) {
        for (x2, p2) in binomial(n.1, p) {
            let score = score((x1, n.0), (x2, n.1));
            if score.test().is_ok_and(|test| test.p.below(Fraction::FIVE_PERCENT)) {
                *(if score.difference() > 0.0 { &mut better } else { &mut worse }) += p1 * p2;
            }
        }
    }
    (better, worse)
}

#[test]
fn each_side_errs_at_most_at_its_half_of_the_level_whatever_the_share_and_the_rate() {
    for n in [200, 1000, 4000] {
        for percent in [1, 5, 20, 50] {
            let two = n * percent / 100;
            for p in [0.002, 0.01, 0.03, 0.1, 0.5] {
                let (better, worse) = errors((n - two, two), p);
                let place = format!("{n} units, {percent} %, {p}: {better} {worse}");
                assert!(better <= 0.025 && worse <= 0.025, "{place}");
            }
        }
    }
    // And it is not idle: of large arms it errs nearly as often as it may.
    let (better, worse) = errors((2000, 2000), 0.1);
    assert!(better > 0.023 && worse > 0.023, "{better} {worse}");
}

#[test]
fn the_plain_z_test_errs_twice_as_often_in_a_small_arm() {
    let mut worse = 0.0;
    for (x1, p1) in binomial(950, 0.02) {
        for (x2, p2) in binomial(50, 0.02) {
            let pooled = float(x1 + x2) / 1000.0;
            let se = (pooled * (1.0 - pooled) * (1.0 / 950.0 + 1.0 / 50.0)).sqrt();
            if (float(x2) / 50.0 - float(x1) / 950.0) / se > 1.96 {
                worse += p1 * p2;
            }
        }
    }
    assert!(worse > 0.045, "{worse}");
}

#[test]
fn test_and_interval_agree() {
    for (one, two) in [
        ((190, 9500), (2, 500)),
        ((190, 9500), (18, 500)),
        ((30, 400), (50, 400)),
        ((8, 20), (15, 20)),
    ] {
        let score = score(one, two);
        let test = score.test().unwrap();
        let z = test.statistic.abs();
        for (z, holds) in [(z * 1.0001, true), (z * 0.9999, false)] {
            let interval = score.interval(z);
            assert_eq!((interval.low..=interval.high).contains(&0.0), holds, "{one:?} {two:?}");
            assert!(interval.low < score.difference() && score.difference() < interval.high);
        }
    }
}

#[test]
fn without_an_event_the_interval_is_about_the_rule_of_three() {
    let interval = score((0, 100_000), (0, 300)).interval(1.645);
    assert!((interval.high - 3.0 / 300.0).abs() < 0.003, "{interval:?}");
    assert!(interval.low < 0.0 && interval.low > -0.001, "{interval:?}");
    assert_eq!(score((0, 9500), (0, 500)).test(), Err(Undefined::ZeroVariance));
    assert_eq!(score((500, 500), (20, 20)).test(), Err(Undefined::ZeroVariance));
}

#[test]
fn few_events_decide_nothing_unless_they_should_have_been_more() {
    // Expected: 4 of 96 in the candidate.
    assert_eq!(score((76, 950), (0, 50)).test(), Err(Undefined::FewEvents));
    assert!(score((190, 9500), (0, 500)).test().is_ok());
    // A failure of the candidate alone is one.
    assert!(score((0, 9500), (12, 500)).test().unwrap().p.get() < 1e-6);
    assert_eq!(score((0, 9500), (4, 500)).test(), Err(Undefined::FewEvents));
    // Units without an event count likewise.
    assert_eq!(score((9500, 9500), (496, 500)).test(), Err(Undefined::FewEvents));
}

#[test]
fn exchanged_arms_and_exchanged_events_turn_the_sign() {
    let straight = score((30, 400), (9, 60));
    for other in [score((9, 60), (30, 400)), score((370, 400), (51, 60))] {
        for delta in [-0.2, 0.0, 0.03, 0.2] {
            let sum = straight.statistic(delta) + other.statistic(-delta);
            assert!(sum.abs() < 1e-9, "{delta}: {sum}");
        }
    }
}

fn pairs(units: &[(f64, f64)]) -> Pairs {
    let mut pairs = Pairs::default();
    units.iter().for_each(|(y, x)| pairs.add(*y, *x).unwrap());
    pairs
}

#[test]
fn a_unit_with_many_failures_is_not_many_events() {
    let arm = |failing: usize, all: usize, requests: f64| {
        let units: Vec<_> =
            (0..all).map(|unit| (if unit < failing { requests } else { 0.0 }, requests)).collect();
        pairs(&units)
    };
    let one = Score::of_ratios(&[(arm(30, 400, 1.0), arm(9, 60, 1.0))], 1.0).unwrap();
    let ten = Score::of_ratios(&[(arm(30, 400, 10.0), arm(9, 60, 10.0))], 1.0).unwrap();
    let wanted = score((30, 400), (9, 60)).statistic(0.0);
    for found in [one, ten] {
        assert!((found.statistic(0.0) - wanted).abs() < 1e-9, "{found:?}");
    }
    // Failures that are spread over the units are events each.
    let spread = |failures: usize, all: usize| {
        let units: Vec<_> =
            (0..all).map(|unit| (if unit < failures { 1.0 } else { 0.0 }, 10.0)).collect();
        pairs(&units)
    };
    let spread = Score::of_ratios(&[(spread(300, 400), spread(90, 60 * 2))], 1.0).unwrap();
    let requests = score((300, 4000), (90, 1200)).statistic(0.0);
    assert!((spread.statistic(0.0) - requests).abs() < 1e-9);
}

#[test]
fn values_that_are_no_shares_are_refused() {
    let revenue = pairs(&[(9.0, 1.0), (3.0, 1.0), (0.0, 1.0)]);
    assert_eq!(Score::of_ratios(&[(revenue, revenue)], 1.0), Err(Undefined::ZeroBaseline));
    assert_eq!(Score::of_ratios(&[], 1.0), Err(Undefined::TooFew));
}

#[test]
fn strata_count_within_themselves() {
    let phases = [(share(50, 9500), share(4, 500)), (share(1200, 7000), share(510, 3000))];
    let merged = Score::of_shares(&phases, 1.0).unwrap();
    // Cochran's: the sum of x₂ n₁ − x₁ n₂ over n, over the root of the sum of n₁ n₂ p q over n.
    let (mut top, mut bottom) = (0.0, 0.0);
    for (one, two) in &phases {
        let (n, x) = (one.n() + two.n(), one.x() + two.x());
        top += (two.x() * one.n() - one.x() * two.n()) / n;
        bottom += one.n() / n * two.n() * (x / n) * (1.0 - x / n);
    }
    let (ours, theirs) = (merged.statistic(0.0), top / bottom.sqrt());
    assert!((ours - theirs).abs() < 0.03, "{ours} {theirs}");
    // Units in both strata widen it.
    let wider = Score::of_shares(&phases, 2.0).unwrap();
    let (narrow, wide) = (merged.interval(1.96), wider.interval(1.96));
    assert!(wide.high - wide.low > 1.3 * (narrow.high - narrow.low));
}

#[test]
fn equal_shares_are_rejected_beyond_the_reach() {
    for (n1, n2, p) in [(2000.0, 250.0, 0.05), (400.0, 400.0, 0.5), (300.0, 5000.0, 0.99)] {
        // Shares with this difference, whose common one is `p`.
        let apart = |d: f64| {
            let (one, two) = (d * n2 / (n1 + n2), d * n1 / (n1 + n2));
            let stratum =
                Stratum { weight: 1.0, baseline: (p - one, n1), candidate: (p + two, n2) };
            Score::of_strata(&[stratum], 1.3).unwrap()
        };
        let (below, above) = apart(0.0).reach(1.96);
        for (end, sign) in [(below, -1.0), (above, 1.0)] {
            let far = |factor: f64| sign * apart(end * factor).statistic(0.0);
            assert!((far(1.0) - 1.96).abs() < 1e-9, "{n1} {n2} {p}: {}", far(1.0));
            assert!(far(0.999) < 1.96 && far(1.001) > 1.96);
        }
    }
    // Of rare events, a small candidate's share rises more than it falls.
    let rare = Stratum { weight: 1.0, baseline: (0.05, 9000.0), candidate: (0.05, 250.0) };
    let (below, above) = Score::of_strata(&[rare], 1.0).unwrap().reach(1.96);
    assert!(above > -1.1 * below, "{below} {above}");
    assert_eq!(Score::of_strata(&[], 1.0), Err(Undefined::TooFew));
}
