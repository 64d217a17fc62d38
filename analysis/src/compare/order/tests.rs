//! Error rates by simulation, with fixed seeds.

use sidetrack_stats::dice::Dice;
use sidetrack_stats::float;

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
        self.draw_later(dice, units, factor, 0.0)
    }

    /// The same, and longer by so many milliseconds.
    fn draw_later(self, dice: &mut Dice, units: u32, factor: f64, shift: f64) -> Histogram {
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
                histogram.add(unit, (factor * latency + shift) as u32);
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

/// Strata with these units of both variants, of which some are in all; the candidate is slower by a factor and a shift in milliseconds.
fn phases(
    dice: &mut Dice,
    shape: Shape,
    sizes: &[(u32, u32)],
    (factor, shift): (f64, f64),
) -> Vec<(Histogram, Histogram)> {
    // Each phase is slower than the one before it.
    let slower = |index: usize| 1.0 + float(index as u64);
    let mut of = |index: usize, (one, two): (u32, u32)| {
        let baseline = shape.draw(dice, one, slower(index));
        (baseline, shape.draw_later(dice, two, slower(index) * factor, shift))
    };
    sizes.iter().enumerate().map(|(index, sizes)| of(index, *sizes)).collect()
}

fn strata<'h>(phases: &'h [(Histogram, Histogram)], sizes: &[(u32, u32)]) -> Vec<Stratum<'h>> {
    let of = |((one, two), sizes): (&'h (Histogram, Histogram), &(u32, u32))| {
        ((one, sizes.0.into()), (two, sizes.1.into()))
    };
    phases.iter().zip(sizes).map(of).collect()
}

/// A p-value and an interval that contradict each other are two decisions about the same data.
#[test]
fn the_interval_excludes_zero_exactly_where_the_p_value_is_below_the_level() {
    let (mut rejected, mut all) = (0, 0);
    for number in 0..250 {
        let mut dice = Dice::new(number);
        let mut below = |limit: usize| usize::try_from(dice.bits() >> 33).unwrap() % limit;
        let shape = [Shape::Single, Shape::Tail, Shape::Clustered][below(3)];
        let share = [0.5, 0.9, 0.95, 0.99][below(4)];
        let count = 1 + below(4);
        let mut size = || u32::try_from(30 + below(600)).unwrap();
        let sizes: Vec<(u32, u32)> = (0..count).map(|_| (size(), size() / 4 + 5)).collect();
        let change = (0.5 + 1.5 * dice.uniform(), 20.0 * dice.uniform());
        let mut phases = phases(&mut dice, shape, &sizes, change);
        if number % 3 == 0 {
            // The same units again.
            let again = phases[0].clone();
            phases.iter_mut().skip(1).for_each(|(one, two)| {
                one.merge(&again.0);
                two.merge(&again.1);
            });
        }
        let found = Quantiles::new(share, &strata(&phases, &sizes)).unwrap();
        for (level, z) in [(0.05, Z), (0.01, 2.575_829_303_548_901), (0.5, 0.674_489_750_196_081_7)]
        {
            let Ok(test) = found.test() else { continue };
            let sure = test.p.below(Fraction::new(level).unwrap());
            let comparison = found.comparison(LEVEL);
            let (interval, lift) = (found.interval(z), found.lift_interval(z));
            for (name, Interval { low, high }, at) in [
                ("difference", interval, comparison.estimate.difference),
                ("lift", lift, comparison.lift.unwrap()),
            ] {
                let excludes = low > 0.0 || high < 0.0;
                assert_eq!(sure, excludes, "{number}: {name}, p {:?}, {low} to {high}", test.p);
                assert!((low..=high).contains(&at), "{number}: {name} {at}, {low} to {high}");
                assert!(at * test.statistic >= 0.0, "{number}: {name} {at}, {}", test.statistic);
            }
            rejected += u32::from(sure);
            all += 1;
        }
    }
    assert!(all > 500 && (100..all - 100).contains(&rejected), "{rejected} of {all}");
}

/// In phases of other speeds and shares, as after a raise: equal variants are called different, and intervals miss the truth, as
/// rarely as one look at one phase does.
#[test]
fn phases_are_merged_without_more_errors() {
    const REPETITIONS: u32 = 120;
    let most = 0.025 + 4.0 * (0.025 * 0.975 / f64::from(REPETITIONS)).sqrt();
    for (shape, share) in [(Shape::Single, 0.5), (Shape::Tail, 0.95), (Shape::Clustered, 0.95)] {
        for sizes in [[(950, 50), (700, 300)], [(400, 400), (1500, 80)]] {
            let mut errors = [0_u32; 6];
            for number in 0..REPETITIONS {
                let mut dice = Dice::new(u64::from(number) * 31_337 + u64::from(sizes[0].1));
                let mut compare = |change| {
                    let phases = phases(&mut dice, shape, &sizes, change);
                    let found = Quantiles::new(share, &strata(&phases, &sizes)).unwrap();
                    (found.test(), found.interval(Z), found.lift_interval(Z))
                };
                if let (Ok(test), ..) = compare((1.0, 0.0)) {
                    errors[0] += u32::from(test.p.below(LEVEL) && test.statistic > 0.0);
                    errors[1] += u32::from(test.p.below(LEVEL) && test.statistic < 0.0);
                }
                // Slower by 25 ms everywhere, and by 30 % everywhere.
                let interval = compare((1.0, 25.0)).1;
                errors[2] += u32::from(interval.low > 0.025);
                errors[3] += u32::from(interval.high < 0.025);
                let lift = compare((1.3, 0.0)).2;
                errors[4] += u32::from(lift.low > 0.3);
                errors[5] += u32::from(lift.high < 0.3);
            }
            let rates = errors.map(|count| f64::from(count) / f64::from(REPETITIONS));
            println!("{shape:?} {share} {sizes:?}: {rates:?}");
            assert!(rates.iter().all(|rate| *rate <= most), "{shape:?} {share}: {rates:?}");
        }
    }
}

#[test]
fn a_phase_without_an_upper_bound_does_not_unbound_the_others() {
    let mut dice = Dice::new(3);
    let sizes = [(4000, 2000), (300, 6)];
    let phases = phases(&mut dice, Shape::Single, &sizes, (1.0, 0.0));
    let both = strata(&phases, &sizes);
    let of = |strata: &[Stratum<'_>]| Quantiles::new(0.95, strata).unwrap().interval(Z);
    assert!(of(&both[1..]).high.is_infinite());
    let (alone, merged) = (of(&both[..1]), of(&both));
    assert!(merged.high.is_finite() && merged.high < 1.1 * alone.high, "{alone:?} {merged:?}");
}
