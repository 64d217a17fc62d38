//! Effects of a decision on the headers of a request and its response, as values.
//!
//! A proxy applies them, and `sidetrack explain` prints them, so the two cannot differ. Most names
//! and values are borrowed from the plan; the few that must be formatted are the only allocations.

use std::borrow::Cow;

use crate::body::{DIGESTS, edited};
use crate::decide::{Decision, Gate};
use crate::plan::{Experiment, HeaderNames, Plan, Variant};
use crate::request::{Body, Request};

/// Where Envoy keeps the path that a rewrite has changed; access logs prefer it to the path.
const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// Response headers that are lists: a variant's value is added to the model's.
const LISTS: [&str; 2] = ["set-cookie", "vary"];

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
    /// Removes all values of the header; the effect's value is empty.
    Remove,
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
        self.report(&mut apply);
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
        if let Some(rewrite) = &served.rewrite
            && let Some(target) = request.first(":path")
            && let Some(changed) = rewrite.apply(target)
        {
            apply(Effect { op: Op::Set, name: ORIGINAL_PATH, value: target.into() });
            apply(Effect { op: Op::Set, name: ":path", value: changed.into() });
        }
    }

    /// The request's body for the model, if the variant sets values in it. Then the effects of
    /// [`Self::on_new_body`] are needed too.
    #[inline]
    #[must_use]
    pub fn new_body(&self, request: &impl Request) -> Option<Vec<u8>> {
        let edits = &self.served().body;
        match request.body() {
            Body::Whole(body) if !edits.is_empty() => edited(body, edits),
            _ => None,
        }
    }

    /// Changes of the request that a new body of this length in bytes requires. `request` is the
    /// request as it arrived.
    pub fn on_new_body(request: &impl Request, length: usize, mut apply: impl FnMut(Effect<'_>)) {
        // Without a length, the body's frames or chunks mark its end.
        if request.first("content-length").is_some() {
            apply(effect(Op::Set, "content-length", &length.to_string()));
        }
        for name in DIGESTS.into_iter().filter(|name| request.first(name).is_some()) {
            apply(effect(Op::Remove, name, ""));
        }
    }

    /// Changes of the response on its way to the caller, once the model's copies of the filter's
    /// headers have been removed. `breaker` returns the state of the assigned
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
            apply(effect(Op::Add, &names.experiment, &self.experiment.name));
            self.report(&mut apply);
        }
        for (name, value) in &self.served().response_headers {
            let op = if LISTS.contains(&name.as_str()) { Op::Append } else { Op::Set };
            apply(effect(op, name, value));
        }
        if let Some((mint, identity)) = self.experiment.mint.as_ref().zip(decision.minted) {
            apply(effect(Op::Append, "set-cookie", &mint.set_cookie(identity, is_https)));
        }
        if decision.explain {
            apply(effect(Op::Add, &names.reason, decision.reason.as_str()));
            apply(effect(Op::Add, &names.config, &self.plan.hash.short()));
            if let Some(bucket) = decision.bucket {
                apply(effect(Op::Add, &names.bucket, &bucket.to_string()));
            }
            if decision.assigned != self.experiment.baseline {
                apply(effect(Op::Add, &names.breaker, breaker().as_str()));
            }
        }
    }

    /// What both the model and the caller learn.
    #[inline]
    fn report(&self, apply: &mut impl FnMut(Effect<'_>)) {
        let (names, decision) = (self.names(), self.decision);
        apply(effect(Op::Add, &names.variant, &self.served().name));
        if decision.assigned != decision.served {
            let assigned = &self.experiment.variants[decision.assigned].name;
            apply(effect(Op::Add, &names.assigned, assigned));
        }
        let phases = self.experiment.schedule.phases();
        if let Some(phase) = decision.phase.and_then(|phase| phases.get(phase)) {
            apply(effect(Op::Add, &names.phase, &phase.name));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_json;
    use crate::decide::{Outcome, World, decide};
    use crate::quantity::Timestamp;

    const FILE: &str = r#"{"experiments": [{"name": "e", "unit": [{"header": "u"},
        {"cookie": "sid", "mint": {"max_age": "1h"}}], "baseline": "old",
        "variants": [{"name": "old", "cluster": "a"}, {"name": "new", "cluster": "b",
            "path": {"replace_prefix": ["/a", "/b"]}, "request_headers": {"x-model": "2"},
            "response_headers": {"x-by": "us", "set-cookie": "a=b", "vary": "x-ab-variant"}}],
        "rollout": {"start": "1970-01-01T00:00:00Z", "phases": [{"name": "p", "weights": {"new": 100}}]},
        "mirror": {"cluster": "copies"}}], "settings": {"debug": "allowed"}}"#;

    type Written = Vec<(Op, String, String)>;

    fn write(written: &mut Written, effect: &Effect<'_>) {
        let value = String::from_utf8(effect.value.to_vec()).unwrap();
        written.push((effect.op, effect.name.to_owned(), value));
    }

    /// What is written on the request and on the response.
    fn effects(headers: &[(&str, &str)], gate: Gate, reporter: Reporter) -> [Written; 2] {
        let (plan, headers) = (parse_json(FILE.as_bytes()).unwrap(), headers.to_vec());
        let mut world = World { now: Timestamp::new(1), entropy: || 10, gate: &|_, _| gate };
        let Outcome::Decided(decision) = decide(&plan, &headers, &mut world, &mut ()) else {
            panic!("undecided")
        };
        let effects = Effects::new(&plan, decision, reporter);
        let [mut up, mut down] = [Written::new(), Written::new()];
        effects.on_request(&headers, |effect| write(&mut up, &effect));
        effects.on_response(|| gate, headers.is_https(), |effect| write(&mut down, &effect));
        [up, down]
    }

    fn written<const N: usize>(effects: [(Op, &str, &str); N]) -> Written {
        effects.map(|(op, name, value)| (op, name.to_owned(), value.to_owned())).to_vec()
    }

    #[test]
    fn a_candidate_gets_its_headers_and_its_cluster() {
        let request = [("u", "1"), ("x-model", "1"), (":path", "/a/x?y=/a")];
        let [up, down] = effects(&request, Gate::Closed, Reporter::Filter);
        let expected = written([
            (Op::Add, "x-ab-experiment", "e"),
            (Op::Add, "x-ab-variant", "new"),
            (Op::Add, "x-ab-phase", "p"),
            (Op::Add, "x-ab-cluster", "b"),
            (Op::Set, "x-model", "2"),
            (Op::Add, "x-ab-mirror", "copies"),
            (Op::Set, "x-envoy-original-path", "/a/x?y=/a"),
            (Op::Set, ":path", "/b/x?y=/a"),
        ]);
        assert_eq!(up, expected);
        let expected = written([
            (Op::Add, "x-ab-experiment", "e"),
            (Op::Add, "x-ab-variant", "new"),
            (Op::Add, "x-ab-phase", "p"),
            (Op::Set, "x-by", "us"),
            (Op::Append, "set-cookie", "a=b"),
            (Op::Append, "vary", "x-ab-variant"),
        ]);
        assert_eq!(down, expected);
    }

    #[test]
    fn an_open_breaker_is_reported_as_assigned_and_explained() {
        let asked = [("u", "1"), ("x-ab-debug", "1")];
        let [up, down] = effects(&asked, Gate::Open, Reporter::Filter);
        let has = |written: &Written, name: &str, value: &str| {
            written.iter().any(|(_, n, v)| n == name && (v == value || value == "*"))
        };
        assert!(has(&up, "x-ab-variant", "old") && has(&up, "x-ab-assigned", "new"));
        assert!(has(&up, "x-ab-cluster", "a") && !has(&up, "x-model", "*"));
        assert!(has(&down, "x-ab-assigned", "new") && has(&down, "x-ab-breaker", "open"));
        assert!(has(&down, "x-ab-reason", "breaker_open") && has(&down, "x-ab-bucket", "*"));
        assert!(has(&down, "x-ab-config", "*") && !has(&down, "x-by", "*"));
    }

    #[test]
    fn a_path_of_another_beginning_and_the_baselines_stay() {
        for (path, gate) in [("/b/a", Gate::Closed), ("/a", Gate::Open)] {
            let [up, _] = effects(&[("u", "1"), (":path", path)], gate, Reporter::Filter);
            assert!(!up.iter().any(|(_, name, _)| name == ":path"), "{path}: {up:?}");
        }
    }

    #[test]
    fn routes_that_report_leave_the_choice_to_the_filter() {
        let [up, down] = effects(&[("u", "1")], Gate::Closed, Reporter::Routes);
        assert_eq!(up.first().map(|(_, name, _)| name.as_str()), Some("x-ab-variant"));
        assert_eq!(down.first().map(|(_, name, _)| name.as_str()), Some("x-by"));
    }

    #[test]
    fn a_minted_identity_is_a_cookie_beside_the_models() {
        for (proto, attributes) in [("http", "SameSite=Lax"), ("https", "SameSite=Lax; Secure")] {
            let [_, down] =
                effects(&[("x-forwarded-proto", proto)], Gate::Closed, Reporter::Filter);
            let (op, name, value) = down.last().unwrap();
            assert_eq!((*op, name.as_str()), (Op::Append, "set-cookie"));
            assert!(value.starts_with("sid=") && value.ends_with(attributes), "{value}");
        }
    }

    #[test]
    fn names_of_the_filter_are_removed_if_any_was_sent() {
        let plan = parse_json(FILE.as_bytes()).unwrap();
        let names = &plan.settings.headers;
        let removed = |sent: &[&str]| removals(names, sent.iter().map(|name| name.as_bytes()));
        assert!(removed(&["u", "x-a", "x-ab"]).is_empty());
        assert_eq!(removed(&["u", "x-ab-cluster"]), names.owned);
    }
}
