//! The grid of simulated experiments.

use super::crowd::Crowd;

/// How often an experiment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Once, at the planned number of units.
    Fixed,
    /// Every day, without a plan.
    Daily,
    /// Every day, and the fixed test at the planned number of units.
    Planned,
}

impl Looks {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "once",
            Self::Daily => "daily",
            Self::Planned => "daily, planned",
        }
    }
}

/// An experiment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) crowd: Crowd,
    pub(super) looks: Looks,
    /// Variants, the baseline included.
    pub(super) arms: usize,
    /// Each candidate's share of the units.
    pub(super) share: f64,
    /// All units together.
    pub(super) units: u64,
    /// A guardrail's margin; `None`: a primary metric.
    pub(super) margin: Option<f64>,
}

/// Which experiments are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// The corners, within a minute.
    Coarse,
    /// Everything, within hours.
    Full,
}

/// Rates, shares and sizes of the whole grid.
const RATES: [f64; 5] = [0.001, 0.005, 0.02, 0.1, 0.5];
const SHARES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const SIZES: [u64; 6] = [200, 1000, 4000, 20_000, 100_000, 1_000_000];
const MEANS: [Crowd; 3] = [Crowd::Normal, Crowd::ZeroInflated, Crowd::LogNormal];
/// Of errors: rates of the baseline, and margins.
const MARGINS: [(f64, f64); 4] = [(0.005, 0.005), (0.005, 0.01), (0.02, 0.02), (0.1, 0.02)];
/// Users who are drawn one by one are not drawn by the million.
const MOST: u64 = 20_000;

impl Grid {
    pub(super) fn cells(self) -> Vec<Cell> {
        let looks = [Looks::Fixed, Looks::Daily, Looks::Planned];
        match self {
            Self::Coarse => coarse(),
            Self::Full => looks.into_iter().flat_map(full).collect(),
        }
    }
}

const fn primary(crowd: Crowd, looks: Looks, share: f64, units: u64) -> Cell {
    Cell { crowd, looks, arms: 2, share, units, margin: None }
}

fn full(looks: Looks) -> Vec<Cell> {
    let mut cells = Vec::new();
    for share in SHARES {
        for units in SIZES {
            let shares = RATES.into_iter().map(Crowd::Share);
            let errors = RATES.into_iter().filter(|rate| *rate <= 0.1).map(Crowd::Errors);
            let drawn = errors.chain(MEANS).filter(|_| units <= MOST);
            cells.extend(shares.chain(drawn).map(|crowd| primary(crowd, looks, share, units)));
            let guarded = |(rate, margin)| Cell {
                margin: Some(margin),
                ..primary(Crowd::Errors(rate), looks, share, units)
            };
            cells.extend(MARGINS.into_iter().filter(|_| units <= MOST).map(guarded));
        }
    }
    for arms in [3, 4, 5] {
        let several = |crowd| Cell { arms, ..primary(crowd, looks, 0.1, 4000) };
        cells.extend(RATES.into_iter().map(Crowd::Share).chain(MEANS).map(several));
    }
    cells
}

/// The corners, and the cases that were wrong once.
fn coarse() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (share, units) in
        [(0.01, 200), (0.01, 20_000), (0.05, 1000), (0.05, 4000), (0.5, 200), (0.5, 4000)]
    {
        for crowd in [Crowd::Share(0.005), Crowd::Share(0.02), Crowd::Share(0.5)] {
            cells.push(primary(crowd, Looks::Fixed, share, units));
        }
    }
    for (share, units) in [(0.01, 4000), (0.05, 1000), (0.05, 4000), (0.5, 4000)] {
        cells.push(primary(Crowd::Errors(0.02), Looks::Fixed, share, units));
    }
    // 500 users a day.
    for (crowd, share) in [
        (Crowd::Errors(0.02), 0.05),
        (Crowd::Errors(0.02), 0.5),
        (Crowd::Share(0.02), 0.05),
        (Crowd::Share(0.1), 0.5),
    ] {
        cells.push(primary(crowd, Looks::Daily, share, 7000));
        cells.push(primary(crowd, Looks::Planned, share, 7000));
    }
    for crowd in MEANS {
        for share in [0.05, 0.5] {
            cells.push(primary(crowd, Looks::Fixed, share, 4000));
            cells.push(primary(crowd, Looks::Daily, share, 7000));
        }
    }
    for arms in [3, 5] {
        cells.push(Cell { arms, ..primary(Crowd::Share(0.02), Looks::Fixed, 0.1, 4000) });
    }
    for (rate, margin, share, units) in [
        (0.005, 0.01, 0.05, 2000),
        (0.02, 0.02, 0.05, 1000),
        (0.1, 0.02, 0.05, 4000),
        (0.02, 0.02, 0.5, 2000),
    ] {
        for looks in [Looks::Fixed, Looks::Daily] {
            let crowd = Crowd::Errors(rate);
            cells.push(Cell { margin: Some(margin), ..primary(crowd, looks, share, units) });
        }
    }
    cells
}
