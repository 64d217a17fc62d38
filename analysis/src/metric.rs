//! Metrics: names, kinds, goals and roles, and the notation in which users request them.
//!
//! `NAME[=KIND][:increase|decrease][:absent=zero|missing][:MARGIN]`, for example `revenue=mean:increase` or
//! `latency_p95:20ms`.

mod doubt;
mod primary;
mod request;

use sidetrack::quantity::Ppm;

use crate::answer::{Goal, Kind, LoggedColumn, MetricUnit, Role};
use crate::cap::Cap;
use crate::error::{Error, Part};
use crate::llm::LlmMetric;
use crate::model::ModelMetric;
use crate::source::outcomes::{ACCURACY, Ignored};
use doubt::Doubt;
pub(crate) use doubt::words;
pub use request::MetricRequest;

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

/// What a unit without a row of the outcomes has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Nothing was bought, nothing happened.
    Zero,
    /// It is unknown: the unit is left out of the metric.
    Missing,
}

/// How much worse a guardrail may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Margin {
    /// In the metric's own unit: seconds, or a fraction of one.
    Absolute(f64),
    /// In percentage points, as a fraction of one: only of shares.
    Points(f64),
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
    pub(crate) absent: Absent,
    pub(crate) margin: Option<Margin>,
    /// The quantile of all units at which values are capped.
    pub(crate) cap: Option<Ppm>,
    /// Which metric of predictions and labels it is, if the plan says where these are.
    pub(crate) model: Option<ModelMetric>,
    /// Which metric of a language model it is, if it is made from fields of the log.
    pub(crate) llm: Option<LlmMetric>,
    /// Of a ratio of two columns: that of the denominator.
    pub(crate) per: Option<usize>,
}

impl Metric {
    /// Seconds for times; nothing for columns and fractions.
    pub(crate) fn unit(&self) -> Option<MetricUnit> {
        let is_time = self.origin == Origin::Latency || self.llm == Some(LlmMetric::FirstToken);
        is_time.then_some(MetricUnit::Seconds)
    }

    /// Whether a value is a fraction of one.
    pub(crate) fn is_share(&self) -> bool {
        self.measure == Measure::Proportion
            || self.name == ACCURACY
            || self.model.is_some_and(ModelMetric::is_share)
            || matches!(self.origin, Origin::Errors | Origin::Aborts)
    }

    /// How much worse a guardrail may be, in the metric's unit.
    pub(crate) fn margin(&self, baseline: Option<f64>) -> Option<f64> {
        match self.margin? {
            Margin::Absolute(margin) | Margin::Points(margin) => Some(margin),
            Margin::Relative(share) => baseline.map(|value| value.abs() * share),
        }
    }
}

/// The metrics that the data allow.
pub(crate) struct Available<'a> {
    pub(crate) columns: &'a [String],
    /// Rows are about requests.
    pub(crate) by_request: bool,
    /// By column: nothing but 0 and 1.
    pub(crate) binary: &'a [bool],
    /// Columns that are no metrics.
    pub(crate) ignored: &'a [Ignored],
    /// Caps of metrics.
    pub(crate) caps: &'a [Cap],
    /// How many of the columns are metrics of predictions and labels.
    pub(crate) modeled: usize,
    /// Columns that are made from fields of the log.
    pub(crate) logged: &'a [LoggedColumn],
    /// Columns that are covariates.
    pub(crate) covariates: &'a [String],
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

impl MetricRequests {
    /// Whether a metric is requested as a primary one or a guardrail.
    pub(crate) fn decides_by(&self, name: &str) -> bool {
        self.primary.iter().chain(&self.guardrail).any(|request| request.name == name)
    }
}

