//! The grid of simulated experiments.

use super::corner::{Corner, corners};
use super::crowd::{Crowd, DRAWN, SKEWED};

/// How often an experiment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Once, at the planned number of units.
    Fixed,
    /// Every day, without a plan.
    Daily,
    /// Every day, and the fixed test at the planned number of units.
    Planned,
    /// Every day, of which five looks at equal parts of the planned units count (O'Brien and Fleming).
    Group,
    /// Every day, with the fixed test at half of the units: the plan, beyond which the looks go on.
    Beyond,
    /// Every day, after which a bandit sets the next day's weights; to the planned number of units.
    Bandit,
}

impl Looks {
    /// How many looks are planned at equal parts of the units.
    pub(super) const fn planned(self) -> Option<u32> {
        if matches!(self, Self::Group) { Some(5) } else { None }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "once",
            Self::Daily => "daily",
            Self::Planned => "daily, planned",
            Self::Group => "daily, five looks",
            Self::Beyond => "daily, beyond the plan",
            Self::Bandit => "daily, bandit",
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
    /// Which case it is, in the grid of corners.
    pub(super) corner: Option<Corner>,
}

impl Cell {
    /// Whether it is large and even enough that power is promised.
    pub(super) fn is_even(&self) -> bool {
        self.share >= 0.5 && self.units >= 2000
    }

    /// The planned number of units.
    pub(super) const fn planned(&self) -> Option<u64> {
        match self.looks {
            Looks::Daily => None,
            Looks::Beyond => Some(self.units / 2),
            Looks::Fixed | Looks::Planned | Looks::Group | Looks::Bandit => Some(self.units),
        }
    }
}

/// Which experiments are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// The corners, within a minute.
    Coarse,
    /// Everything.
    Full,
    /// The cases in which the usual formulas err most.
    Corners,
    /// Covariates and planned looks.
    Methods,
}

/// Rates, shares and sizes of the whole grid.
const RATES: [f64; 5] = [0.001, 0.005, 0.02, 0.1, 0.5];
const SHARES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const SIZES: [u64; 6] = [200, 1000, 4000, 20_000, 100_000, 1_000_000];
/// Of users who are drawn one by one, not by the million.
const DRAWN_SHARES: [f64; 4] = [0.01, 0.05, 0.2, 0.5];
const DRAWN_SIZES: [u64; 4] = [200, 1000, 4000, 20_000];
/// Of errors: rates of the baseline, and margins.
const MARGINS: [(f64, f64); 4] = [(0.005, 0.005), (0.005, 0.01), (0.02, 0.02), (0.1, 0.02)];
/// Of latencies, the part of the quantile.
const SLOWER: f64 = 0.1;

impl Grid {
    pub(super) fn cells(self) -> Vec<Cell> {
        match self {
            Self::Coarse => coarse(),
            Self::Full => full(),
            Self::Corners => corners(),
            Self::Methods => methods(),
        }
    }

    /// How many experiments it has.
    #[must_use]
    pub fn experiments(self) -> usize {
        self.cells().len()
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Full => "full",
            Self::Corners => "corners",
            Self::Methods => "methods",
        }
    }
}

/// Covariates and planned looks, at even shares and for a canary.
fn methods() -> Vec<Cell> {
    let sizes = [(0.5, 2000), (0.5, 20_000), (0.05, 4000)];
    let of = |crowd: Crowd, looks: &[Looks]| -> Vec<Cell> {
        let looks = looks.iter().flat_map(|looks| sizes.map(|size| (*looks, size)));
        looks.map(|(looks, (share, units))| primary(crowd, looks, share, units)).collect()
    };
    let looks = [Looks::Fixed, Looks::Daily, Looks::Planned, Looks::Group];
    let mut cells = of(Crowd::Covariate, &looks);
    cells.extend(of(Crowd::CovariateShare, &looks));
    for crowd in [Crowd::Share(0.02), Crowd::Share(0.5), Crowd::LogNormal, Crowd::Ratio] {
        cells.extend(of(crowd, &[Looks::Group]));
    }
    cells
}

pub(super) const fn primary(crowd: Crowd, looks: Looks, share: f64, units: u64) -> Cell {
    Cell { crowd, looks, arms: 2, share, units, margin: None, corner: None }
}

/// A guardrail on errors: the baseline's rate and the margin.
pub(super) const fn errors(
    (rate, margin): (f64, f64),
    looks: Looks,
    share: f64,
    units: u64,
) -> Cell {
    Cell { margin: Some(margin), ..primary(Crowd::Errors(rate), looks, share, units) }
}

