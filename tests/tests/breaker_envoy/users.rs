//! Users with a known variant, and whether they try a candidate that recovers.

use anyhow::{Result, anyhow};
use serde_json::json;
use sidetrack::breaker::first_probe;
use sidetrack::config;
use sidetrack::decide::{self, Gate, Outcome, World};
use sidetrack::plan::Plan;
use sidetrack::quantity::{Ppm, Timestamp};

use crate::stand::{CANDIDATE, experiment};

/// The users of the stand's experiment, by the core's decision.
pub(crate) struct Users(Plan);

impl Users {
    pub(crate) fn new() -> Result<Self> {
        let file = experiment(&json!({})).to_string();
        let plan = config::parse_json(file.as_bytes()).map_err(|problems| anyhow!("{problems:?}"));
        Ok(Self(plan?))
    }

    /// All users of this variant.
    pub(crate) fn of(&self, variant: &str) -> impl Iterator<Item = String> {
        let users = (0..100_000).map(|number| format!("user-{number}"));
        users.filter(move |user| self.variant(user, Gate::Closed) == variant)
    }

    /// Whether the candidate serves this user while this share of its users try it, in the first
    /// recovery.
    pub(crate) fn tries(&self, user: &str, share: Ppm) -> bool {
        self.variant(user, Gate::HalfOpen { share, from: first_probe(1) }) == CANDIDATE
    }

    fn variant(&self, user: &str, gate: Gate) -> &str {
        let mut world = World { now: Timestamp::new(0), entropy: || 0, gate: &|_, _| gate };
        let request = vec![("x-user-id", user.as_bytes())];
        match decide::decide(&self.0, &request, &mut world, &mut ()) {
            Outcome::Decided(decision) => {
                &self.0.experiments[decision.experiment].variants[decision.served].name
            }
            _ => "",
        }
    }
}
