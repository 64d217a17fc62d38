//! Segments: results by a column of the outcomes or a field of the access log, such as the country.
//!
//! A unit has one value of each dimension: that of its first request, or of its earliest row in the outcomes. The largest
//! values are segments, the others together are one more, as are the units without a value. Segments never decide.

mod chosen;
mod compare;
mod split;
mod texts;

use sidetrack::names::log;

pub use chosen::LARGEST;
pub(crate) use chosen::{Chosen, ChosenValues, Sizes};
pub(crate) use compare::{Grounds, segments};
pub(crate) use split::{checks, missing};
pub(crate) use texts::{NO_VALUE, Texts, key_of};

use crate::figures::visible;
use crate::source::outcomes::Outcomes;

/// Fields of the access log that the variant causes: segments by them compare different users.
const EFFECTS: [&str; 10] = [
    log::ASSIGNED,
    log::SERVED,
    log::STATUS,
    log::FLAGS,
    log::DURATION,
    log::FIRST_BYTE,
    log::FIRST_BODY,
    log::ATTEMPTS,
    log::RESCUED,
    log::CLUSTER,
];

/// By what results are shown separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// A column of the outcomes, or a field of the access log.
    pub name: String,
    /// It is in the plan of the file.
    pub planned: bool,
}

/// Reads the name of a dimension.
///
/// # Errors
/// It is empty, identifies units or requests, or is an effect of the variant.
pub fn dimension(name: &str) -> Result<String, String> {
    let shown = visible(name);
    if name.is_empty() {
        return Err("expected the name of a column or a field, as in country".to_owned());
    }
    if [log::UNIT, log::REQUEST_ID, log::TIME].contains(&name) {
        return Err(format!("\"{shown}\" has another value for each unit or request"));
    }
    if EFFECTS.contains(&name) {
        return Err(format!(
            "\"{shown}\" depends on the variant, so its segments would compare different users"
        ));
    }
    Ok(name.to_owned())
}

/// A dimension and where its values are.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) name: String,
    /// The column of the outcomes; `None`: a field of the access log.
    pub(crate) column: Option<usize>,
}

/// Finds the columns of dimensions: what the outcomes do not have is a field of the access log.
pub(crate) fn locate(dimensions: &[Dimension], outcomes: &Outcomes) -> Vec<Located> {
    let of = |Dimension { name, .. }: &Dimension| Located {
        name: name.clone(),
        column: outcomes.segments.iter().position(|column| column.name == *name),
    };
    dimensions.iter().map(of).collect()
}
