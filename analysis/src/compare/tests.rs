use std::collections::BTreeMap;

use super::*;

const SHAPE: Shape = Shape { strata: 2, arms: 2, baseline: 0 };

/// The covariance of units whose residuals in two slots have a product of one.
fn covariance(one: usize, two: usize) -> f64 {
    let mut pairs = Pairs::default();
    (0..10).for_each(|y| pairs.add(f64::from(y), 1.0).unwrap());
    let sums = Sums::default();
    let data = Data { sums: &sums, shape: SHAPE, units: true, level: Fraction::FIVE_PERCENT };
    let crossings = BTreeMap::from([((one, two), 1.0)]);
    let metric = MetricSums { pairs: vec![pairs; 4], crossings, ..MetricSums::default() };
    data.covariance(&data.sides(&metric.pairs, 1), &metric, 1)
}

#[test]
fn a_unit_that_stays_widens_the_interval_and_one_that_moves_narrows_it() {
    let (plain, fancy) =
        ((SHAPE.slot(0, 0), SHAPE.slot(1, 0)), (SHAPE.slot(0, 1), SHAPE.slot(1, 1)));
    // Twice both weights of a half, over both sums of ten units.
    let wanted = 2.0 * 0.5 * 0.5 / 100.0;
    assert!((covariance(plain.0, plain.1) - wanted).abs() < 1e-15);
    assert!((covariance(fancy.0, fancy.1) - wanted).abs() < 1e-15);
    assert!((covariance(plain.0, fancy.1) + wanted).abs() < 1e-15);
    assert!((covariance(fancy.0, plain.1) + wanted).abs() < 1e-15);
}
