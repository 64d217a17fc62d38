//! The counters of one variant.

use std::time::Duration;

use sidetrack::names::{label, metric, status};
use sidetrack::outcome::TIME_BOUNDS;
use sidetrack_lab::Scrape;

/// The requests of a variant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::run) struct Counts {
    /// Served.
    pub(in crate::run) requests: u64,
    /// Of these, failed.
    pub(in crate::run) errors: u64,
    /// Assigned to this candidate, and served by the baseline.
    pub(in crate::run) fallbacks: u64,
    /// Response times up to each of [`TIME_BOUNDS`], and all.
    pub(in crate::run) times: [u64; TIME_BOUNDS.len() + 1],
}

impl Counts {
    pub(super) fn read(metrics: &Scrape, experiment: &str, variant: &str) -> Self {
        let labels = [(label::EXPERIMENT, experiment), (label::MODEL, variant)];
        let count = |name: &str| metrics.count(name, &labels).unwrap_or_default();
        let with = |name: &str, key: &str, value: &str| {
            let [experiment, model] = labels;
            metrics.count(name, &[experiment, model, (key, value)]).unwrap_or_default()
        };
        let mut times = [count(metric::RESPONSE_TIME_COUNT); TIME_BOUNDS.len() + 1];
        for (time, (_, bound)) in times.iter_mut().zip(TIME_BOUNDS) {
            *time = with(metric::RESPONSE_TIME_BUCKET, label::LE, bound);
        }
        Self {
            requests: count(metric::REQUESTS),
            errors: with(metric::REQUESTS, label::STATUS, status::ERROR),
            fallbacks: count(metric::FALLBACKS),
            times,
        }
    }

    /// What came after an earlier reading.
    pub(in crate::run) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.requests = self.requests.saturating_sub(before.requests);
        since.errors = self.errors.saturating_sub(before.errors);
        since.fallbacks = self.fallbacks.saturating_sub(before.fallbacks);
        for (time, before) in since.times.iter_mut().zip(before.times) {
            *time = time.saturating_sub(before);
        }
        since
    }

    pub(in crate::run) fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.errors += more.errors;
        self.fallbacks += more.fallbacks;
        for (time, more) in self.times.iter_mut().zip(more.times) {
            *time += more;
        }
    }

    /// The response time that this share of the responses does not exceed, interpolated within its bucket as Prometheus
    /// does; at most the largest bound. `None` without responses.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    pub(in crate::run) fn quantile(&self, share: f64) -> Option<Duration> {
        let all = *self.times.last()?;
        let rank = share * all as f64;
        let (mut below, mut from) = (0_u64, 0_u64);
        for (count, (to, _)) in self.times.iter().zip(TIME_BOUNDS) {
            if *count as f64 >= rank && *count > below {
                let inside = (rank - below as f64) / (count - below) as f64;
                let millis = inside.mul_add((to - from) as f64, from as f64);
                return Some(Duration::from_secs_f64(millis.max(0.0) / 1000.0));
            }
            (below, from) = (*count, to);
        }
        (all > 0).then(|| Duration::from_millis(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[(&str, u64)], all: u64) -> Counts {
        let labels = "experiment=\"e\",model_name=\"m\"";
        let mut text = format!("{}{{{labels}}} {all}\n", metric::RESPONSE_TIME_COUNT);
        let mut below = 0;
        for (_, bound) in TIME_BOUNDS {
            below =
                times.iter().find(|(name, _)| *name == bound).map_or(below, |(_, count)| *count);
            let name = metric::RESPONSE_TIME_BUCKET;
            text += &format!("{name}{{{labels},le=\"{bound}\"}} {below}\n");
        }
        Counts::read(&Scrape::parse(&text), "e", "m")
    }

    #[test]
    fn a_quantile_is_inside_its_bucket() {
        let counts = of(&[("0.01", 50), ("0.02", 100)], 100);
        assert_eq!(counts.quantile(0.25), Some(Duration::from_micros(7500)));
        assert_eq!(counts.quantile(0.75), Some(Duration::from_millis(15)));
        assert_eq!(counts.quantile(1.0), Some(Duration::from_millis(20)));
        assert_eq!(of(&[], 0).quantile(0.5), None);
        assert_eq!(of(&[], 3).quantile(0.5), Some(Duration::from_secs(10)));
    }
}
