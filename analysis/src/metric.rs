//! Metrics: names, kinds, goals and roles, and the notation in which users request them.
//!
//! `NAME[=KIND][:increase|decrease][:MARGIN]`, for example `revenue=mean:increase` or `latency_p95:20ms`.

use std::str::FromStr;

use crate::answer::{Goal, Kind, MetricUnit, Role};
use crate::error::{Error, Part};
use crate::source::outcomes::ACCURACY;

/// How units become a number, with what a quantile needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measure {
    /// The share of units with at least one success.
    Proportion,
    /// The sum of each unit, averaged over all units; a unit without a row has 0.
    Mean,
    /// The sum over all units by the number of requests or rows: per request, per prediction.
    Ratio,
    /// The latency below which this share of the requests lies.
    Quantile(f64),
}

impl Measure {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Proportion => Kind::Proportion,
            Self::Mean => Kind::Mean,
            Self::Ratio => Kind::Ratio,
            Self::Quantile(_) => Kind::Quantile,
        }
    }
}

/// Where the values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Errors,
    Latency,
    Aborts,
    /// A column of the outcomes.
    Column(usize),
}

/// How much worse a guardrail may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Margin {
    /// In the metric's own unit: seconds, or a fraction of one.
    Absolute(f64),
    /// Of the baseline's value.
    Relative(f64),
}

/// A metric of an analysis.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) measure: Measure,
    pub(crate) origin: Origin,
    pub(crate) goal: Goal,
    pub(crate) margin: Option<Margin>,
}

impl Metric {
    /// Seconds for times; nothing for columns and fractions.
    pub(crate) fn unit(&self) -> Option<MetricUnit> {
        (self.origin == Origin::Latency).then_some(MetricUnit::Seconds)
    }

    /// Whether a value is a fraction of one.
    pub(crate) fn is_share(&self) -> bool {
        self.measure == Measure::Proportion
            || self.name == ACCURACY
            || matches!(self.origin, Origin::Errors | Origin::Aborts)
    }

    /// How much worse a guardrail may be, in the metric's unit.
    pub(crate) fn margin(&self, baseline: Option<f64>) -> Option<f64> {
        match self.margin? {
            Margin::Absolute(margin) => Some(margin),
            Margin::Relative(share) => baseline.map(|value| value.abs() * share),
        }
    }
}

/// A metric as requested: `NAME[=KIND][:increase|decrease][:MARGIN]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRequest {
    name: String,
    kind: Option<Kind>,
    goal: Option<Goal>,
    margin: Option<Margin>,
}

impl FromStr for MetricRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (name, kind) =
            head.split_once('=').map_or((head, None), |(name, kind)| (name, Some(kind)));
        if name.is_empty() {
            return Err(format!(
                "\"{text}\" has no name; expected NAME[=KIND][:increase|decrease][:MARGIN]"
            ));
        }
        let kind = kind.map(|kind| match kind {
            "proportion" => Ok(Kind::Proportion),
            "mean" => Ok(Kind::Mean),
            "ratio" => Ok(Kind::Ratio),
            other => {
                Err(format!("unknown kind \"{other}\"; expected one of: proportion, mean, ratio"))
            }
        });
        let mut request =
            Self { name: name.to_owned(), kind: kind.transpose()?, goal: None, margin: None };
        for part in parts {
            match part {
                "increase" => request.goal = Some(Goal::Increase),
                "decrease" => request.goal = Some(Goal::Decrease),
                margin => request.margin = Some(margin.parse()?),
            }
        }
        Ok(request)
    }
}

impl FromStr for Margin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A suffix, and what one of it is; the empty one last, since every text ends in it.
        let units = [("%", 0.01), ("pt", 0.01), ("ms", 0.001), ("s", 1.0), ("", 1.0)];
        let read = |(suffix, one): (&str, f64)| {
            let value: f64 = text.strip_suffix(suffix)?.parse().ok()?;
            let margin = if suffix == "%" {
                Self::Relative(value * one)
            } else {
                Self::Absolute(value * one)
            };
            (value.is_finite() && value >= 0.0).then_some(margin)
        };
        units.into_iter().find_map(read).ok_or_else(|| {
            format!(
                "\"{text}\" is neither increase nor decrease nor a margin; expected for example 20ms, \
                 0.5pt (percentage points), 5% (of the baseline's value) or a number in the metric's \
                 own unit"
            )
        })
    }
}

