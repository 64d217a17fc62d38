//! The notation in which users request metrics.

use std::str::FromStr;

use super::{Absent, BUILT_IN, Doubt, LATENCY, Margin};
use crate::answer::{Goal, Kind};

/// A metric as requested: `NAME[=KIND][:increase|decrease][:absent=zero|missing][:MARGIN]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRequest {
    pub(crate) name: String,
    pub(super) kind: Option<Kind>,
    pub(super) goal: Option<Goal>,
    pub(super) absent: Option<Absent>,
    pub(crate) margin: Option<Margin>,
}

impl MetricRequest {
    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns of the outcomes that it may be made of: a ratio of two is `NUMERATOR/DENOMINATOR`.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let parts = self.name.split_once('/').map(|(one, other)| [one, other]);
        std::iter::once(self.name.as_str()).chain(parts.into_iter().flatten())
    }

    /// Why its direction has to be given, if it is not. Of a built-in metric, it is known.
    pub(crate) fn doubt(&self) -> Option<String> {
        let is_built_in = self.name == LATENCY || BUILT_IN.contains(&self.name.as_str());
        let doubt = Doubt::of(&self.name).filter(|_| !is_built_in && self.goal.is_none());
        doubt.map(|doubt| doubt.to_string())
    }

    /// Everything by default.
    pub(super) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), kind: None, goal: None, absent: None, margin: None }
    }
}

impl MetricRequest {
    /// Whether it may be a mean per unit.
    pub(crate) fn can_be_capped(&self) -> bool {
        matches!(self.kind, None | Some(Kind::Mean))
    }
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
        let mut request = Self { kind: kind.transpose()?, ..Self::of(name) };
        for part in parts {
            match part {
                "increase" => request.goal = Some(Goal::Increase),
                "decrease" => request.goal = Some(Goal::Decrease),
                "absent=zero" => request.absent = Some(Absent::Zero),
                "absent=missing" => request.absent = Some(Absent::Missing),
                margin => request.margin = Some(margin.parse()?),
            }
        }
        if name == LATENCY || BUILT_IN.contains(&name) {
            if request.kind.is_some() {
                return Err(format!("{name} is built in and has a fixed kind; remove \"=…\""));
            }
            if request.absent.is_some() {
                return Err(format!("{name} is built in and has no `absent`; remove it"));
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
            let margin = match suffix {
                "%" => Self::Relative(value * one),
                "pt" => Self::Points(value * one),
                _ => Self::Absolute(value * one),
            };
            (value.is_finite() && value >= 0.0).then_some(margin)
        };
        units.into_iter().find_map(read).ok_or_else(|| {
            format!(
                "\"{text}\" is neither increase nor decrease nor absent=zero nor absent=missing nor \
                 a margin; expected for example 20ms, 0.5pt (percentage points), 5% (of the \
                 baseline's value) or a number in the metric's own unit"
            )
        })
    }
}
