//! Effects of a decision on the headers of a request and its response, as values.
//!
//! A proxy applies them, and `sidetrack explain` prints them, so the two cannot differ. Most names
//! and values are borrowed from the plan; the few that must be formatted are the only allocations.

use std::borrow::Cow;

use crate::decide::{Decision, Gate};
use crate::plan::{Experiment, HeaderNames, Plan, Variant};
use crate::request::Request;

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect<'a> {
    /// How the value is written.
    pub op: Op,
    /// The header's name, in lower case.
    pub name: &'a str,
    /// The value.
    pub value: Cow<'a, [u8]>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a header that the message does not have: it need not be searched for.
    Add,
    /// Replaces all values of the header.
    Set,
    /// Adds a value and keeps those that the header has.
    Append,
}

/// Which part of the proxy writes what all requests of a variant have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// The filter.
    Filter,
    /// The routes, as `render envoy --lean` lays them out: the experiment's name on the request, and
    /// what the caller learns about experiment, variant and phase.
    Routes,
}

/// The effects of one decision.
#[derive(Clone, Copy, Debug)]
pub struct Effects<'p> {
    plan: &'p Plan,
    experiment: &'p Experiment,
    decision: Decision,
    reporter: Reporter,
}

/// The headers to remove from a request before anything else: all names of the filter, or none if
/// `sent`, the names of the request's headers, has none of them.
#[inline]
pub fn removals<'p, 'r>(
    names: &'p HeaderNames,
    mut sent: impl Iterator<Item = &'r [u8]>,
) -> &'p [String] {
    // An override header can have any name. The other names share a prefix that requests hardly
    // ever have.
    let is_owned = |name: &[u8]| {
        name.starts_with(names.prefix.as_bytes())
            || names.strangers.iter().any(|stranger| stranger.as_bytes() == name)
    };
    if sent.any(is_owned) { &names.owned } else { &[] }
}

impl<'p> Effects<'p> {
    /// The effects of a decision that was made under this plan.
    #[inline]
    #[must_use]
    pub fn new(plan: &'p Plan, decision: Decision, reporter: Reporter) -> Self {
        let experiment = &plan.experiments[decision.experiment];
        Self { plan, experiment, decision, reporter }
    }

    /// Changes of the request on its way to the model, after the [`removals`].
    #[inline]
    pub fn on_request(&self, request: &impl Request, mut apply: impl FnMut(Effect<'_>)) {
        let (names, served) = (self.names(), self.served());
        if self.reporter == Reporter::Filter {
            apply(effect(Op::Add, &names.experiment, &self.experiment.name));
        }
        self.report(Op::Add, &mut apply);
        if let Some(cluster) = &served.cluster {
            apply(effect(Op::Add, &names.cluster, cluster));
        }
        for (name, value) in &served.request_headers {
            let op = if request.first(name).is_some() { Op::Set } else { Op::Add };
            apply(effect(op, name, value));
        }
        if self.decision.mirror
            && let Some(mirror) = &self.experiment.mirror
        {
            apply(effect(Op::Add, &names.mirror, &mirror.cluster));
        }
    }

    /// Changes of the response on its way to the caller. `breaker` returns the state of the assigned
    /// candidate's breaker, and is called only if it is to be reported; `is_https` says whether the
    /// caller's connection is encrypted.
    #[inline]
    pub fn on_response(
        &self,
        breaker: impl FnOnce() -> Gate,
        is_https: bool,
        mut apply: impl FnMut(Effect<'_>),
    ) {
        let (names, decision) = (self.names(), self.decision);
        if self.plan.settings.response_headers && self.reporter == Reporter::Filter {
            apply(effect(Op::Set, &names.experiment, &self.experiment.name));
            self.report(Op::Set, &mut apply);
        }
        for (name, value) in &self.served().response_headers {
            apply(effect(Op::Set, name, value));
        }
        if let Some((mint, identity)) = self.experiment.mint.as_ref().zip(decision.minted) {
            apply(effect(Op::Append, "set-cookie", &mint.set_cookie(identity, is_https)));
        }
        if decision.explain {
            apply(effect(Op::Set, &names.reason, decision.reason.as_str()));
            apply(effect(Op::Set, &names.config, &self.plan.hash.short()));
            if let Some(bucket) = decision.bucket {
                apply(effect(Op::Set, &names.bucket, &bucket.to_string()));
            }
            if decision.assigned != self.experiment.baseline {
                apply(effect(Op::Set, &names.breaker, breaker().as_str()));
            }
        }
    }

    /// What both the model and the caller learn.
    #[inline]
    fn report(&self, op: Op, apply: &mut impl FnMut(Effect<'_>)) {
        let (names, decision) = (self.names(), self.decision);
        apply(effect(op, &names.variant, &self.served().name));
        if decision.assigned != decision.served {
            let assigned = &self.experiment.variants[decision.assigned].name;
            apply(effect(op, &names.assigned, assigned));
        }
        let phases = self.experiment.schedule.phases();
        if let Some(phase) = decision.phase.and_then(|phase| phases.get(phase)) {
            apply(effect(op, &names.phase, &phase.name));
        }
    }

    #[inline]
    fn names(&self) -> &'p HeaderNames {
        &self.plan.settings.headers
    }

    #[inline]
    fn served(&self) -> &'p Variant {
        &self.experiment.variants[self.decision.served]
    }
}

#[inline]
const fn effect<'a>(op: Op, name: &'a str, value: &'a str) -> Effect<'a> {
    Effect { op, name, value: Cow::Borrowed(value.as_bytes()) }
}
