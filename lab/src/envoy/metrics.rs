//! Reads the two forms in which Envoy prints its statistics.

use std::collections::BTreeMap;

/// Reads `name: number` lines. Histograms and text readouts, whose values are no numbers, are skipped.
pub(super) fn parse_stats(text: &str) -> BTreeMap<String, i64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// The sum over all series of `metric_name` that carry at least these labels, in the Prometheus text format.
/// `None` if there is no such series, which is different from 0.
///
/// ```
/// let page = "rq{code=\"200\",model=\"a\"} 3\nrq{code=\"500\",model=\"a\"} 1\n";
/// assert_eq!(sidetrack_lab::prometheus_value(page, "rq", &[("model", "a")]), Some(4.0));
/// assert_eq!(sidetrack_lab::prometheus_value(page, "rq", &[("model", "b")]), None);
/// ```
#[must_use]
pub fn prometheus_value(text: &str, metric_name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    text.lines()
        .filter_map(parse_series)
        .filter(|series| series.name == metric_name)
        .filter(|series| labels.iter().all(|(name, value)| series.has(name, value)))
        .map(|series| series.value)
        .reduce(|sum, value| sum + value)
}

struct Series<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

impl Series<'_> {
    fn has(&self, name: &str, value: &str) -> bool {
        self.labels.iter().any(|(n, v)| *n == name && v == value)
    }
}

/// Reads `name{label="value",…} number` or `name number`. Comments and broken lines are `None`.
fn parse_series(line: &str) -> Option<Series<'_>> {
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
            labels.push((label, value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    // A time stamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name, labels, value })
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
    fn prometheus_names_match_whole() {
        let page = "# TYPE rq counter\nrq_total{} 5\nrq 7\n";
        assert_eq!(prometheus_value(page, "rq", &[]), Some(7.0));
        assert_eq!(prometheus_value(page, "rq_total", &[]), Some(5.0));
    }

    #[test]
    fn prometheus_labels_may_hold_anything() {
        let page = r#"rq{note="a \"b\", c=\"d\"}",model="m\\1"} 2.5"#;
        assert_eq!(
            prometheus_value(page, "rq", &[("note", "a \"b\", c=\"d\"}"), ("model", "m\\1")]),
            Some(2.5)
        );
        assert_eq!(prometheus_value(page, "rq", &[("c", "d")]), None);
    }
}
