//! Which sums another engine has to make for a verdict.

use serde::Serialize;

use super::fields::words;
use crate::analyze::{Settings, selected};
use crate::answer::{Kind, Role};
use crate::error::Error;
use crate::metric::{self, Available, Metric, Origin};
use crate::sums::{adds_values, has_days, is_adjusted, is_segmented, needs_tails};

/// A column of the outcomes, as an engine has it: numbers.
#[derive(Clone, Debug)]
pub struct Column {
    /// The name of its metric.
    pub name: String,
    /// Nothing but 0 and 1.
    pub binary: bool,
}

/// What the values of a metric are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Failed requests.
    Errors,
    /// Requests that the client aborted.
    Aborts,
    /// The duration of requests.
    Latency,
    /// The column of the outcomes with this index.
    Column(usize),
}

/// A metric whose sums are needed.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one metric")]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// How the table names its sums.
    pub words: String,
    /// How units become a number.
    pub kind: Kind,
    /// What its values are made of.
    pub of: Of,
    /// Of a ratio of two columns: that of the denominator.
    pub per: Option<usize>,
    /// A unit without a row is left out.
    pub missing: bool,
    /// It is a primary one.
    pub primary: bool,
    /// It is compared by segment.
    pub segmented: bool,
    /// It is compared by day.
    pub daily: bool,
    /// Covariates adjust it.
    pub adjusted: bool,
    /// Powers of residuals are needed.
    pub tails: bool,
    /// Sums without the largest values are needed.
    pub large: bool,
}

/// The metrics of an analysis of outcomes with these columns.
///
/// # Errors
/// A metric that the columns do not allow.
pub fn measures(
    columns: &[Column],
    by_request: bool,
    settings: &Settings,
) -> Result<Vec<Measure>, Error> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let binary: Vec<bool> = columns.iter().map(|column| column.binary).collect();
    let available = Available {
        columns: &names,
        by_request,
        binary: &binary,
        ignored: &[],
        caps: &settings.caps,
        // An engine has numbers, and no predictions and labels.
        modeled: 0,
        logged: &[],
        covariates: &settings.methods.covariates,
    };
    let metrics = selected(&available, settings)?;
    Ok(metrics.iter().map(|metric| Measure::of(metric, by_request)).collect())
}

impl Measure {
    fn of(metric: &Metric, by_request: bool) -> Self {
        let (kind, decides) = words(metric);
        Self {
            name: metric.name.clone(),
            words: format!("{kind}{decides}"),
            kind: metric.measure.kind(),
            of: match metric.origin {
                Origin::Errors => Of::Errors,
                Origin::Aborts => Of::Aborts,
                Origin::Latency => Of::Latency,
                Origin::Column(column) => Of::Column(column),
            },
            per: metric.per,
            missing: metric.absent == metric::Absent::Missing,
            segmented: is_segmented(metric),
            daily: has_days(metric, !by_request),
            adjusted: is_adjusted(metric),
            primary: metric.role == Role::Primary,
            tails: needs_tails(metric),
            large: adds_values(metric),
        }
    }
}
