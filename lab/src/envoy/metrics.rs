//! Envoy's statistics as typed values, from the two text formats of its admin interface.

use std::collections::BTreeMap;

/// One scrape of `/stats/prometheus`.
///
/// ```
/// use sidetrack_lab::Scrape;
///
/// let scrape = Scrape::parse("rq{code=\"200\",model=\"a\"} 3\nrq{code=\"500\",model=\"a\"} 1\n");
/// assert_eq!(scrape.sum("rq", &[("model", "a")]), Some(4.0));
/// assert_eq!(scrape.count("rq", &[("code", "500")]), Some(1));
/// assert_eq!(scrape.sum("rq", &[("model", "b")]), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Parses the Prometheus text format. Comments and malformed lines are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { series: text.lines().filter_map(parse_series).collect() }
    }

    /// The sum over all series of `metric` with at least these labels. `None` if no such series exists, which is
    /// different from 0.
    #[must_use]
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &&Series| {
            series.name == metric && labels.iter().all(|(name, value)| series.has(name, value))
        };
        self.series.iter().filter(has).map(|series| series.value).reduce(|sum, value| sum + value)
    }

    /// The same sum as a count: rounded to the nearest integer, at least 0.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and counters are far below 2^53"
    )]
    pub fn count(&self, metric: &str, labels: &[(&str, &str)]) -> Option<u64> {
        Some(self.sum(metric, labels)?.round() as u64)
    }

    /// All series: name, labels and value.
    pub fn series(&self) -> impl Iterator<Item = (&str, &[(String, String)], f64)> {
        self.series.iter().map(|series| (series.name.as_str(), &*series.labels, series.value))
    }

    /// The values of all series whose names begin like this: some proxies leave labels in the names.
    pub fn values(&self, prefix: &str) -> impl Iterator<Item = f64> {
        self.series
            .iter()
            .filter(move |series| series.name.starts_with(prefix))
            .map(|series| series.value)
    }
}

impl Series {
    fn has(&self, name: &str, value: &str) -> bool {
        self.labels.iter().any(|(n, v)| n == name && v == value)
    }
}

/// [`Scrape::sum`] of a single value.
#[must_use]
pub fn prometheus_value(text: &str, metric_name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    Scrape::parse(text).sum(metric_name, labels)
}

/// Parses `name: number` lines. Histograms and text readouts are skipped.
pub(super) fn parse_stats(text: &str) -> BTreeMap<String, i64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// Parses `name{label="value",…} number` or `name number`; `None` for comments and malformed lines.
fn parse_series(line: &str) -> Option<Series> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = parse_quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    // A timestamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// Reads up to the closing quote; `\\`, `\"` and `\n` are escapes. Returns the value and what follows it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_keep_numbers_only() {
        let page = "cluster.a.rq: 12\ngauge: -3\nhistogram: P0(nan,1) P25(nan,1.05)\ntext: \"v: 1\"\nempty: No recorded values\n";
        let expected = BTreeMap::from([("cluster.a.rq".to_owned(), 12), ("gauge".to_owned(), -3)]);
        assert_eq!(parse_stats(page), expected);
    }

    #[test]
    fn metric_names_match_whole() {
        let scrape = Scrape::parse("# TYPE rq counter\nrq_total{} 5\nrq 7\n");
        assert_eq!(scrape.count("rq", &[]), Some(7));
        assert_eq!(scrape.count("rq_total", &[]), Some(5));
        assert_eq!(scrape.values("rq").collect::<Vec<_>>(), [5.0, 7.0]);
    }

    #[test]
    fn label_values_may_contain_anything() {
        let scrape = Scrape::parse(r#"rq{note="a \"b\", c=\"d\"}",model="m\\1"} 2.5"#);
        let labels = [("note", "a \"b\", c=\"d\"}"), ("model", "m\\1")];
        assert_eq!(scrape.sum("rq", &labels), Some(2.5));
        assert_eq!(scrape.sum("rq", &[("c", "d")]), None);
    }
}
