use super::arm::Arm;
use super::crowd::Crowd;
use super::*;
use crate::answer::Role;

fn cell(crowd: Crowd, looks: Looks, share: f64, units: u64) -> Cell {
    Cell { crowd, looks, arms: 2, share, units, margin: None }
}

#[test]
fn the_canary_that_promoted_equal_models_does_so_no_more() {
    // 2 % errors, 500 users a day for two weeks, 5 %: a third of the runs, once.
    let canary = cell(Crowd::Errors(0.02), Looks::Daily, 0.05, 7000);
    let row = simulate(&canary, 1, 200, 1);
    assert!(row.failed.is_empty() && row.false_promotions < Some(0.06), "{row:?}");
}

#[test]
fn a_difference_is_found_as_often_as_planned() {
    let even = cell(Crowd::Share(0.1), Looks::Fixed, 0.5, 4000);
    let row = simulate(&even, 2, 400, 1);
    let (power, oracle) = (row.power.unwrap(), row.oracle.unwrap());
    assert!((power - 0.8).abs() < 0.1 && (oracle - 0.8).abs() < 0.1, "{row:?}");
    assert!(row.failed.is_empty(), "{row:?}");
}

#[test]
fn capped_values_err_no_more_often() {
    for crowd in [Crowd::SkewedCapped, Crowd::ParetoCapped] {
        for (looks, share) in [(Looks::Fixed, 0.5), (Looks::Daily, 0.05)] {
            let row = simulate(&cell(crowd, looks, share, 2000), 4, 200, 1);
            assert!(row.failed.is_empty(), "{row:?}");
        }
        assert!(crowd.cap().is_some() && crowd.metric(Role::Primary, None).cap == crowd.cap());
    }
    let mut arm = Arm::default();
    [1.0, 2.0, 300.0].iter().for_each(|value| arm.add_value(*value));
    assert_eq!((arm.pairs(3.0).means().0, arm.pairs(f64::INFINITY).means().0), (2.0, 101.0));
    assert_eq!(arm.count(), 3);
}

#[test]
fn a_candidate_at_the_margin_is_rarely_within_it() {
    let guarded = Cell { margin: Some(0.02), ..cell(Crowd::Errors(0.02), Looks::Fixed, 0.5, 2000) };
    let row = simulate(&guarded, 3, 300, 1);
    assert!(row.false_non_inferior < Some(0.06) && row.false_promotions.is_none(), "{row:?}");
}

#[test]
fn a_rate_fails_where_chance_cannot_explain_it() {
    assert!(!too_many(25, 1000, 0.025, 1e-5));
    assert!(!too_many(40, 1000, 0.025, 1e-5));
    assert!(too_many(60, 1000, 0.025, 1e-5));
    assert!(!too_many(0, 1000, 0.025, 1e-5));
    assert!(too_many(1000, 1000, 0.025, 1e-5));
    let lost = |promoted, oracle| loses(Counts { promoted, oracle, ..Counts::default() }, 1000);
    assert_eq!([lost(700, 800), lost(680, 800)], [false, true]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let cells = [
        cell(Crowd::Share(0.02), Looks::Planned, 0.05, 1000),
        cell(Crowd::LogNormal, Looks::Fixed, 0.5, 200),
    ];
    let once = cells.map(|cell| format!("{:?}", simulate(&cell, 7, 20, 2)));
    assert_eq!(cells.map(|cell| format!("{:?}", simulate(&cell, 7, 20, 2))), once);
    assert_ne!(format!("{:?}", simulate(&cells[0], 8, 20, 2)), once[0]);
}

#[test]
fn the_grid_has_every_metric_look_and_corner() {
    for grid in [Grid::Coarse, Grid::Full] {
        let cells = grid.cells();
        for name in [
            "share",
            "error rate",
            "ratio over users",
            "mean, normal",
            "mean, 95 % zero",
            "mean, lognormal",
            "mean, lognormal (σ 2)",
            "mean, lognormal (σ 2), capped",
            "mean, Pareto 1.1",
            "mean, Pareto 1.1, capped",
            "latency quantile",
        ] {
            for looks in [Looks::Fixed, Looks::Daily] {
                let found = cells.iter().any(|cell| {
                    cell.crowd.name() == name && cell.looks == looks && cell.share <= 0.05
                });
                assert!(found, "{name} {looks:?}");
            }
        }
        assert!(cells.iter().any(|cell| cell.arms == 5) && cells.iter().any(Cell::is_even));
        assert!(cells.iter().any(|cell| cell.looks == Looks::Bandit));
        let guarded = |latency| {
            let of = |cell: &&Cell| matches!(cell.crowd, Crowd::Latency(_)) == latency;
            cells.iter().filter(of).any(|cell| cell.margin.is_some())
        };
        assert!(guarded(false) && guarded(true));
    }
}

#[test]
fn a_bandit_with_equal_arms_promotes_rarely() {
    let row = simulate(&cell(Crowd::Share(0.1), Looks::Bandit, 0.5, 7000), 5, 100, 1);
    assert!(row.failed.is_empty() && row.power.is_none(), "{row:?}");
    assert!(row.false_promotions < Some(0.05), "{row:?}");
}

#[test]
fn latencies_are_decided_like_other_metrics() {
    let row = simulate(&cell(Crowd::Latency(0.95), Looks::Fixed, 0.5, 2000), 6, 100, 1);
    let (power, oracle) = (row.power.unwrap(), row.oracle.unwrap());
    assert!((oracle - 0.8).abs() < 0.16 && (power - oracle).abs() < 0.12, "{row:?}");
    assert!(row.missed < 0.16 && row.failed.is_empty(), "{row:?}");
}