impl Available<'_> {
    /// The metrics of an analysis: the requested ones, then the default ones.
    ///
    /// Without a primary metric, accuracy is primary if the outcomes have it, else their only column; without outcomes it is
    /// the error rate.
    /// The error rate, the rate of aborted requests and the 95th percentile of the latency are guardrails unless requested otherwise. All others are
    /// exploratory.
    ///
    /// # Errors
    /// A column with the name of a built-in metric, an unknown name, a kind that the metric does not support, a metric with two roles; no primary metric, and several
    /// columns that may be meant.
    pub(crate) fn select(&self, requests: &MetricRequests) -> Result<Vec<Metric>, Error> {
        // It would replace a default guardrail.
        if let Some(name) = self.columns.iter().find(|name| BUILT_IN.contains(&name.as_str())) {
            let problem = format!("the column {name} has the name of a built-in metric; rename it");
            return Err(Error::input(Part::Outcomes(None), problem));
        }
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
            let known = metrics.iter().any(|metric| metric.name == name)
                || self.covariates.iter().any(|covariate| covariate == name);
            let request = MetricRequest::of(name);
            if let Some(metric) = self.metric(&request, role).ok().filter(|_| !known) {
                metrics.push(metric);
            }
        };
        if requests.primary.is_empty() {
            add(self.default_primary(&requests.guardrail)?, Role::Primary);
        }
        add("error_rate", Role::Guardrail);
        add("latency_p95", Role::Guardrail);
        add("abort_rate", Role::Guardrail);
        for (index, column) in self.columns.iter().enumerate() {
            // No direction of a bias is better, so it is only a metric if one is asked for.
            if self.model(index) != Some(ModelMetric::Bias) {
                add(column, Role::Exploratory);
            }
        }
        for name in ["latency_mean", "latency_p50", "latency_p99"] {
            add(name, Role::Exploratory);
        }
        metrics.sort_by_key(|metric| metric.role);
        self.check_caps(&metrics)?;
        Ok(metrics)
    }

    /// Which metric of predictions and labels a column is.
    fn model(&self, column: usize) -> Option<ModelMetric> {
        ModelMetric::named(self.columns.get(column)?).filter(|_| self.modeled > 0)
    }

    /// Caps are for means of outcomes. Without outcomes, there is nothing to cap.
    fn check_caps(&self, metrics: &[Metric]) -> Result<(), Error> {
        for cap in self.caps.iter().filter(|_| !self.columns.is_empty()) {
            let problem = match metrics.iter().find(|metric| metric.name == cap.metric) {
                Some(metric) if metric.name == ACCURACY => {
                    "a cap is for large values, and each prediction is right or wrong".to_owned()
                }
                Some(metric) if metric.measure == Measure::Mean => continue,
                Some(metric) if !matches!(metric.origin, Origin::Column(_)) => {
                    "a cap is for means of the outcomes, and this is a metric of requests"
                        .to_owned()
                }
                Some(metric) => format!(
                    "a cap is for means of the outcomes, and this is a {}; write {}=mean",
                    metric.measure.kind().as_str(),
                    metric.name
                ),
                None => {
                    let columns = self.columns.join(", ");
                    format!("unknown metric; the outcomes have: {columns}")
                }
            };
            return Err(Error::input(Part::Cap(cap.metric.clone()), problem));
        }
        Ok(())
    }

    /// The quantile of a metric's cap.
    fn cap(&self, name: &str) -> Option<Ppm> {
        self.caps.iter().find(|cap| cap.metric == name).map(|cap| cap.quantile)
    }

    fn metric(&self, request: &MetricRequest, role: Role) -> Result<Metric, String> {
        if request.name == LATENCY && self.columns.iter().any(|column| column == LATENCY) {
            return Err(
                "the outcomes have such a column, and it is short for latency_mean of the \
                        requests; rename the column, or write latency_mean"
                    .to_owned(),
            );
        }
        let name = if request.name == LATENCY { "latency_mean" } else { &request.name };
        let built_in = match name {
            "error_rate" => Some((Origin::Errors, Measure::Ratio)),
            "abort_rate" => Some((Origin::Aborts, Measure::Ratio)),
            "latency_mean" => Some((Origin::Latency, Measure::Ratio)),
            "latency_p50" => Some((Origin::Latency, Measure::Quantile(0.5))),
            "latency_p95" => Some((Origin::Latency, Measure::Quantile(0.95))),
            "latency_p99" => Some((Origin::Latency, Measure::Quantile(0.99))),
            _ => None,
        };
        if self.covariates.iter().any(|covariate| covariate == name) {
            return Err(
                "it is a covariate, from before the experiment; a metric is from within it"
                    .to_owned(),
            );
        }
        let place = |name: &str| self.columns.iter().position(|column| column == name);
        let parts = name.split_once('/').filter(|_| place(name).is_none());
        let parts = parts.and_then(|(one, other)| Some((place(one)?, place(other)?)));
        if parts.is_some() && !matches!(request.kind, None | Some(Kind::Ratio)) {
            return Err(format!("{name} is a ratio of two columns; write {name}=ratio"));
        }
        let column = parts.map(|(one, _)| one).or_else(|| place(name));
        let (origin, measure) = match (column, built_in) {
            (Some(column), _) if parts.is_some() => (Origin::Column(column), Measure::Ratio),
            (Some(column), _) => (Origin::Column(column), self.measure(column, request.kind)),
            (None, Some(built_in)) => built_in,
            (None, None) => {
                if let Some(ignored) = self.ignored.iter().find(|ignored| ignored.name == name) {
                    return Err(format!("{ignored}; {}", ignored.needs()));
                }
                // Predictions and labels give it, if the plan says which columns these are.
                let needs_model = ModelMetric::named(name).filter(|_| self.modeled == 0);
                if needs_model.is_some_and(|metric| metric != ModelMetric::Accuracy) {
                    return Err(format!(
                        "no outcome has {name}; `analyze run` computes it from predictions and \
                         labels, whose columns the file names, as in analysis: {{model: {{label: \
                         y_true, score: score}}}}"
                    ));
                }
                let built_in = BUILT_IN.join(", ");
                return Err(match self.columns.join(", ") {
                    columns if columns.is_empty() => {
                        format!("no outcome has {name}; metrics of requests are: {built_in}")
                    }
                    columns => format!(
                        "no outcome has {name}; the outcomes have: {columns}; metrics of requests \
                         are: {built_in}"
                    ),
                });
            }
        };
        let model = column.and_then(|column| self.model(column));
        if model.is_some() && request.kind.is_some_and(|kind| kind != Kind::Ratio) {
            return Err(format!(
                "{name} is a metric of the model and has a fixed kind; remove \"=…\""
            ));
        }
        if model == Some(ModelMetric::Bias) && request.goal.is_none() {
            return Err(format!(
                "a bias is best at 0, so it has no direction of its own; write {name}:decrease if the \
                 model predicts too much, or {name}:increase"
            ));
        }
        let doubt =
            Doubt::of(name).filter(|_| matches!(origin, Origin::Column(_)) && model.is_none());
        if let Some(doubt) = doubt.filter(|_| role != Role::Exploratory && request.goal.is_none()) {
            return Err(format!("{doubt}; write {name}:decrease or {name}:increase"));
        }
        let is_logged = self.logged.iter().any(|logged| logged.column == name);
        let llm = LlmMetric::named(name).filter(|_| is_logged);
        let default = match origin {
            _ if llm.is_some() => llm.map_or(Goal::Decrease, LlmMetric::goal),
            _ if model.is_some() => model.and_then(ModelMetric::goal).unwrap_or(Goal::Increase),
            Origin::Column(_) if doubt != Some(Doubt::Cost) => Goal::Increase,
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
        let is_binary = |column: usize| {
            parts.is_none() && measure != Measure::Mean && self.binary.get(column) == Some(&true)
        };
        let is_share = match origin {
            Origin::Errors | Origin::Aborts => true,
            Origin::Latency => false,
            Origin::Column(column) => {
                measure == Measure::Proportion
                    || name == ACCURACY
                    || model.map_or_else(|| is_binary(column), ModelMetric::is_share)
            }
        };
        if matches!(margin, Some(Margin::Points(_))) && !is_share {
            return Err(format!(
                "a margin in percentage points (pt) is for shares, and this is a {}; write a number \
                 in its own unit, or a part of the baseline's value, as in {name}:5%",
                measure.kind().as_str()
            ));
        }
        let goal = request.goal.unwrap_or(default);
        let is_column = matches!(origin, Origin::Column(_));
        if request.absent.is_some() && (!is_column || measure == Measure::Ratio) {
            return Err(
                "`absent` is for means and proportions of the outcomes; every other metric \
                        counts only the rows or requests that exist"
                    .to_owned(),
            );
        }
        // A unit without a label is not a wrong prediction.
        let unlabeled =
            if name == ACCURACY || model.is_some() { Absent::Missing } else { Absent::Zero };
        let absent = request.absent.unwrap_or(unlabeled);
        let (cap, per) = (self.cap(name), parts.map(|(_, per)| per));
        let name = name.to_owned();
        Ok(Metric { name, role, measure, origin, goal, absent, margin, cap, model, llm, per })
    }

    fn measure(&self, column: usize, kind: Option<Kind>) -> Measure {
        match kind {
            Some(Kind::Proportion) => Measure::Proportion,
            Some(Kind::Mean) => Measure::Mean,
            // A quantile of a column is undefined for a single request.
            Some(Kind::Ratio | Kind::Quantile) => Measure::Ratio,
            None if self.model(column).is_some() => Measure::Ratio,
            // A cap is about the values of units.
            None if self.columns.get(column).is_some_and(|name| self.cap(name).is_some()) => {
                Measure::Mean
            }
            // The accuracy of a unit is that of its predictions, not whether one of them was right.
            None if self.by_request
                || self.columns.get(column).is_some_and(|name| name == ACCURACY) =>
            {
                Measure::Ratio
            }
            None if self.binary.get(column) == Some(&true) => Measure::Proportion,
            None => Measure::Mean,
        }
    }
}

/// Short for `latency_mean`.
const LATENCY: &str = "latency";

/// The metrics that every log has.
pub const BUILT_IN: [&str; 6] =
    ["error_rate", "latency_mean", "latency_p50", "latency_p95", "latency_p99", "abort_rate"];

#[cfg(test)]
mod tests;