/// The metrics that the data allow.
pub(crate) struct Available<'a> {
    pub(crate) columns: &'a [String],
    /// Rows are about requests.
    pub(crate) by_request: bool,
    /// By column: nothing but 0 and 1.
    pub(crate) binary: &'a [bool],
}

/// Requested metrics by role.
#[derive(Clone, Debug, Default)]
pub struct MetricRequests {
    /// They decide.
    pub primary: Vec<MetricRequest>,
    /// They must not get worse by more than their margins.
    pub guardrail: Vec<MetricRequest>,
    /// They decide nothing.
    pub exploratory: Vec<MetricRequest>,
}

impl Available<'_> {
    /// The metrics of an analysis: the requested ones, then the default ones.
    ///
    /// Without a primary metric, accuracy is primary if the outcomes have it, else their first column, else the error rate.
    /// The error rate and the 95th percentile of the latency are guardrails unless requested otherwise. All others are
    /// exploratory.
    ///
    /// # Errors
    /// An unknown name, a kind that the metric does not support, a metric with two roles.
    pub(crate) fn select(&self, requests: &MetricRequests) -> Result<Vec<Metric>, Error> {
        let mut metrics: Vec<Metric> = Vec::new();
        let roles = [
            (Role::Primary, &requests.primary),
            (Role::Guardrail, &requests.guardrail),
            (Role::Exploratory, &requests.exploratory),
        ];
        for (role, requests) in roles {
            for request in requests {
                let wrong = |problem: String| {
                    Error::input(Part::Metric(role, request.name.clone()), problem)
                };
                let metric = self.metric(request, role).map_err(wrong)?;
                if metrics.iter().any(|other| other.name == metric.name) {
                    return Err(wrong("requested twice; give it one role".to_owned()));
                }
                metrics.push(metric);
            }
        }
        let mut add = |name: &str, role: Role| {
            let known = metrics.iter().any(|metric| metric.name == name);
            let request =
                MetricRequest { name: name.to_owned(), kind: None, goal: None, margin: None };
            if let Some(metric) = self.metric(&request, role).ok().filter(|_| !known) {
                metrics.push(metric);
            }
        };
        if requests.primary.is_empty() {
            let accuracy = self.columns.iter().find(|name| *name == ACCURACY);
            add(
                accuracy.or_else(|| self.columns.first()).map_or("error_rate", String::as_str),
                Role::Primary,
            );
        }
        add("error_rate", Role::Guardrail);
        add("latency_p95", Role::Guardrail);
        for column in self.columns {
            add(column, Role::Exploratory);
        }
        for name in ["latency_mean", "latency_p50", "latency_p99", "abort_rate"] {
            add(name, Role::Exploratory);
        }
        metrics.sort_by_key(|metric| metric.role);
        Ok(metrics)
    }

    fn metric(&self, request: &MetricRequest, role: Role) -> Result<Metric, String> {
        let name = if request.name == "latency" { "latency_mean" } else { &request.name };
        let built_in = match name {
            "error_rate" => Some((Origin::Errors, Measure::Ratio)),
            "abort_rate" => Some((Origin::Aborts, Measure::Ratio)),
            "latency_mean" => Some((Origin::Latency, Measure::Ratio)),
            "latency_p50" => Some((Origin::Latency, Measure::Quantile(0.5))),
            "latency_p95" => Some((Origin::Latency, Measure::Quantile(0.95))),
            "latency_p99" => Some((Origin::Latency, Measure::Quantile(0.99))),
            _ => None,
        };
        let column = self.columns.iter().position(|column| column == name);
        let (origin, measure) = match (column, built_in) {
            (Some(column), _) => (Origin::Column(column), self.measure(column, request.kind)),
            (None, Some(built_in)) => {
                if request.kind.is_some() {
                    return Err("a built-in metric has a fixed kind; remove \"=…\"".to_owned());
                }
                built_in
            }
            (None, None) => {
                let columns = self.columns.iter().map(String::as_str);
                let known: Vec<&str> = BUILT_IN.into_iter().chain(columns).collect();
                return Err(format!("unknown metric; expected one of: {}", known.join(", ")));
            }
        };
        let default = match origin {
            Origin::Column(_) => Goal::Increase,
            _ => Goal::Decrease,
        };
        let margin = match (role, request.margin) {
            (Role::Guardrail, None) => Some(match origin {
                // Half a percentage point, and a tenth of the baseline's value.
                Origin::Errors | Origin::Aborts => Margin::Absolute(0.005),
                _ => Margin::Relative(0.1),
            }),
            (Role::Guardrail, margin) => margin,
            (_, Some(_)) => return Err("only a guardrail has a margin".to_owned()),
            (_, None) => None,
        };
        let goal = request.goal.unwrap_or(default);
        Ok(Metric { name: name.to_owned(), role, measure, origin, goal, margin })
    }

    fn measure(&self, column: usize, kind: Option<Kind>) -> Measure {
        match kind {
            Some(Kind::Proportion) => Measure::Proportion,
            Some(Kind::Mean) => Measure::Mean,
            // A quantile of a column is undefined for a single request.
            Some(Kind::Ratio | Kind::Quantile) => Measure::Ratio,
            None if self.by_request => Measure::Ratio,
            None if self.binary.get(column) == Some(&true) => Measure::Proportion,
            None => Measure::Mean,
        }
    }
}