/// The guardrail on a latency.
pub(super) fn latency(quantile: f64, looks: Looks, share: f64, units: u64) -> Cell {
    let crowd = Crowd::Latency(quantile);
    Cell { margin: Some(crowd.margin_of(SLOWER)), ..primary(crowd, looks, share, units) }
}

fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for looks in [Looks::Fixed, Looks::Daily] {
        for (share, units) in pairs(&SHARES, &SIZES) {
            cells.extend(RATES.map(|rate| primary(Crowd::Share(rate), looks, share, units)));
        }
        for (share, units) in pairs(&DRAWN_SHARES, &DRAWN_SIZES) {
            cells.extend(DRAWN.map(|crowd| primary(crowd, looks, share, units)));
            cells.extend(MARGINS.map(|of| errors(of, looks, share, units)));
            cells.push(latency(0.95, looks, share, units));
        }
        for (share, units) in pairs(&[0.05, 0.2, 0.5], &[1000, 20_000]) {
            cells.extend(SKEWED.map(|crowd| primary(crowd, looks, share, units)));
        }
        for arms in [3, 4, 5] {
            let several = |crowd| Cell { arms, ..primary(crowd, looks, 0.1, 4000) };
            cells.extend(RATES.map(Crowd::Share).map(several));
            cells.extend(DRAWN.map(several));
        }
    }
    for (share, units) in pairs(&[0.05, 0.5], &[1000, 4000]) {
        cells.extend(DRAWN.map(|crowd| primary(crowd, Looks::Planned, share, units)));
    }
    for (share, units) in pairs(&SHARES, &[1000, 20_000]) {
        cells.extend(RATES.map(|rate| primary(Crowd::Share(rate), Looks::Planned, share, units)));
    }
    for (rate, units) in pairs(&[0.02, 0.1, 0.5], &[1000, 7000, 100_000]) {
        cells.push(primary(Crowd::Share(rate), Looks::Bandit, 0.5, units));
    }
    cells
}

fn pairs<'p>(shares: &'p [f64], sizes: &'p [u64]) -> impl Iterator<Item = (f64, u64)> + use<'p> {
    shares.iter().flat_map(|share| sizes.iter().map(|units| (*share, *units)))
}

/// The corners, and the cases that were wrong once.
fn coarse() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (share, units) in
        [(0.01, 200), (0.01, 20_000), (0.05, 1000), (0.05, 4000), (0.5, 200), (0.5, 4000)]
    {
        for rate in [0.005, 0.02, 0.5] {
            cells.push(primary(Crowd::Share(rate), Looks::Fixed, share, units));
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
    cells.push(primary(Crowd::Share(0.1), Looks::Bandit, 0.5, 7000));
    for crowd in [Crowd::Ratio, Crowd::Normal, Crowd::ZeroInflated, Crowd::LogNormal] {
        for share in [0.05, 0.5] {
            cells.push(primary(crowd, Looks::Fixed, share, 4000));
            cells.push(primary(crowd, Looks::Daily, share, 7000));
        }
    }
    for crowd in SKEWED {
        cells.push(primary(crowd, Looks::Fixed, 0.05, 1000));
        cells.push(primary(crowd, Looks::Fixed, 0.5, 2000));
        cells.push(primary(crowd, Looks::Daily, 0.05, 2000));
    }
    for quantile in [0.5, 0.95, 0.99] {
        for (share, units) in [(0.05, 1000), (0.5, 2000)] {
            cells.push(primary(Crowd::Latency(quantile), Looks::Fixed, share, units));
        }
    }
    cells.push(primary(Crowd::Latency(0.95), Looks::Daily, 0.05, 2000));
    for arms in [3, 5] {
        cells.push(Cell { arms, ..primary(Crowd::Share(0.02), Looks::Fixed, 0.1, 4000) });
    }
    for looks in [Looks::Fixed, Looks::Daily] {
        cells.push(errors((0.005, 0.01), looks, 0.05, 2000));
        cells.push(errors((0.02, 0.02), looks, 0.05, 1000));
        cells.push(errors((0.1, 0.02), looks, 0.05, 4000));
        cells.push(errors((0.02, 0.02), looks, 0.5, 2000));
        cells.push(latency(0.95, looks, 0.05, 1000));
    }
    cells.push(latency(0.95, Looks::Fixed, 0.05, 4000));
    cells.push(latency(0.95, Looks::Fixed, 0.5, 2000));
    cells.push(latency(0.99, Looks::Fixed, 0.5, 2000));
    cells
}
