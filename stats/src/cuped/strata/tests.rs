use super::*;
use crate::accumulate::Pairs;
use crate::cuped;
use crate::dice::Dice;

const LEVEL: Fraction = Fraction::FIVE_PERCENT;

/// Users with `y` near `slope · z`, and a second covariate without a meaning.
fn users(n: u32, shift: f64, dice: &mut Dice) -> (Vectors, Pairs) {
    let (mut vectors, mut pairs) = (Vectors::new(4), Pairs::default());
    for _ in 0..n {
        let z = dice.normal();
        let y = 5.0 + shift + 0.7 * z + 0.3 * dice.normal();
        vectors.add(&[y, 1.0, z, dice.normal()]).unwrap();
        pairs.add(y, z).unwrap();
    }
    (vectors, pairs)
}

#[test]
fn one_covariate_in_one_stratum_is_cuped() {
    let mut dice = Dice::new(7);
    let (one, two) = (users(900, 0.0, &mut dice), users(600, 0.1, &mut dice));
    let wanted = cuped::compare(&one.1, &two.1, LEVEL).unwrap();
    let fit = fit(&[(&one.0, &two.0)], 1).unwrap();
    assert!((fit.theta()[0] - wanted.theta).abs() < 1e-12);
    let found = fit.of_means(LEVEL).unwrap();
    let (a, b) = (found.estimate, wanted.comparison.estimate);
    assert!((a.difference - b.difference).abs() < 1e-12);
    assert!((found.values.0 - wanted.comparison.values.0).abs() < 1e-12);
    // Without the degree of freedom of θ and its uncertainty.
    assert!((a.variance / b.variance - 1.0).abs() < 5e-3 && a.variance > b.variance);
    assert!(wanted.reduction > 0.8);
}

#[test]
fn columns_that_others_determine_adjust_nothing() {
    let mut dice = Dice::new(8);
    let mut slots = [Vectors::new(5), Vectors::new(5)];
    let mut plain = [Vectors::new(3), Vectors::new(3)];
    for number in 0..400 {
        let z = dice.normal();
        let y = z + dice.normal();
        slots[number % 2].add(&[y, 1.0, z, 2.0 * z + 1.0, 7.0]).unwrap();
        plain[number % 2].add(&[y, 1.0, z]).unwrap();
    }
    let full = fit(&[(&slots[0], &slots[1])], 3).unwrap();
    let alone = fit(&[(&plain[0], &plain[1])], 1).unwrap();
    assert_eq!(full.theta()[1..], [0.0, 0.0]);
    let (full, alone) = (full.of_means(LEVEL).unwrap(), alone.of_means(LEVEL).unwrap());
    assert!((full.estimate.variance - alone.estimate.variance).abs() < 1e-15);
}

#[test]
fn theta_is_within_strata_and_a_drift_does_not_enter_it() {
    // Between the strata, outcome and covariate move together; within them, they have nothing to do with each other.
    let mut dice = Dice::new(9);
    let mut slot = |level: f64, n: u32| {
        let mut vectors = Vectors::new(3);
        for _ in 0..n {
            vectors.add(&[level + dice.normal(), 1.0, level + dice.normal()]).unwrap();
        }
        vectors
    };
    let strata = [(slot(0.0, 4000), slot(0.0, 500)), (slot(9.0, 2000), slot(9.0, 2000))];
    let pairs: Vec<_> = strata.iter().map(|(one, two)| (one, two)).collect();
    let fit = fit(&pairs, 1).unwrap();
    assert!(fit.theta()[0].abs() < 0.05, "{:?}", fit.theta());
    let found = fit.comparison(0.0, LEVEL).unwrap();
    assert!(found.estimate.difference.abs() < 4.0 * found.estimate.se());
}

#[test]
fn too_few_units_are_not_adjusted() {
    let mut tiny = Vectors::new(3);
    tiny.add(&[1.0, 1.0, 2.0]).unwrap();
    let fitted = |one: &Vectors, two: &Vectors| fit(&[(one, two)], 1).err();
    assert_eq!(fitted(&tiny, &tiny), Some(Undefined::TooFew));
    let mut zero = Vectors::new(3);
    (0..3).for_each(|z| zero.add(&[1.0, 0.0, f64::from(z)]).unwrap());
    assert_eq!(fitted(&zero, &zero), Some(Undefined::ZeroBaseline));
}