/// The metrics that every log has.
const BUILT_IN: [&str; 6] =
    ["error_rate", "latency_mean", "latency_p50", "latency_p95", "latency_p99", "abort_rate"];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> MetricRequest {
        text.parse().unwrap()
    }

    fn selected(
        columns: &[&str],
        by_request: bool,
        primary: &[&str],
        guardrail: &[&str],
    ) -> Result<String, String> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let binary = vec![false; columns.len()];
        let available = Available { columns: &columns, by_request, binary: &binary };
        let read = |list: &[&str]| list.iter().map(|text| request(text)).collect::<Vec<_>>();
        let requests = MetricRequests {
            primary: read(primary),
            guardrail: read(guardrail),
            exploratory: Vec::new(),
        };
        let metrics = available.select(&requests).map_err(|error| error.to_string())?;
        let words = |metric: &Metric| {
            let kind = metric.measure.kind().as_str();
            format!("{} {kind} {}", metric.role.as_str(), metric.name)
        };
        Ok(metrics.iter().take(4).map(words).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn requests_are_parsed() {
        let read = request("latency_p95:decrease:20ms");
        assert_eq!((read.goal, read.margin), (Some(Goal::Decrease), Some(Margin::Absolute(0.02))));
        assert_eq!(request("a:0.5pt").margin, Some(Margin::Absolute(0.005)));
        assert_eq!(request("a:5%").margin, Some(Margin::Relative(0.05)));
        assert_eq!(request("a=mean").kind, Some(Kind::Mean));
        for bad in ["", "=mean", "a=median", "a:up", "a:-5ms", "a:1e999"] {
            assert!(bad.parse::<MetricRequest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_analysis_has_a_primary_metric_and_guardrails() {
        assert_eq!(
            selected(&[], false, &[], &[]).unwrap(),
            "primary ratio error_rate, guardrail quantile latency_p95, exploratory ratio latency_mean, \
             exploratory quantile latency_p50"
        );
        assert_eq!(
            selected(&["revenue", "accuracy"], true, &[], &[]).unwrap(),
            "primary ratio accuracy, guardrail ratio error_rate, guardrail quantile latency_p95, exploratory ratio revenue"
        );
        assert_eq!(
            selected(&["revenue"], false, &["revenue"], &["latency:3ms"]).unwrap(),
            "primary mean revenue, guardrail ratio latency_mean, guardrail ratio error_rate, guardrail quantile latency_p95"
        );
        assert!(selected(&[], false, &["nps"], &[]).unwrap_err().contains("unknown metric"));
        assert!(
            selected(&[], false, &["error_rate"], &["error_rate"]).unwrap_err().contains("twice")
        );
        assert!(selected(&[], false, &["error_rate:1pt"], &[]).unwrap_err().contains("margin"));
    }

    /// The metrics of an analysis with a column of 0 and 1, and one of other numbers.
    fn metrics(by_request: bool, primary: &[&str], guardrail: &[&str]) -> Vec<Metric> {
        let columns = ["hit", "revenue", ACCURACY].map(str::to_owned);
        let available = Available { columns: &columns, by_request, binary: &[true, false, true] };
        let read = |list: &[&str]| list.iter().map(|text| request(text)).collect::<Vec<_>>();
        let requests = MetricRequests {
            primary: read(primary),
            guardrail: read(guardrail),
            exploratory: Vec::new(),
        };
        available.select(&requests).unwrap()
    }

    fn find<'m>(metrics: &'m [Metric], name: &str) -> &'m Metric {
        metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn a_column_is_measured_by_what_its_rows_are_about() {
        let of = |by_request, request: &str| {
            let metrics = metrics(by_request, &[request], &[]);
            find(&metrics, request.split(['=', ':']).next().unwrap()).measure
        };
        assert_eq!([of(true, "hit"), of(true, "revenue")], [Measure::Ratio; 2]);
        assert_eq!([of(false, "hit"), of(false, "revenue")], [Measure::Proportion, Measure::Mean]);
        for by_request in [true, false] {
            assert_eq!(of(by_request, "hit=ratio"), Measure::Ratio);
            assert_eq!(of(by_request, "hit=mean"), Measure::Mean);
            assert_eq!(of(by_request, "revenue=proportion"), Measure::Proportion);
        }
    }

    #[test]
    fn goals_units_and_margins_have_defaults() {
        let metrics = metrics(
            true,
            &["revenue:decrease", "hit=proportion"],
            &["error_rate:increase", "abort_rate", "latency_p99:30ms", "accuracy"],
        );
        let goals = ["revenue", "hit", "accuracy", "error_rate", "latency_p95"];
        use Goal::{Decrease, Increase};
        assert_eq!(
            goals.map(|name| find(&metrics, name).goal),
            [Decrease, Increase, Increase, Increase, Decrease]
        );
        let margins = ["error_rate", "abort_rate", "latency_p99", "latency_p95", "accuracy"];
        assert_eq!(
            margins.map(|name| find(&metrics, name).margin),
            [
                Some(Margin::Absolute(0.005)),
                Some(Margin::Absolute(0.005)),
                Some(Margin::Absolute(0.03)),
                Some(Margin::Relative(0.1)),
                Some(Margin::Relative(0.1)),
            ]
        );
        let others = ["revenue", "hit", "latency_mean"];
        assert!(others.iter().all(|name| find(&metrics, name).margin.is_none()));
        let shown: Vec<(&str, bool, bool)> = metrics
            .iter()
            .map(|metric| (&*metric.name, metric.is_share(), metric.unit().is_some()))
            .collect();
        assert_eq!(
            shown,
            [
                ("revenue", false, false),
                ("hit", true, false),
                ("error_rate", true, false),
                ("abort_rate", true, false),
                ("latency_p99", false, true),
                ("accuracy", true, false),
                ("latency_p95", false, true),
                ("latency_mean", false, true),
                ("latency_p50", false, true),
            ]
        );
        let latency = find(&metrics, "latency_p95");
        assert_eq!((latency.margin(Some(-2.0)), latency.margin(None)), (Some(0.2), None));
        assert_eq!(find(&metrics, "abort_rate").margin(None), Some(0.005));
        assert_eq!(find(&metrics, "revenue").margin(Some(2.0)), None);
    }

    #[test]
    fn a_built_in_metric_has_a_fixed_kind_and_yields_to_a_column_of_its_name() {
        let error = selected(&[], false, &["error_rate=mean"], &[]).unwrap_err();
        assert!(error.contains("fixed kind"), "{error}");
        let error = selected(&["nps"], false, &["np"], &[]).unwrap_err();
        assert!(error.ends_with("latency_p99, abort_rate, nps"), "{error}");
        let found = selected(&["error_rate"], false, &["error_rate=mean"], &[]).unwrap();
        assert!(
            found.starts_with("primary mean error_rate, guardrail quantile latency_p95"),
            "{found}"
        );
        for (name, share) in [("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)] {
            let metrics = metrics(true, &[name], &[]);
            assert_eq!(find(&metrics, name).measure, Measure::Quantile(share));
        }
    }

    #[test]
    fn margins_have_units() {
        for (text, margin) in [
            ("a:20ms", Margin::Absolute(0.02)),
            ("a:2s", Margin::Absolute(2.0)),
            ("a:3", Margin::Absolute(3.0)),
            ("a:0", Margin::Absolute(0.0)),
            ("a:0%", Margin::Relative(0.0)),
            ("a:2pt", Margin::Absolute(0.02)),
        ] {
            assert_eq!(request(text).margin, Some(margin), "{text}");
        }
        let read = request("a=ratio:increase");
        assert_eq!(
            (read.kind, read.goal, read.margin),
            (Some(Kind::Ratio), Some(Goal::Increase), None)
        );
        assert_eq!(request("a=proportion").kind, Some(Kind::Proportion));
    }
}
