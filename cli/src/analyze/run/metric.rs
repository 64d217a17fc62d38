//! What is compared: the names, kinds, goals and roles of metrics, and how a user writes them.
//!
//! `NAME[=KIND][:increase|decrease][:MARGIN]`, to be read aloud: "revenue, as a mean, shall increase"; "latency p95 may
//! be worse by at most 20 ms". The flag says the role: `--metric` is what the experiment is for, `--guardrail` must not
//! get worse by more than its margin, `--explore` is only looked at.

use std::fmt;
use std::str::FromStr;

use super::outcomes::ACCURACY;

/// What a metric is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Guardrail,
    Exploratory,
}

impl Role {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Guardrail => "guardrail",
            Self::Exploratory => "exploratory",
        }
    }
}

/// How units become a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The share of units with at least one success.
    Proportion,
    /// The sum of each unit, averaged over all units; a unit without a row has 0.
    Mean,
    /// The sum over all units by the number of requests or rows: per request, per prediction.
    Ratio,
    /// The latency below which this share of the requests lies.
    Quantile(f64),
}

impl Kind {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Proportion => "proportion",
            Self::Mean => "mean",
            Self::Ratio => "ratio",
            Self::Quantile(_) => "quantile",
        }
    }
}

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Errors,
    Latency,
    Aborts,
    /// A column of the outcomes.
    Column(usize),
}

/// How much worse a guardrail may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Margin {
    /// In the metric's own unit: seconds, or a fraction of one.
    Absolute(f64),
    /// Of the baseline's value.
    Relative(f64),
}

/// A metric that is looked at.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) kind: Kind,
    pub(super) source: Source,
    pub(super) increase: bool,
    pub(super) margin: Option<Margin>,
}

impl Metric {
    /// `s` for times; nothing for what the file's owner counts, and for fractions.
    pub(super) fn unit(&self) -> Option<&'static str> {
        (self.source == Source::Latency).then_some("s")
    }

    /// Whether a value is a fraction of one, to be shown in percent.
    pub(super) fn is_share(&self) -> bool {
        self.kind == Kind::Proportion
            || self.name == ACCURACY
            || matches!(self.source, Source::Errors | Source::Aborts)
    }
}

/// A metric as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    name: String,
    kind: Option<Word>,
    increase: Option<bool>,
    margin: Option<Margin>,
}

/// A kind as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Proportion,
    Mean,
    Ratio,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (name, kind) =
            head.split_once('=').map_or((head, None), |(name, kind)| (name, Some(kind)));
        if name.is_empty() {
            return Err(format!(
                "found \"{text}\", allowed: NAME[=KIND][:increase|decrease][:MARGIN]"
            ));
        }
        let kind = kind.map(|kind| match kind {
            "proportion" => Ok(Word::Proportion),
            "mean" => Ok(Word::Mean),
            "ratio" => Ok(Word::Ratio),
            other => Err(format!("found the kind \"{other}\", allowed: proportion, mean, ratio")),
        });
        let mut wish =
            Self { name: name.to_owned(), kind: kind.transpose()?, increase: None, margin: None };
        for part in parts {
            match part {
                "increase" | "decrease" => wish.increase = Some(part == "increase"),
                margin => wish.margin = Some(margin.parse()?),
            }
        }
        Ok(wish)
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
                "found \"{text}\", allowed: increase, decrease, or a margin such as 20ms, 0.5pt (percentage points), \
                 5% (of the baseline's value) or a number in the metric's own unit"
            )
        })
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(value) => write!(f, "{value}"),
            Self::Relative(value) => write!(f, "{} %", (value * 1e8).round() / 1e6),
        }
    }
}

/// What metrics there can be.
pub(super) struct Menu<'a> {
    pub(super) columns: &'a [String],
    /// Rows are about requests.
    pub(super) by_request: bool,
    /// By column: nothing but 0 and 1.
    pub(super) binary: &'a [bool],
}

/// What was asked for, by role.
pub(super) struct Wishes<'a> {
    pub(super) primary: &'a [Wish],
    pub(super) guardrail: &'a [Wish],
    pub(super) explore: &'a [Wish],
}

