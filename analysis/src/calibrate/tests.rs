use super::arm::Arm;
use super::cell::primary as cell;
use super::crowd::{Crowd, DRAWN, SKEWED};
use super::*;
use crate::answer::Role;

/// An experiment of a grid with so many.
fn simulate(cell: &Cell, index: usize, runs: u32, cells: usize) -> Row {
    let stop = AtomicBool::new(false);
    Simulation { cell, index, cells, stop: &stop }.row(runs).unwrap()
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
        for crowd in std::iter::once(Crowd::Share(0.02)).chain(DRAWN).chain(SKEWED) {
            let name = crowd.name();
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
        // Means of skewed values have power, too.
        let skewed = cells.iter().filter(|cell| SKEWED.contains(&cell.crowd));
        assert!(skewed.filter(|cell| cell.is_even()).any(|cell| better_by(cell).is_some()));
    }
}

#[test]
fn the_work_visits_each_experiment_once_and_is_spread_over_the_grid() {
    for grid in [Grid::Coarse, Grid::Full, Grid::Corners] {
        let all = grid.experiments();
        let mut visited: Vec<_> = (0..all).filter_map(|at| scattered(at, all)).collect();
        let mut early = visited[..all / 4].to_vec();
        early.sort_unstable();
        assert!(early.windows(2).all(|pair| pair[1] - pair[0] < 10), "{early:?}");
        visited.sort_unstable();
        assert_eq!(visited, (0..all).collect::<Vec<_>>());
        assert_eq!(scattered(all, all), None);
    }
}

#[test]
fn what_is_done_is_reported_when_it_is_stopped() {
    let stop = AtomicBool::new(false);
    let (runs, threads) = (NonZero::<u32>::MIN, NonZero::<usize>::MIN);
    let settings = Settings { grid: Grid::Coarse, runs, threads };
    let progress = |done: usize, _: usize| stop.store(done == 5, Ordering::Relaxed);
    let found = calibrate(&settings, &progress, &stop);
    assert_eq!((found.cells.len(), found.experiments), (5, Grid::Coarse.experiments()));
    assert!(!found.ok);
}

#[test]
fn a_rate_that_looks_too_high_is_simulated_again() {
    // At the margin, which is found on neither side too often.
    let guarded = Cell { margin: Some(0.2), ..cell(Crowd::Errors(0.02), Looks::Fixed, 0.5, 2000) };
    let fine = simulate(&guarded, 3, 30, 1);
    assert_eq!((fine.runs, fine.failed.as_slice()), (30, [].as_slice()));
    let counts = Counts { promoted: 20, worse: 3, ..Counts::default() };
    let rates = Rates { runs: 200, null: counts, better: None, equal: None };
    assert!(rates.look_high(&cell(Crowd::Errors(0.02), Looks::Fixed, 0.5, 2000)));
    let row = rates.row(&cell(Crowd::Errors(0.02), Looks::Fixed, 0.5, 2000), 1);
    assert_eq!(row.failed, ["false_promotions"]);
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

/// What docs/calibration.csv has of each experiment, by column.
fn published() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/calibration.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let fields = |line: &str| {
        // Within quotes, a comma is text.
        let parts = line.split('"').enumerate();
        let parts = parts
            .map(|(at, part)| if at % 2 == 0 { part.replace(',', "\t") } else { part.to_owned() });
        parts.collect::<String>().split('\t').map(str::to_owned).collect()
    };
    text.lines().skip(1).map(fields).collect()
}

#[test]
fn the_published_table_is_of_this_grid_and_of_these_methods() {
    const HINT: &str = "docs/calibration.csv is of another version; renew it with sidetrack calibrate --full \
                        --csv --update docs/statistics.md > docs/calibration.csv";
    let (cells, rows) = (Grid::Full.cells(), published());
    assert_eq!(rows.len(), cells.len(), "{HINT}");
    let number = |text: &String| text.parse::<f64>().ok();
    let mut simulated = Vec::new();
    for (index, (cell, row)) in cells.iter().zip(&rows).enumerate() {
        let kind = (cell.crowd.name(), cell.looks.name());
        assert_eq!((row[0].as_str(), row[2].as_str()), kind, "{index}: {HINT}");
        let of_row = [1, 3, 4, 5, 6].map(|column: usize| number(&row[column]));
        let of_cell = [
            cell.crowd.rate(),
            Some(cell.arms as f64),
            Some(cell.share),
            Some(cell.units as f64),
            cell.margin,
        ];
        assert_eq!(of_row, of_cell, "{index}: {HINT}");
        // A small experiment of each kind is simulated again, with the same random numbers.
        let kind = (kind, cell.margin.is_some());
        if cell.units > 1000 || cell.units < 500 || cell.share < 0.05 || simulated.contains(&kind) {
            continue;
        }
        simulated.push(kind);
        let found = simulate(cell, index, 200, cells.len());
        let rates = [
            found.false_promotions,
            found.false_worse,
            found.false_non_inferior,
            found.false_inferior,
            found.false_harm,
            Some(found.missed),
            found.power,
            found.oracle,
        ];
        assert_eq!(row[7], found.runs.to_string(), "{kind:?}: {HINT}");
        let published: Vec<_> = row[8..].iter().map(number).collect();
        assert_eq!(published, rates, "{kind:?}: {HINT}");
    }
    assert!(simulated.len() > 20, "{simulated:?}");
}

#[test]
fn a_covariate_gains_power_and_errs_no_more_often() {
    let even = simulate(&cell(Crowd::Covariate, Looks::Fixed, 0.5, 2000), 8, 200, 1);
    // A correlation of 0.7 leaves half of the variance: 80 % without, and 97 % with the covariate.
    let (power, oracle) = (even.power.unwrap(), even.oracle.unwrap());
    assert!(even.failed.is_empty() && power > 0.93 && oracle < 0.9, "{even:?}");
    for crowd in [Crowd::Covariate, Crowd::CovariateShare] {
        for looks in [Looks::Daily, Looks::Group] {
            let canary = simulate(&cell(crowd, looks, 0.05, 4000), 9, 200, 1);
            assert!(canary.failed.is_empty(), "{canary:?}");
        }
    }
}

#[test]
fn planned_looks_err_no_more_often_and_have_more_power_than_daily_ones() {
    let power = |looks| {
        let row = simulate(&cell(Crowd::Share(0.5), looks, 0.5, 4000), 10, 400, 1);
        assert!(row.failed.is_empty(), "{row:?}");
        row.power.unwrap()
    };
    let (group, daily) = (power(Looks::Group), power(Looks::Daily));
    assert!(group > daily + 0.05 && group > 0.65, "{group} {daily}");
}
