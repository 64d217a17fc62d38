//! Requests and errors over time, of the present trial.

use std::collections::BTreeMap;

use minijinja::Value;

use crate::error::Error;
use crate::live::{Bin, Every, Live};
use crate::report::plot::{Plot, Traffic};
use crate::store::Store;

/// Up to this many minutes, a step is a minute; up to this many hours, an hour.
const MINUTES: i64 = 180;
const HOURS: i64 = 24 * 14;
/// The most steps that are drawn, the latest ones.
const STEPS: i64 = 400;

/// The plots, if there is anything to draw.
pub(super) fn plots(
    store: &Store,
    experiment: &str,
    live: &Live,
    variants: &[String],
) -> Result<Vec<Value>, Error> {
    let Some(trial) = &live.trial else { return Ok(Vec::new()) };
    let Some((first, last)) = store.span(experiment, trial)? else { return Ok(Vec::new()) };
    let (every, each) = match last - first {
        short if short < MINUTES => (Every::Minute, "minute"),
        long if long < HOURS * 60 => (Every::Hour, "hour"),
        _ => (Every::Day, "day"),
    };
    let bins = store.series(experiment, every)?;
    let bins = bins.into_iter().filter(|bin| bin.trial == *trial && bin.minute <= last);
    let traffic = traffic(bins, every.minutes(), each, variants);
    Ok([traffic.requests(variants), traffic.errors(variants)]
        .into_iter()
        .flatten()
        .map(Plot::value)
        .collect())
}

/// Steps without requests are there as well: a gap is no line between its ends.
fn traffic(
    bins: impl Iterator<Item = Bin>,
    step: i64,
    each: &'static str,
    variants: &[String],
) -> Traffic {
    let mut sums: BTreeMap<(i64, String), [i64; 2]> = BTreeMap::new();
    for bin in bins {
        let served = if bin.served.is_empty() { bin.assigned } else { bin.served };
        let [requests, errors] = sums.entry((bin.minute, served)).or_default();
        *requests += bin.requests;
        *errors += bin.errors;
    }
    let minutes = || sums.keys().map(|(minute, _)| *minute);
    let (Some(first), Some(last)) = (minutes().min(), minutes().max()) else {
        return Traffic::default();
    };
    let first = first.max(last - step * (STEPS - 1));
    let steps: Vec<i64> =
        (0..STEPS).map(|index| first + index * step).take_while(|minute| *minute <= last).collect();
    let of = |name: &String| {
        let at = |minute: &i64| {
            let sum = sums.get(&(*minute, name.clone())).copied().unwrap_or_default();
            sum.map(float)
        };
        (name.clone(), steps.iter().map(at).collect())
    };
    Traffic {
        each,
        times: steps.iter().map(|minute| u64::try_from(minute * 60_000).unwrap_or(0)).collect(),
        served: variants.iter().map(of).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(minute: i64, served: &str, requests: i64, errors: i64) -> Bin {
        Bin {
            minute,
            from: String::new(),
            trial: "t".to_owned(),
            assigned: "b".to_owned(),
            served: served.to_owned(),
            requests,
            errors,
            diverted: 0,
            probes: 0,
            mean_milliseconds: 0.0,
        }
    }

    #[test]
    fn a_gap_has_no_requests_and_no_share_of_errors() {
        let variants = ["a".to_owned(), "b".to_owned()];
        let bins = [bin(60, "a", 5, 1), bin(60, "", 2, 0), bin(240, "a", 7, 0)];
        let traffic = traffic(bins.into_iter(), 60, "hour", &variants);
        assert_eq!(traffic.times, [60, 120, 180, 240].map(|minute| minute * 60_000));
        let zero = [0.0, 0.0];
        assert_eq!(traffic.served[0].1, [[5.0, 1.0], zero, zero, [7.0, 0.0]]);
        assert_eq!(traffic.served[1].1, [[2.0, 0.0], zero, zero, zero]);
    }

    #[test]
    fn the_latest_steps_are_drawn() {
        let bins = [bin(0, "a", 1, 0), bin(100_000, "a", 2, 0)];
        let traffic = traffic(bins.into_iter(), 1, "minute", &["a".to_owned()]);
        assert_eq!(traffic.times.len(), 400);
        assert_eq!(traffic.times.last(), Some(&6_000_000_000));
    }
}
