//! The steps of a decision, for whoever explains it.

use super::Gate;
use crate::layout::Span;
use crate::matching::Mismatch;
use crate::plan::{ExperimentId, MissingUnit, VariantId};
use crate::quantity::{Bucket, Ppm};

/// A step on the way, for whoever explains. Deciding without an audience costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<'p> {
    /// A condition of this experiment did not hold.
    Mismatch(ExperimentId, Mismatch<'p>),
    /// All conditions of this experiment hold.
    Match(ExperimentId),
    /// The kill switch is on.
    Disabled,
    /// The override header was there and was not honoured.
    OverrideRefused(&'static str),
    /// This variant was chosen: by the header, or for the unit.
    Override(VariantId, &'static str),
    /// This source had nothing.
    NoValue(usize),
    /// This source yielded the unit.
    Unit(usize, Vec<u8>),
    /// No source did; this identity was made, for the cookie of this source.
    Minted(usize, u128),
    /// No source did; what the experiment does then.
    MissingUnit(MissingUnit),
    /// The body cannot be edited at this JSON Pointer, so the baseline serves the request.
    NoPlace(&'p str),
    /// The unit's slot in the layer, and whether it is among the experiment's.
    Slot(Bucket, bool),
    /// The rollout begins later.
    NotStarted,
    /// The phase in force.
    Phase(usize),
    /// The bucket, and whether it was drawn from the unit's hash.
    Drawn(Bucket, bool),
    /// The bucket lies this far inside this span, of which the candidate holds so much.
    InSpan(Span, u32, Ppm),
    /// The bucket lies in no span.
    NoSpan,
    /// What the candidate's breaker says, and whether the request passes.
    Gate(Gate, bool),
}

/// Listens to the steps of a decision.
pub trait Trace<'p> {
    /// Takes a step; it is built only when somebody listens.
    fn step(&mut self, step: impl FnOnce() -> Step<'p>);

    /// Whether steps are recorded.
    fn listens(&self) -> bool {
        true
    }
}

/// No steps are recorded.
impl<'p> Trace<'p> for () {
    fn step(&mut self, _: impl FnOnce() -> Step<'p>) {}

    fn listens(&self) -> bool {
        false
    }
}

impl<'p> Trace<'p> for Vec<Step<'p>> {
    fn step(&mut self, step: impl FnOnce() -> Step<'p>) {
        self.push(step());
    }
}
