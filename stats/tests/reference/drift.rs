//! Distances of distributions.

use serde_json::Value;
use sidetrack_stats::drift::{Cells, kolmogorov_p, kolmogorov_smirnov};

use super::{counts, group, numbers};

#[test]
fn distances_of_cells() {
    group("drift_cells", |group, case| {
        let units = case["in"]["units"].as_array().unwrap();
        let side = |side: &Value| -> Vec<(usize, u64)> {
            counts(side).into_iter().enumerate().filter(|(_, rows)| *rows > 0).collect()
        };
        let mut cells = Cells::new(counts(&units[0][0]).len());
        units.iter().for_each(|unit| cells.add(&side(&unit[0]), &side(&unit[1])));
        let found = cells.distance().unwrap();
        group.check(case, "psi", found.psi);
        group.check(case, "jensen_shannon", found.jensen_shannon);
        group.check(case, "ln_p", found.p_value.ln());
        group.check(case, "by_chance", found.psi_by_chance);
        group.check(case, "exceeded", found.psi_exceeded(0.05));
    });
}

#[test]
fn distances_of_steps() {
    group("drift_steps", |group, case| {
        let (first, second) = (numbers(&case["in"]["first"]), numbers(&case["in"]["second"]));
        let distance = kolmogorov_smirnov(&first, &second);
        let p = kolmogorov_p(distance, [first.len() as u64, second.len() as u64], 1.0);
        group.check(case, "distance", distance);
        group.check(case, "ln_p", p.ln());
    });
}
