//! What is asked of an analysis.

use std::num::NonZero;

use sidetrack::config::Methods;
use sidetrack::quantity::Millis;
use sidetrack_stats::input::{Fraction, Invalid};

use super::ALPHA;
use crate::cap::Cap;
use crate::check::CheckName;
use crate::expected_value::Price;
use crate::join::Spill;
use crate::metric::MetricRequests;
use crate::plan::{AnalysisPlan, Exploratory};
use crate::segments::Dimension;
use crate::short::Short;
use crate::window::Window;

/// How it is analyzed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trial; `None`: that of the experiment file.
    pub trial: Option<Short>,
    /// The time.
    pub window: Window,
    /// Requested metrics.
    pub metrics: MetricRequests,
    /// What was asked for beyond the plan of the file.
    pub exploratory: Vec<Exploratory>,
    /// Prices of metrics.
    pub prices: Vec<Price>,
    /// Units planned for all variants together.
    pub planned_units: Option<u64>,
    /// How long after a unit's first request in a phase its outcomes count.
    pub attribution: Option<Millis>,
    /// Caps of metrics.
    pub caps: Vec<Cap>,
    /// By what results are shown separately.
    pub segments: Vec<Dimension>,
    /// Covariates, planned looks, corrections, and a prior.
    pub methods: Methods,
    /// The level of significance.
    pub level: Fraction,
    /// Decide despite a sample ratio mismatch.
    pub allow_srm: bool,
    /// Decide despite these checks.
    pub allowed: Vec<CheckName>,
    /// Decide by requests although users were randomized.
    pub assume_independent_requests: bool,
    /// Leave out, for all variants, the minutes in which a breaker was open.
    pub exclude_breaker: bool,
    /// How many threads work; the result does not depend on it.
    pub threads: NonZero<usize>,
    /// When units go to temporary files; the result does not depend on it. `None`: never.
    pub spill: Option<Spill>,
}

impl Settings {
    /// Whether a metric is requested as a primary one or a guardrail.
    #[must_use]
    pub fn decides_by(&self, name: &str) -> bool {
        self.metrics.decides_by(name)
    }

    /// The analysis that the plan of the file describes: what `analyze run` does without options.
    ///
    /// # Errors
    /// The level of significance is not a fraction, which cannot be.
    pub fn planned(
        planned: Option<&AnalysisPlan>,
        threads: NonZero<usize>,
    ) -> Result<Self, Invalid> {
        let mut exploratory = Vec::new();
        let nothing = MetricRequests::default();
        Ok(Self {
            trial: None,
            window: Window::default(),
            metrics: planned.map_or_else(
                || nothing.clone(),
                |plan| plan.metrics(nothing.clone(), &mut exploratory),
            ),
            caps: planned.map_or_else(Vec::new, |plan| plan.caps(&[], &mut exploratory)),
            attribution: planned.and_then(|plan| plan.attribution),
            segments: planned.map_or_else(Vec::new, |plan| plan.dimensions(&[])),
            methods: planned.map_or_else(Methods::default, |plan| plan.methods.clone()),
            exploratory,
            prices: Vec::new(),
            planned_units: planned.and_then(|plan| plan.planned_units),
            level: Fraction::new(ALPHA)?,
            allow_srm: false,
            allowed: Vec::new(),
            assume_independent_requests: false,
            exclude_breaker: false,
            threads,
            spill: None,
        })
    }
}
