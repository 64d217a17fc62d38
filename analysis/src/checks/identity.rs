//! Whether the lines name each unit once, and all belong to the trial.

use std::collections::BTreeMap;

use super::rows::LOST;
use super::share;
use crate::check::{Check, CheckName, CheckState};
use crate::error::Error;
use crate::join::{Joined, Tally};
use crate::sums::Sums;

/// Below, units say nothing of each other.
const ENOUGH: u64 = 100;

/// Plain units of a sample that occur as digests as well, and all of the sample.
///
/// # Errors
/// A temporary file cannot be read.
pub(crate) fn named_twice(joined: &Joined) -> Result<[u64; 2], Error> {
    let digests: Vec<u64> = joined.tally.digests.iter().collect();
    let known = joined.know(&digests, false)?;
    Ok([known.iter().filter(|known| **known).count() as u64, digests.len() as u64])
}

/// Units that occur in plain text and as digests: `settings.exposure_unit` was changed, and each counts twice. A plain
/// unit never has the digest of another one, so a single one is proof.
pub(crate) fn twice([twice, all]: [u64; 2]) -> Check {
    let value = share(twice, all - twice);
    let state = match twice {
        0 => CheckState::Ok,
        _ if value > LOST => CheckState::Blocking,
        _ => CheckState::Warning,
    };
    let message = match twice {
        0 => "no unit is in the log in plain text and as a digest".to_owned(),
        _ => format!(
            "{twice} of {all} plain units that were looked up ({:.1} %) are in the log as digests as \
             well: settings.exposure_unit was changed, and these users count twice. Analyze the time \
             before or after the change (--until, --since)",
            value * 100.0
        ),
    };
    check(CheckName::UnitsNamedTwice, state, Some(value), LOST, message)
}

/// Lines that name no trial, beside others that do: from an older version of the filter. They are of the file's trial as
/// far as one can know: plain units show by their buckets which salt drew them, and digests by the units that occur in
/// both kinds of lines.
pub(crate) fn untold(tally: &Tally, sums: &Sums) -> Check {
    let (untold, told) = (tally.untold, tally.used - tally.untold);
    let value = share(untold, told);
    let ok = |message: &str| {
        check(CheckName::UntoldTrials, CheckState::Ok, Some(value), LOST, message.to_owned())
    };
    if told == 0 || untold == 0 {
        return ok("all lines name their trial, or none does");
    }
    let foreign = 2 * tally.foreign > untold;
    let apart = sums.told.some == 0 && sums.told.all.min(sums.told.none) >= ENOUGH;
    let words = format!(
        "{untold} of {} lines ({:.1} %) name no trial, and the others do",
        tally.used,
        value * 100.0
    );
    let (is_other, why) = if foreign {
        (true, "the buckets of their units are not those of the file's salt")
    } else if apart {
        (true, "no unit is in both kinds of lines, so another salt may have drawn them")
    } else {
        (false, "they are taken for lines of the trial of the file, since units are in both kinds")
    };
    let message = format!(
        "{words}: {why}{}",
        if is_other {
            ". Leave them out with --since, or analyze them with the file of their time"
        } else {
            ""
        }
    );
    let state = if is_other && value > LOST { CheckState::Blocking } else { CheckState::Warning };
    check(CheckName::UntoldTrials, state, Some(value), LOST, message)
}

fn check(
    name: CheckName,
    state: CheckState,
    value: Option<f64>,
    limit: f64,
    message: String,
) -> Check {
    Check { name, state, subject: None, value, limit, variants: BTreeMap::new(), message }
}
