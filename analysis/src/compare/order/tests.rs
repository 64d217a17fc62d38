//! Error rates by simulation, with fixed seeds.

use sidetrack_stats::dice::Dice;

use super::*;

const LEVEL: Fraction = Fraction::FIVE_PERCENT;
const Z: f64 = 1.959_963_984_540_054;

/// How latencies are distributed over units and requests.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One request per unit, log-normal.
    Single,
    /// A few requests per unit, with a Pareto tail.
    Tail,
    /// Many requests per unit, and each unit is faster or slower by itself.
    Clustered,
}

impl Shape {
    /// Requests of `units` units, slower by a factor.
    fn draw(self, dice: &mut Dice, units: u32, factor: f64) -> Histogram {
        let mut histogram = Histogram::default();
        for _ in 0..units {
            let unit = dice.bits();
            let own = (0.7 * dice.normal()).exp();
            loop {
                let latency = match self {
                    Self::Single => 60.0 * dice.normal().exp(),
                    Self::Tail => 40.0 * dice.uniform().powf(-0.4),
                    Self::Clustered => 60.0 * own * dice.normal().exp(),
                };
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a latency"
                )]
                histogram.add(unit, (factor * latency) as u32);
                let again = match self {
                    Self::Single => 0.0,
                    Self::Tail => 0.7,
                    Self::Clustered => 0.9,
                };
                if dice.uniform() >= again {
                    break;
                }
            }
        }
        histogram
    }
}

/// How often a test of equal variants calls the candidate slower, and how often faster.
fn errors(shape: Shape, share: f64, sizes: (u32, u32), repetitions: u32) -> (f64, f64) {
    let (mut slower, mut faster) = (0u32, 0u32);
    for number in 0..repetitions {
        let mut dice = Dice::new(u64::from(number) * 7919 + u64::from(sizes.1));
        let (one, two) = (shape.draw(&mut dice, sizes.0, 1.0), shape.draw(&mut dice, sizes.1, 1.0));
        let strata = [((&one, sizes.0.into()), (&two, sizes.1.into()))];
        let Ok(test) = Quantiles::new(share, &strata).unwrap().test() else { continue };
        if test.p.below(LEVEL) {
            slower += u32::from(test.statistic > 0.0);
            faster += u32::from(test.statistic < 0.0);
        }
    }
    let rate = |hits: u32| f64::from(hits) / f64::from(repetitions);
    (rate(slower), rate(faster))
}

#[test]
fn equal_variants_are_called_different_at_most_at_the_level() {
    const REPETITIONS: u32 = 100;
    // A rate of 2.5 % plus four of its standard errors.
    let most = 0.025 + 4.0 * (0.025 * 0.975 / f64::from(REPETITIONS)).sqrt();
    for shape in [Shape::Single, Shape::Tail, Shape::Clustered] {
        for share in [0.5, 0.95] {
            for sizes in [(150, 150), (650, 60)] {
                let (slower, faster) = errors(shape, share, sizes, REPETITIONS);
                println!("{shape:?}, p{}, {sizes:?}: {slower:.3} {faster:.3}", 100.0 * share);
                assert!(slower <= most && faster <= most, "{shape:?} {share} {sizes:?}");
            }
        }
    }
}

#[test]
fn intervals_hold_the_true_difference() {
    const REPETITIONS: u32 = 100;
    let most = 0.025 + 4.0 * (0.025 * 0.975 / f64::from(REPETITIONS)).sqrt();
    for (shape, share, quantile) in [
        (Shape::Single, 0.95, 60.0 * (1.644_853_626_951_472_7f64).exp()),
        (Shape::Single, 0.5, 60.0),
        (Shape::Tail, 0.95, 40.0 * 0.05f64.powf(-0.4)),
        // The standard deviation of the logarithm is √(0.7² + 1).
        (Shape::Clustered, 0.95, 60.0 * (1.644_853_626_951_472_7 * 1.49f64.sqrt()).exp()),
    ] {
        for sizes in [(250, 250), (950, 100)] {
            let (mut low, mut high) = (0u32, 0u32);
            for number in 0..REPETITIONS {
                let mut dice = Dice::new(u64::from(number) * 104_729 + u64::from(sizes.1));
                let one = shape.draw(&mut dice, sizes.0, 1.0);
                let two = shape.draw(&mut dice, sizes.1, 1.3);
                let strata = [((&one, sizes.0.into()), (&two, sizes.1.into()))];
                let interval = Quantiles::new(share, &strata).unwrap().interval(Z);
                low += u32::from(interval.low > 0.0003 * quantile);
                high += u32::from(interval.high < 0.0003 * quantile);
            }
            let rate = |misses: u32| f64::from(misses) / f64::from(REPETITIONS);
            println!(
                "{shape:?}, p{}, {sizes:?}: {:.3} {:.3}",
                100.0 * share,
                rate(low),
                rate(high)
            );
            assert!(rate(low) <= most && rate(high) <= most, "{shape:?} {share} {sizes:?}");
        }
    }
}

#[test]
fn a_slower_candidate_is_found() {
    let mut found = 0;
    for number in 0..50 {
        let mut dice = Dice::new(number * 31);
        let one = Shape::Tail.draw(&mut dice, 3000, 1.0);
        let two = Shape::Tail.draw(&mut dice, 300, 1.4);
        let strata = [((&one, 3000), (&two, 300))];
        let test = Quantiles::new(0.95, &strata).unwrap().test().unwrap();
        found += u32::from(test.p.below(LEVEL) && test.statistic > 0.0);
    }
    assert!(found > 45, "{found}");
}

#[test]
fn there_is_no_verdict_before_five_requests_are_expected_beyond_the_quantile() {
    let of = |units: u32| {
        let mut dice = Dice::new(7);
        let one = Shape::Single.draw(&mut dice, 4000, 1.0);
        let two = Shape::Single.draw(&mut dice, units, 1.0);
        let found = Quantiles::new(0.99, &[((&one, 4000), (&two, units.into()))]).unwrap();
        (found.test().map(|_| ()), found.interval(Z).high.is_finite())
    };
    assert_eq!(of(300), (Err(Undefined::FewEvents), false));
    assert_eq!(of(2000), (Ok(()), true));
}

#[test]
fn the_same_latency_of_all_requests_is_no_difference() {
    let mut one = Histogram::default();
    (0..500u32).for_each(|unit| one.add(u64::from(unit) << 55 | u64::from(unit) << 23, 20));
    let found = Quantiles::new(0.95, &[((&one, 500), (&one, 500))]).unwrap();
    let interval = found.interval(Z);
    // Within the millisecond that the log resolves.
    assert!(interval.low > -0.001 && interval.high < 0.001, "{interval:?}");
    assert!(found.test().unwrap().p.get() > 0.9);
}