impl Menu<'_> {
    /// The metrics of an analysis: those that were asked for, then what belongs to every one.
    ///
    /// Without `--metric`, accuracy is the primary one when the outcomes have it, else their first column, else the error
    /// rate. The error rate and the 95th percentile of the latency are guardrails unless they were asked for as something
    /// else. All that is left is exploratory.
    ///
    /// # Errors
    /// A name that there is not, a kind that it does not have, a metric asked for twice.
    pub(super) fn order(&self, wishes: &Wishes<'_>) -> Result<Vec<Metric>, String> {
        let mut metrics: Vec<Metric> = Vec::new();
        let roles = [
            ("--metric", Role::Primary, wishes.primary),
            ("--guardrail", Role::Guardrail, wishes.guardrail),
            ("--explore", Role::Exploratory, wishes.explore),
        ];
        for (flag, role, wishes) in roles {
            for wish in wishes {
                let metric = self
                    .metric(wish, role)
                    .map_err(|what| format!("{flag} {}: {what}", wish.name))?;
                if metrics.iter().any(|other| other.name == metric.name) {
                    return Err(format!(
                        "{flag} {}: it is asked for twice; give it one role",
                        wish.name
                    ));
                }
                metrics.push(metric);
            }
        }
        let mut add = |name: &str, role: Role| {
            let known = metrics.iter().any(|metric| metric.name == name);
            let wish = Wish { name: name.to_owned(), kind: None, increase: None, margin: None };
            if let Some(metric) = self.metric(&wish, role).ok().filter(|_| !known) {
                metrics.push(metric);
            }
        };
        if wishes.primary.is_empty() {
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
        metrics.sort_by_key(|metric| metric.role as u8);
        Ok(metrics)
    }

    fn metric(&self, wish: &Wish, role: Role) -> Result<Metric, String> {
        let name = if wish.name == "latency" { "latency_mean" } else { &wish.name };
        let built_in = match name {
            "error_rate" => Some((Source::Errors, Kind::Ratio)),
            "abort_rate" => Some((Source::Aborts, Kind::Ratio)),
            "latency_mean" => Some((Source::Latency, Kind::Ratio)),
            "latency_p50" => Some((Source::Latency, Kind::Quantile(0.5))),
            "latency_p95" => Some((Source::Latency, Kind::Quantile(0.95))),
            "latency_p99" => Some((Source::Latency, Kind::Quantile(0.99))),
            _ => None,
        };
        let column = self.columns.iter().position(|column| column == name);
        let (source, kind) = match (column, built_in) {
            (Some(column), _) => (Source::Column(column), self.kind(column, wish.kind)),
            (None, Some((source, kind))) => {
                if wish.kind.is_some() {
                    return Err("a built-in metric has its own kind; leave out \"=…\"".to_owned());
                }
                (source, kind)
            }
            (None, None) => {
                let known = [
                    "error_rate",
                    "latency_mean",
                    "latency_p50",
                    "latency_p95",
                    "latency_p99",
                    "abort_rate",
                ];
                let known: Vec<&str> =
                    known.into_iter().chain(self.columns.iter().map(String::as_str)).collect();
                return Err(format!("there is no such metric; allowed: {}", known.join(", ")));
            }
        };
        let increase = wish.increase.unwrap_or(matches!(source, Source::Column(_)));
        let margin = match (role, wish.margin) {
            (Role::Guardrail, None) => Some(match source {
                // Half a percentage point, and a tenth of the baseline's value.
                Source::Errors | Source::Aborts => Margin::Absolute(0.005),
                _ => Margin::Relative(0.1),
            }),
            (Role::Guardrail, margin) => margin,
            (_, Some(_)) => return Err("only a --guardrail has a margin".to_owned()),
            (_, None) => None,
        };
        Ok(Metric { name: name.to_owned(), role, kind, source, increase, margin })
    }

    fn kind(&self, column: usize, wish: Option<Word>) -> Kind {
        match wish {
            Some(Word::Proportion) => Kind::Proportion,
            Some(Word::Mean) => Kind::Mean,
            Some(Word::Ratio) => Kind::Ratio,
            None if self.by_request => Kind::Ratio,
            None if self.binary.get(column) == Some(&true) => Kind::Proportion,
            None => Kind::Mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> Wish {
        text.parse().unwrap()
    }

    fn ordered(
        columns: &[&str],
        by_request: bool,
        primary: &[&str],
        guardrail: &[&str],
    ) -> Result<String, String> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let binary = vec![false; columns.len()];
        let menu = Menu { columns: &columns, by_request, binary: &binary };
        let read = |list: &[&str]| list.iter().map(|text| wish(text)).collect::<Vec<_>>();
        let (primary, guardrail) = (read(primary), read(guardrail));
        let metrics =
            menu.order(&Wishes { primary: &primary, guardrail: &guardrail, explore: &[] })?;
        let told = |metric: &Metric| {
            format!("{} {} {}", metric.role.code(), metric.kind.code(), metric.name)
        };
        Ok(metrics.iter().take(4).map(told).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn wishes_are_read_aloud() {
        let read = wish("latency_p95:decrease:20ms");
        assert_eq!((read.increase, read.margin), (Some(false), Some(Margin::Absolute(0.02))));
        assert_eq!(wish("a:0.5pt").margin, Some(Margin::Absolute(0.005)));
        assert_eq!(wish("a:5%").margin, Some(Margin::Relative(0.05)));
        assert_eq!(wish("a=mean").kind, Some(Word::Mean));
        for bad in ["", "=mean", "a=median", "a:up", "a:-5ms", "a:1e999"] {
            assert!(bad.parse::<Wish>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_analysis_has_a_primary_metric_and_guardrails() {
        assert_eq!(
            ordered(&[], false, &[], &[]).unwrap(),
            "primary ratio error_rate, guardrail quantile latency_p95, exploratory ratio latency_mean, \
             exploratory quantile latency_p50"
        );
        assert_eq!(
            ordered(&["revenue", "accuracy"], true, &[], &[]).unwrap(),
            "primary ratio accuracy, guardrail ratio error_rate, guardrail quantile latency_p95, exploratory ratio revenue"
        );
        assert_eq!(
            ordered(&["revenue"], false, &["revenue"], &["latency:3ms"]).unwrap(),
            "primary mean revenue, guardrail ratio latency_mean, guardrail ratio error_rate, guardrail quantile latency_p95"
        );
        assert!(ordered(&[], false, &["nps"], &[]).unwrap_err().contains("no such metric"));
        assert!(
            ordered(&[], false, &["error_rate"], &["error_rate"]).unwrap_err().contains("twice")
        );
        assert!(ordered(&[], false, &["error_rate:1pt"], &[]).unwrap_err().contains("margin"));
    }
}
