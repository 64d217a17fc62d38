//! Comparisons where each request is taken as a unit.

use sidetrack_stats::float;
use sidetrack_stats::input::Proportion;
use sidetrack_stats::score::Score;
use sidetrack_stats::strata::{self, Side};

use super::{Compared, Data, EMPTY, Scored, Within, method, sizes, usable};
use crate::metric::{Metric, Origin};

impl Data<'_> {
    /// Compares requests.
    pub(super) fn by_request(&self, metric: &Metric, candidate: usize) -> Compared {
        let mut counts = Vec::new();
        let mut sides = Vec::new();
        for stratum in 0..self.shape.strata {
            let of = |arm: usize| -> Option<(Option<Proportion>, Side)> {
                let totals = self.totals(stratum, arm)?;
                let answered = totals.requests - totals.aborted;
                // Rows about requests have no numerator and denominator of a unit.
                if metric.per.is_some() {
                    return None;
                }
                let moments = match metric.origin {
                    Origin::Errors => return share_side(totals.failed, answered),
                    Origin::Aborts => return share_side(totals.aborted, totals.requests),
                    Origin::Latency => &totals.latency,
                    Origin::Column(column) => totals.outcomes.get(column)?,
                };
                let sample = moments.sample().ok()?;
                let variance = moments.variance() / float(sample.count());
                Some((None, Side { value: sample.mean(), variance, units: sample.count() }))
            };
            let (one, two) = (of(self.shape.baseline), of(candidate));
            if let (Some((Some(one), _)), Some((Some(two), _))) = (one, two) {
                counts.push((stratum, (one, two)));
            }
            sides.push((one.map_or(EMPTY, |(_, side)| side), two.map_or(EMPTY, |(_, side)| side)));
        }
        let used = usable(&sides);
        let score =
            Score::of_shares(&counts.iter().map(|(_, pair)| *pair).collect::<Vec<_>>(), 1.0).ok();
        let (comparison, word) = match &score {
            Some(score) => (Ok(score.comparison(self.level)), "score test of shares of requests"),
            None => (strata::merge(&sides, 0.0, self.level), "means per request"),
        };
        let within = |within: Within| {
            let own = counts.iter().find(|(of, _)| *of == within.stratum);
            let own = own.and_then(|(_, pair)| Score::of_shares(&[*pair], 1.0).ok());
            within.scored(own, self.level)
        };
        Compared {
            candidate,
            sizes: sizes(&sides),
            comparison,
            method: method(word, used.len()),
            strata: self.within(&sides).into_iter().map(within).collect(),
            posteriors: score.as_ref().and_then(Score::posteriors),
            score: score.map(Scored::Shares),
            adjusted: None,
        }
    }
}

fn share_side(successes: u64, trials: u64) -> Option<(Option<Proportion>, Side)> {
    let share = Proportion::new(successes, trials).ok()?;
    let p = share.share();
    let variance = p * (1.0 - p) / float(trials);
    Some((Some(share), Side { value: p, variance, units: trials }))
}
