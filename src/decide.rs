//! The decision: which variant a request gets, and why.
//!
//! One function, used by the filter on live requests and by `sidetrack explain` on hypothetical ones. It reads no
//! clock, no randomness and no state of its own, and it cannot fail: whatever a client sends, there is an answer.

#[cfg(test)]
mod tests;
mod trace;
mod trial;

use core::cell::Cell;
use core::fmt;

pub use trace::{Step, Trace};

use crate::body::find;
use crate::draw::sha256;
use crate::names::missing;
use crate::plan::{Assignment, Debug, Experiment, ExperimentId, Plan, VariantId};
use crate::quantity::{Bucket, Ppm, Timestamp};
use crate::request::{Body, Request, Unread};
use trial::Trial;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No experiment matched: the filter leaves no trace.
    Unmatched,
    /// No experiment takes it, and this one could not tell whether it matches: its conditions need
    /// the body, which was not read.
    Unread(ExperimentId, Missing),
    /// It has no unit, and this experiment leaves such requests out.
    Skipped(ExperimentId, Missing),
    /// This experiment needs the request's body, which has not arrived: ask again when it has. Nothing was drawn yet.
    NeedsBody(ExperimentId),
    /// It takes part.
    Decided(Decision),
}

/// Which variant serves a request, and why. Small and without references, so that it can be kept
/// until the request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The experiment.
    pub experiment: ExperimentId,
    /// The variant that was drawn or chosen.
    pub assigned: VariantId,
    /// The variant that the request gets: another one only while the breaker is open.
    pub served: VariantId,
    /// Why.
    pub reason: Reason,
    /// Where the draw fell; `None` when nothing was drawn.
    pub bucket: Option<Bucket>,
    /// The phase of the rollout.
    pub phase: Option<usize>,
    /// Which of the experiment's sources yielded the unit.
    pub unit_source: Option<usize>,
    /// The identity that was made for a caller without one, to be kept in the experiment's cookie.
    pub minted: Option<u128>,
    /// The reason that a needed unit is missing, or that the variants' values cannot be set in the body.
    pub missing: Option<Missing>,
    /// The request is copied to the experiment's mirror.
    pub mirror: bool,
    /// The request asks for the explanation on the response, and may have it.
    pub explain: bool,
}

impl Decision {
    /// The bucket of the request's unit; `None` without a unit, or if the bucket is random.
    #[must_use]
    pub fn unit(&self, experiment: &Experiment) -> Option<Bucket> {
        let is_hashed = experiment.assignment == Assignment::UserHash && self.unit_source.is_some();
        self.bucket.filter(|_| is_hashed)
    }
}

/// Why a request gets its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The unit's bucket.
    Hash,
    /// A random bucket.
    Random,
    /// An authorized override chose it.
    Override,
    /// The experiment is switched off.
    Disabled,
    /// Nothing identified the caller.
    MissingUnit,
    /// The unit is outside the experiment's slots of its layer.
    Excluded,
    /// The rollout begins later.
    NotStarted,
    /// The candidate's breaker is open.
    BreakerOpen,
    /// The candidate is recovering, and this unit tries it.
    Probe,
}

impl Reason {
    /// The word for headers and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Random => "random",
            Self::Override => "override",
            Self::Disabled => "disabled",
            Self::MissingUnit => "missing_unit",
            Self::Excluded => "excluded",
            Self::NotStarted => "not_started",
            Self::BreakerOpen => "breaker_open",
            Self::Probe => "probe",
        }
    }
}

/// Why a request has no unit. A body that a condition needs and that was not read counts as a missing unit, and so does
/// one in which the variants' values cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No source has a value, or there is no place for a variant's value.
    Absent,
    /// The body is longer than `settings.body_limit`.
    BodyTooLarge,
    /// The body is not JSON, is compressed, is a stream, or cannot be awaited.
    BodyUnreadable,
    /// Too many requests waited for their bodies.
    TooManyHeld,
}

impl Missing {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Absent, Self::BodyTooLarge, Self::BodyUnreadable, Self::TooManyHeld];

    /// The word for metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => missing::ABSENT,
            Self::BodyTooLarge => missing::BODY_TOO_LARGE,
            Self::BodyUnreadable => missing::BODY_UNREADABLE,
            Self::TooManyHeld => missing::TOO_MANY_HELD,
        }
    }

    /// Why this body yields nothing.
    fn of(body: Body<'_>) -> Self {
        match body {
            Body::Unread(Unread::TooLarge) => Self::BodyTooLarge,
            Body::Unread(Unread::TooManyHeld) => Self::TooManyHeld,
            Body::Unread(_) => Self::BodyUnreadable,
            Body::Whole(body) if find(body, "").is_err() => Self::BodyUnreadable,
            Body::Whole(_) | Body::Absent | Body::Pending => Self::Absent,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a candidate's breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Closed,
    /// This share of its units, the same ones during a recovery.
    HalfOpen {
        /// The share.
        share: Ppm,
        /// The first bucket of the probe draw that takes part, see
        /// [`first_probe`](crate::breaker::first_probe). The range wraps around.
        from: Bucket,
    },
    /// Nothing.
    Open,
}

impl Gate {
    /// The word for headers and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen { .. } => "half-open",
            Self::Open => "open",
        }
    }
}

