//! What a running experiment can still find, and when it ends.

use serde::{Deserialize, Serialize};

/// How new units arrive, and which effects are large enough to be found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Outlook {
    /// New units a day in the last whole days; null below one whole day.
    pub new_units_per_day: Option<f64>,
    /// How many whole days that is: at most 7.
    pub days: u64,
    /// By which factor the number of new units changes from day to day; null unless it falls significantly.
    pub daily_change: Option<f64>,
    /// Days until the planned units at this rate; with a falling rate, if it goes on falling. Null if they are reached, or
    /// never will be.
    pub days_left: Option<f64>,
    /// At the falling rate, the planned units will not be reached.
    pub never: bool,
    /// By primary metric and candidate.
    pub detectable: Vec<Detectable>,
}

/// The smallest difference that is found with a power of 80 %, given the variance seen so far.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Detectable {
    /// The metric.
    pub metric: String,
    /// The candidate.
    pub variant: String,
    /// With the units so far, by the intervals of this look.
    pub now: Option<f64>,
    /// With the planned units, by the fixed test.
    pub planned: Option<f64>,
}
