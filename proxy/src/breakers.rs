//! The breakers of a configuration on this worker: [`Fleet`](sidetrack::breaker::Fleet) over the
//! host's store, log and statistics.
//!
//! Their records are in the store, not in the statistics: only the store has compare-and-swap, and
//! an operator's stats matcher can hide any series, which then always reads zero.

use core::time::Duration;

use sidetrack::breaker::{End, Served, Ticket, Transition};
use sidetrack::decide::{Decision, Gate};
use sidetrack::plan::{ExperimentId, VariantId};
use sidetrack::quantity::Millis;

use crate::configuration::Standing;
use crate::host::{Host, Level};
use crate::runtime::Runtime;

impl<H: Host> Runtime<H> {
    /// What a candidate's breaker lets through.
    #[inline]
    pub(crate) fn gate(&self, experiment: ExperimentId, candidate: VariantId) -> Gate {
        self.fleet.borrow().gate(experiment, candidate)
    }

    /// Begins to count a request for the breaker of the variant that serves it. `is_whole`: the
    /// request has no body, or it has arrived.
    #[inline]
    pub(crate) fn begin(&self, decision: &Decision, uptime: Duration, is_whole: bool) -> Ticket {
        let served = Served { experiment: decision.experiment, variant: decision.served };
        let unit = decision.unit(self.experiment(decision));
        self.fleet.borrow_mut().begin(served, unit, millis(uptime), is_whole)
    }

    /// Notes that a part of the request's body has arrived.
    #[inline]
    pub(crate) fn progressed(&self, ticket: &Ticket) {
        self.fleet.borrow_mut().progressed(ticket);
    }

    /// Notes that the request's body has arrived.
    #[inline]
    pub(crate) fn uploaded(&self, ticket: &mut Ticket, uptime: Duration) {
        self.fleet.borrow_mut().uploaded(ticket, millis(uptime));
    }

    /// Notes that response headers have arrived, good or bad.
    #[inline]
    pub(crate) fn responded(&self, ticket: &mut Ticket, uptime: Duration) {
        self.fleet.borrow_mut().responded(ticket, millis(uptime));
    }

    /// Counts good response headers before the response has ended.
    pub(crate) fn answered(&self, ticket: &mut Ticket, uptime: Duration) {
        self.fleet.borrow_mut().answered(ticket, millis(uptime));
    }

    /// Counts how a request ended. Reads the clock only if that opens the breaker.
    #[inline]
    pub(crate) fn ended(&self, ticket: Ticket, end: End) {
        let host = &self.host;
        let transition =
            self.fleet.borrow_mut().ended(host, ticket, end, || self.now(), || host.random());
        if let Some(transition) = transition {
            self.report_transition(&transition);
        }
    }

    /// Shares outcomes with the other workers, and adopts and makes transitions. `generation` is
    /// the version of [`GENERATION`](sidetrack::names::shared::GENERATION).
    pub(crate) fn tick_breakers(&self, generation: u32) {
        let host = &self.host;
        let (now, uptime) = (self.now(), millis(host.uptime()));
        let transitions =
            self.fleet.borrow_mut().tick(host, generation, now, uptime, || host.random());
        transitions.iter().for_each(|transition| self.report_transition(transition));
    }

    /// Publishes the states of all breakers.
    pub(crate) fn publish_breaker_states(&self) {
        for (id, experiment) in self.plan.experiments.entries() {
            experiment.candidates().for_each(|candidate| self.publish_breaker_state(id, candidate));
        }
    }

    fn publish_breaker_state(&self, experiment: ExperimentId, candidate: VariantId) {
        let state = self.fleet.borrow().code(experiment, candidate);
        self.metrics[experiment].publish_breaker_state(&self.host, candidate, state);
    }

    /// Logs and counts a transition, and publishes the new state.
    #[cold]
    fn report_transition(&self, transition: &Transition) {
        let &Transition { experiment: id, variant, ref event } = transition;
        let experiment = &self.plan.experiments[id];
        let name = &experiment.variants[variant].name;
        let text = format!("{}/{name}: {event}", experiment.name);
        self.host.log(Level::Warning, &text);
        self.metrics[id].count_transition(&self.host, variant, event);
        if self.standing.get() != Standing::Superseded {
            self.publish_breaker_state(id, variant);
        }
    }
}

fn millis(uptime: Duration) -> Millis {
    Millis::new(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX))
}