/// What surrounds a decision.
pub struct World<'a, E, G> {
    /// The time, read once per request.
    pub now: Timestamp,
    /// 64 random bits; called only when the decision needs them.
    pub entropy: E,
    /// The breaker of a candidate, by experiment and variant.
    pub gate: &'a G,
}

/// Decides a request.
pub fn decide<'p, E: FnMut() -> u64, G: Fn(ExperimentId, VariantId) -> Gate>(
    plan: &'p Plan,
    request: &impl Request,
    world: &mut World<'_, E, G>,
    trace: &mut impl Trace<'p>,
) -> Outcome {
    let listens = trace.listens();
    let identity = Cell::new(None);
    // What an experiment of a layer says that does not take the unit, until another one of that layer does.
    let mut left: Option<(&str, Decision)> = None;
    let mut unread = None;
    // `explain` visits every experiment, the filter only those that the index finds.
    let next = |from| {
        let is_known = from < plan.experiments.len();
        let all = || is_known.then_some(ExperimentId::new(from));
        if listens { all() } else { plan.index.next(request, from) }
    };
    let decided =
        |decision| Outcome::Decided(Decision { explain: may_explain(plan, request), ..decision });
    let mut from = 0;
    while let Some(id) = next(from) {
        from = id.index() + 1;
        let experiment = &plan.experiments[id];
        let layer = experiment.layer.as_ref().map(|layer| layer.name.as_str());
        if left.is_some_and(|(name, _)| layer != Some(name)) {
            continue;
        }
        let conditions = &experiment.conditions;
        let mismatch = if listens {
            conditions.mismatch(request)
        } else {
            conditions.mismatch_elsewhere(request)
        };
        if mismatch.is_none() && !conditions.body.is_empty() && request.body() == Body::Pending {
            return Outcome::NeedsBody(id);
        }
        let in_body = || {
            let mismatch = conditions.body_mismatch(request.body())?;
            // gRPC messages are no JSON.
            if let Body::Unread(why) = request.body()
                && why != Unread::Grpc
            {
                unread.get_or_insert_with(|| Outcome::Unread(id, Missing::of(request.body())));
            }
            Some(mismatch)
        };
        if let Some(mismatch) = mismatch.or_else(in_body) {
            trace.step(|| Step::Mismatch(id, mismatch));
            continue;
        }
        trace.step(|| Step::Match(id));
        let outcome =
            Trial { plan, experiment, id, request, identity: &identity }.decide(world, trace);
        match (outcome, layer) {
            (Outcome::Decided(decision), Some(name)) if decision.reason == Reason::Excluded => {
                left.get_or_insert((name, decision));
            }
            // The switch is the experiment's and not the layer's: who is in the slots of another one still takes part
            // there, and only the rest is left to the baseline.
            (Outcome::Decided(decision), Some(name)) if decision.reason == Reason::Disabled => {
                if left.is_none_or(|(_, before)| before.reason == Reason::Excluded) {
                    left = Some((name, decision));
                }
            }
            (Outcome::Decided(decision), _) => return decided(decision),
            (outcome, _) => return outcome,
        }
    }
    let nothing = unread.unwrap_or(Outcome::Unmatched);
    left.map_or(nothing, |(_, decision)| decided(decision))
}

/// Whether the request asks for the explanation and may have it.
fn may_explain(plan: &Plan, request: &impl Request) -> bool {
    let asked =
        || request.first(&plan.settings.headers.debug).is_some_and(|value| !value.is_empty());
    match &plan.settings.debug {
        Debug::Denied => false,
        Debug::Allowed => asked(),
        Debug::Token(digest) => asked() && has_token(plan, request, digest),
    }
}

fn has_token(plan: &Plan, request: &impl Request, digest: &[u8; 32]) -> bool {
    request.first(&plan.settings.headers.token).is_some_and(|token| {
        // Every byte is compared, so that the time taken says nothing about the digest.
        sha256(token).iter().zip(digest).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    })
}
