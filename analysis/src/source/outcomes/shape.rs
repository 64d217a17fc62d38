//! The shape of a column of numbers: whether its name and values are those of identifiers or times, which are no metrics.

use super::columns::NoMetric;
use crate::metric::words;

/// Fewer values show nothing.
const ENOUGH: u64 = 20;

/// Last words of the names of identifiers.
const IDENTIFIERS: [&str; 16] = [
    "accountid",
    "customerid",
    "deviceid",
    "guid",
    "id",
    "ids",
    "idx",
    "index",
    "orderid",
    "phone",
    "productid",
    "sessionid",
    "sku",
    "userid",
    "uuid",
    "zip",
];
/// Last words of the names of numbered things: `order_number`.
const NUMBERED: [&str; 3] = ["no", "nr", "number"];
/// Last words of the names of times.
const TIMES: [&str; 10] =
    ["date", "datetime", "day", "hour", "month", "timestamp", "ts", "week", "weekday", "year"];

/// What was seen of the values.
#[derive(Debug, Default)]
pub(super) struct Shape {
    values: u64,
    before: f64,
    /// A step between two values was not one.
    jumps: bool,
    /// The lowest and the highest value.
    range: Option<(f64, f64)>,
}

impl Shape {
    pub(super) fn add(&mut self, value: f64) {
        self.jumps |= self.values > 0 && (value - self.before - 1.0).abs() > 1e-9;
        self.values += 1;
        self.before = value;
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
    }

    /// What a column of this name is instead of a metric.
    pub(super) fn no_metric(&self, name: &str) -> Option<NoMetric> {
        let (low, high) = self.range?;
        let words = words(name);
        let ends = |of: &[&str]| words.last().is_some_and(|word| of.contains(&word.as_str()));
        // `has_id` and `is_weekday` are yes or no.
        let is_binary = low >= 0.0 && high <= 1.0;
        if !is_binary && (ends(&IDENTIFIERS) || (words.len() > 1 && ends(&NUMBERED))) {
            return Some(NoMetric::Identifiers);
        }
        if !is_binary && (ends(&TIMES) || (words.len() > 1 && ends(&["at"]))) {
            return Some(NoMetric::Times);
        }
        if self.values < ENOUGH {
            return None;
        }
        // Seconds to nanoseconds since 1970, from 2001 to 2065.
        let since = |one: f64| low >= 1e9 * one && high <= 3e9 * one;
        if !self.jumps {
            Some(NoMetric::Identifiers)
        } else if [1.0, 1e3, 1e6, 1e9].into_iter().any(since) {
            Some(NoMetric::Times)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, values: impl IntoIterator<Item = f64>) -> Option<NoMetric> {
        let mut shape = Shape::default();
        values.into_iter().for_each(|value| shape.add(value));
        shape.no_metric(name)
    }

    #[test]
    fn row_numbers_and_times_are_known_by_their_values() {
        let numbers = |from: u32| (from..from + 30).map(f64::from);
        assert_eq!(of("n", numbers(0)), Some(NoMetric::Identifiers));
        assert_eq!(of("n", numbers(4711)), Some(NoMetric::Identifiers));
        for one in [1.0, 1e3, 1e6, 1e9] {
            let times = (0..30).map(|n| (1_795_424_400.0 + f64::from(n * n)) * one);
            assert_eq!(of("n", times), Some(NoMetric::Times), "{one}");
        }
        assert_eq!(of("n", numbers(0).take(10)), None, "too few");
        assert_eq!(of("n", numbers(0).map(|n| n * 2.0)), None);
        assert_eq!(of("n", numbers(0).chain([3.0])), None);
        assert_eq!(of("n", numbers(0).map(|n| n * n * 1e8)), None, "from zero on");
        assert_eq!(of("id", []), None);
    }

    #[test]
    fn identifiers_and_times_are_known_by_their_names() {
        for name in ["id", "order_id", "orderId", "userid", "UUID", "index", "order_number", "zip"]
        {
            assert_eq!(of(name, [3.0, 9.0, 4.0]), Some(NoMetric::Identifiers), "{name}");
        }
        for name in ["created_at", "createdAt", "timestamp", "ts", "order_date", "Weekday"] {
            assert_eq!(of(name, [3.0, 9.0, 4.0]), Some(NoMetric::Times), "{name}");
        }
        for name in
            ["revenue", "paid", "number", "number_of_orders", "at", "updates", "hours", "bid"]
        {
            assert_eq!(of(name, [3.0, 9.0, 4.0]), None, "{name}");
        }
        assert_eq!(of("has_id", [0.0, 1.0, 1.0]), None, "yes or no");
    }
}
