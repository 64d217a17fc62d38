//! Figures of predictions that are no means: AUC, F1 and RMSE, as sums of influences.
//!
//! The influence of an observation is how far the figure moves, to first order, when the observation's weight grows. The influences
//! sum to 0. Added up by unit, they give the variance of the figure when the predictions of a unit are not independent: m/(m − 1) times
//! the sum of their squares, of m units. For the AUC this is Obuchowski's variance for clustered data (Biometrics 53, 1997) and, with one
//! prediction per unit, that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), up to factors of m/(m − 1). For F1 and RMSE it is
//! the delta method.

use std::collections::BTreeMap;

use crate::numeric::float;

/// A figure with the influence of each observation on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Linearized {
    /// The figure.
    pub value: f64,
    /// By observation.
    pub influences: Vec<f64>,
}

/// The area under the ROC curve: how probable it is that a positive has a higher score than a negative, ties counting half.
///
/// `observations` are scores with whether the label is the positive class. `None` without a positive or without a negative, or if a score
/// is not a number. By exact ranks (Mann and Whitney).
#[must_use]
pub fn auc(observations: &[(f64, bool)]) -> Option<Linearized> {
    if observations.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let positives = observations.iter().filter(|(_, positive)| *positive).count();
    let negatives = observations.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (all_positives, all_negatives) = (float(positives as u64), float(negatives as u64));
    let mut order: Vec<(f64, bool, usize)> =
        observations.iter().enumerate().map(|(at, (score, label))| (*score, *label, at)).collect();
    order.sort_unstable_by(|one, two| one.0.total_cmp(&two.0).then(one.2.cmp(&two.2)));
    let mut influences = vec![0.0; observations.len()];
    let (mut positives_below, mut negatives_below) = (0_u64, 0_u64);
    // Twice the number of pairs in which the positive is higher.
    let mut pairs = 0_u128;
    for ties in order.chunk_by(|one, two| one.0 == two.0) {
        let tied = ties.iter().filter(|(_, positive, _)| *positive).count() as u64;
        let others = ties.len() as u64 - tied;
        pairs += u128::from(tied) * u128::from(2 * negatives_below + others);
        let below = (float(negatives_below) + float(others) / 2.0) / all_negatives;
        let above = (all_positives - float(positives_below) - float(tied) / 2.0) / all_positives;
        for (_, positive, at) in ties {
            if let Some(place) = influences.get_mut(*at) {
                *place = if *positive { below } else { above };
            }
        }
        positives_below += tied;
        negatives_below += others;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of two products, to 53 bits")]
    let value = pairs as f64 / 2.0 / (all_positives * all_negatives);
    for (influence, (_, positive)) in influences.iter_mut().zip(observations) {
        *influence = (*influence - value) / if *positive { all_positives } else { all_negatives };
    }
    Some(Linearized { value, influences })
}

/// The F1 score of the positive class: 2 TP / (2 TP + FP + FN).
///
/// `observations` are whether the positive class was predicted, and whether it is true. `None` if it is neither predicted nor true in any.
#[must_use]
pub fn f1(observations: &[(bool, bool)]) -> Option<Linearized> {
    let parts = |(predicted, label): &(bool, bool)| {
        (
            f64::from(u8::from(*predicted && *label)) * 2.0,
            f64::from(u8::from(*predicted) + u8::from(*label)),
        )
    };
    let sums = observations
        .iter()
        .map(parts)
        .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    if sums.1 == 0.0 {
        return None;
    }
    let value = sums.0 / sums.1;
    let influence = |observation| {
        let (hits, of) = parts(observation);
        (hits - value * of) / sums.1
    };
    Some(Linearized { value, influences: observations.iter().map(influence).collect() })
}

/// The mean over all classes of their F1 scores; each class that is predicted or true counts alike.
///
/// `observations` are the predicted class and the true one. `None` without observations.
#[must_use]
pub fn macro_f1(observations: &[(u32, u32)]) -> Option<Linearized> {
    // By class: hits, and how often it is predicted or true.
    let mut classes: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (predicted, label) in observations {
        classes.entry(*predicted).or_default().1 += 1.0;
        let of_label = classes.entry(*label).or_default();
        of_label.1 += 1.0;
        of_label.0 += f64::from(u8::from(predicted == label)) * 2.0;
    }
    if classes.is_empty() {
        return None;
    }
    let many = float(classes.len() as u64);
    let value = classes.values().map(|(hits, of)| hits / of).sum::<f64>() / many;
    // What a mention of the class, and what a hit, moves.
    let moves = |class: u32| {
        classes
            .get(&class)
            .map_or((0.0, 0.0), |(hits, of)| (-hits / (of * of) / many, 2.0 / of / many))
    };
    let influence = |(predicted, label): &(u32, u32)| {
        let hit = if predicted == label { moves(*label).1 } else { 0.0 };
        moves(*predicted).0 + moves(*label).0 + hit
    };
    Some(Linearized { value, influences: observations.iter().map(influence).collect() })
}

/// The root of the mean squared error. `None` without errors.
#[must_use]
pub fn rmse(errors: &[f64]) -> Option<Linearized> {
    if errors.is_empty() {
        return None;
    }
    let count = float(errors.len() as u64);
    let square = errors.iter().map(|error| error * error).sum::<f64>() / count;
    let value = square.sqrt();
    let influence = |error: &f64| {
        if value > 0.0 { (error * error - square) / (2.0 * value * count) } else { 0.0 }
    };
    Some(Linearized { value, influences: errors.iter().map(influence).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of data in which one observation counts `1 + weight` times, by the definition.
    type Weighted<'w> = dyn Fn(&dyn Fn(usize) -> f64) -> f64 + 'w;

    /// Each influence is the derivative by the observation's weight.
    fn is_derivative(found: &Linearized, figure: &Weighted<'_>) {
        const STEP: f64 = 1e-5;
        assert!((found.value - figure(&|_| 1.0)).abs() < 1e-12);
        assert!(found.influences.iter().sum::<f64>().abs() < 1e-12);
        for (at, influence) in found.influences.iter().enumerate() {
            let moved = |step: f64| figure(&|other| if other == at { 1.0 + step } else { 1.0 });
            let derivative = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!((influence - derivative).abs() < 1e-8, "{at}: {influence} {derivative}");
        }
    }

    #[test]
    fn the_auc_counts_pairs() {
        let data = [
            (0.1, false),
            (0.4, true),
            (0.4, false),
            (0.35, true),
            (0.8, true),
            (0.2, false),
            (0.4, true),
        ];
        let found = auc(&data).unwrap();
        is_derivative(&found, &|weight| {
            let (mut higher, mut all) = (0.0, 0.0);
            for (one, (score, _)) in data.iter().enumerate().filter(|(_, (_, positive))| *positive)
            {
                for (two, (other, _)) in
                    data.iter().enumerate().filter(|(_, (_, positive))| !*positive)
                {
                    let weight = weight(one) * weight(two);
                    all += weight;
                    higher += weight
                        * if score > other {
                            1.0
                        } else if score == other {
                            0.5
                        } else {
                            0.0
                        };
                }
            }
            higher / all
        });
        assert_eq!(auc(&[(0.5, true), (0.7, true)]), None);
        assert_eq!(auc(&[(0.5, false)]), None);
        assert_eq!(auc(&[(f64::NAN, true), (0.7, false)]), None);
        assert_eq!(auc(&[(0.5, true), (0.5, false)]).unwrap().value, 0.5);
    }

    #[test]
    fn f1_is_a_ratio() {
        let data = [(true, true), (true, false), (false, true), (false, false), (true, true)];
        is_derivative(&f1(&data).unwrap(), &|weight| {
            let sum = |of: &dyn Fn(&(bool, bool)) -> f64| {
                data.iter().enumerate().map(|(at, one)| weight(at) * of(one)).sum::<f64>()
            };
            let one = |is: bool| f64::from(u8::from(is));
            let hits = sum(&|(p, y)| one(*p && *y));
            2.0 * hits / (2.0 * hits + sum(&|(p, y)| one(p != y)))
        });
        assert_eq!(f1(&[(false, false)]), None);
    }

    #[test]
    fn macro_f1_counts_classes_alike() {
        let data = [(0, 0), (0, 1), (1, 1), (2, 2), (2, 0), (1, 2), (2, 2), (3, 0)];
        let found = macro_f1(&data).unwrap();
        is_derivative(&found, &|weight| {
            let f1 = |class: u32| {
                let sum = |of: &dyn Fn(&(u32, u32)) -> bool| {
                    let rows = data.iter().enumerate().filter(|(_, one)| of(one));
                    rows.map(|(at, _)| weight(at)).sum::<f64>()
                };
                let hits = sum(&|(p, y)| *p == class && *y == class);
                2.0 * hits / (sum(&|(p, _)| *p == class) + sum(&|(_, y)| *y == class))
            };
            (0..4).map(f1).sum::<f64>() / 4.0
        });
        assert_eq!(macro_f1(&[]), None);
    }

    #[test]
    fn rmse_is_a_root() {
        let errors = [1.0, -2.0, 0.5, 3.0];
        is_derivative(&rmse(&errors).unwrap(), &|weight| {
            let all: f64 = (0..errors.len()).map(weight).sum();
            let sum: f64 = errors.iter().enumerate().map(|(at, e)| weight(at) * e * e).sum();
            (sum / all).sqrt()
        });
        assert_eq!(rmse(&[0.0, 0.0]).unwrap(), Linearized { value: 0.0, influences: vec![0.0; 2] });
        assert_eq!(rmse(&[]), None);
    }
}
