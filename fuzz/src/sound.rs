//! What holds for every decision, whatever the plan and the request.

use sidetrack::decide::{Decision, Gate, Outcome, Reason, Step, Trace, World, decide};
use sidetrack::plan::{Assignment, Plan};
use sidetrack::quantity::{Bucket, Ppm, Timestamp};
use sidetrack::request::{Body, Request};

/// Headers, and what has come of the body.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Names and values.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The body.
    pub body: Body<'a>,
}

impl Request for Asked<'_> {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    fn body(&self) -> Body<'_> {
        self.body
    }
}

/// Decides the request under every state of the breakers, and checks what must hold.
pub fn decided(plan: &Plan, request: &Asked<'_>, now: Timestamp) {
    for gate in
        [Gate::Closed, Gate::HalfOpen { share: Ppm::ALL, from: Bucket::default() }, Gate::Open]
    {
        let quiet = outcome(plan, request, now, gate, &mut ());
        let mut steps: Vec<Step<'_>> = Vec::new();
        let told = outcome(plan, request, now, gate, &mut steps);
        assert_eq!(quiet, told, "who explains decides otherwise: {steps:?}");
        match quiet {
            Outcome::Unmatched => {}
            Outcome::Unread(experiment, _) | Outcome::Skipped(experiment, _) => {
                assert!(experiment.index() < plan.experiments.len())
            }
            Outcome::NeedsBody(experiment) => {
                assert!(experiment.index() < plan.experiments.len());
                assert_eq!(
                    request.body,
                    Body::Pending,
                    "a body is asked for that is there or will not come"
                );
            }
            Outcome::Decided(decision) => sound(plan, request, gate, &decision),
        }
    }
}

fn outcome<'p>(
    plan: &'p Plan,
    request: &Asked<'_>,
    now: Timestamp,
    gate: Gate,
    trace: &mut impl Trace<'p>,
) -> Outcome {
    let mut draws = 0_u64;
    let entropy = || {
        draws += 1;
        draws.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    decide(plan, request, &mut World { now, entropy, gate: &|_, _| gate }, trace)
}

fn sound(plan: &Plan, request: &Asked<'_>, gate: Gate, decision: &Decision) {
    let experiment = &plan.experiments[decision.experiment];
    let (baseline, served, assigned) = (experiment.baseline, decision.served, decision.assigned);
    assert!(assigned.index() < experiment.variants.len(), "{decision:?}");
    assert!(served == assigned || served == baseline, "{decision:?}");
    assert!(
        decision.phase.is_none_or(|phase| phase < experiment.schedule.phases().len()),
        "{decision:?}"
    );
    assert!(
        decision.unit_source.is_none_or(|source| source < experiment.units.len()),
        "{decision:?}"
    );
    assert!(!decision.mirror || experiment.mirror.is_some(), "{decision:?}");
    assert_eq!(served != assigned, decision.reason == Reason::BreakerOpen, "{decision:?}");
    let guarded = experiment.overrides.token.is_some();
    let chosen =
        experiment.overrides.header.as_ref().is_some_and(|name| request.first(name).is_some());
    if decision.reason == Reason::Override {
        assert!(chosen || !experiment.overrides.units.is_empty(), "nobody chose: {decision:?}");
    }
    let beyond_the_rules = decision.reason == Reason::Override && guarded && chosen;
    if served != baseline && !beyond_the_rules {
        assert!(experiment.enabled, "a candidate serves while the experiment is off: {decision:?}");
        assert_ne!(gate, Gate::Open, "a candidate serves while its breaker is open: {decision:?}");
    }
    if decision.reason == Reason::Hash {
        assert_eq!(experiment.assignment, Assignment::UserHash);
        assert!(decision.unit_source.is_some() && decision.bucket.is_some(), "{decision:?}");
    }
}
