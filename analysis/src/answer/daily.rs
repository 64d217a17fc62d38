//! Effects by day, and by days since the first request of a unit.

use serde::{Deserialize, Serialize};

/// A metric by day.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DailyResult {
    /// Its name.
    pub metric: String,
    /// The candidates.
    pub candidates: Vec<DailyCandidate>,
}

/// A candidate against the baseline, by day.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DailyCandidate {
    /// Which variant.
    pub variant: String,
    /// By day in UTC.
    pub days: Vec<DayEffect>,
    /// By days since the first request of a unit: 0 is the day of that request.
    pub since: Vec<DayEffect>,
    /// How the effect changes with each day since the first request; null below three days with enough units.
    pub trend: Option<Trend>,
}

/// The effect on one day, among the units that were there.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DayEffect {
    /// `2026-11-23`, or the number of days since the first request.
    pub day: String,
    /// Units of the baseline and of the candidate.
    pub n: [u64; 2],
    /// The baseline's value.
    pub baseline_value: f64,
    /// The candidate's value.
    pub value: f64,
    /// Candidate minus baseline.
    pub diff: f64,
    /// The interval of a single look at this day alone; it is not adjusted for the other days.
    pub ci: [Option<f64>; 2],
}

/// A trend of the effect over the days since the first request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trend {
    /// How much the difference changes per day.
    pub slope: f64,
    /// Its interval, of the same kind as those of the metrics.
    pub ci: [Option<f64>; 2],
    /// In standard errors, by unit.
    pub statistic: Option<f64>,
    /// The p-value, of the same kind as those of the metrics.
    pub p_value: Option<f64>,
    /// Adjusted for the other metrics and candidates (Holm).
    pub p_adjusted: Option<f64>,
}
