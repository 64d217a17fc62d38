//! Events of the object: each change, and each new reason to hold or to fail.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::lease::micro_time;
use super::{Cluster, MANAGER, Plugin};
use crate::advance::Answer;
use crate::advance::decide::Action;
use crate::kube::api::Verb;

/// The largest note of an Event.
const LARGEST: usize = 1024;

/// What was reported last, so that a repeated reason is not an Event again.
#[derive(Debug, Default)]
pub(super) struct Told(String);

impl Plugin<'_> {
    /// Reports a decision. `every` is false for a single run: then only changes are reported.
    ///
    /// # Errors
    ///
    /// If the API server refuses the Event. The decision stands.
    pub(in crate::advance) fn report(&self, answer: &Answer, every: bool) -> anyhow::Result<()> {
        let (kind, reason) = match answer.decided {
            Action::Raise(_) => ("Normal", "Raised"),
            Action::RollBack => ("Warning", "RolledBack"),
            Action::Hold | Action::End => ("Normal", "Held"),
            Action::Invalid => ("Warning", "Held"),
            Action::Promote => ("Normal", "ReadyToPromote"),
        };
        let Answer { experiment, candidate, from, to, .. } = answer;
        let what = match answer.applied {
            Some(_) => format!("{experiment}: {candidate}, {from} % → {to} %"),
            None => format!("{experiment}: {candidate}, {from} %"),
        };
        let reasons = answer.reasons.join("; ");
        if answer.applied.is_none() && !(every && self.cluster.is_new(reason, &reasons)) {
            return Ok(());
        }
        if answer.applied.is_some() {
            self.cluster.is_new(reason, &reasons);
        }
        self.cluster.send(&self.object, kind, reason, &format!("{what}: {reasons}"))
    }
}

impl Cluster {
    /// Reports an error of a round, if it is another one than before.
    pub(in crate::advance) fn report_error(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        let text = format!("{error:#}");
        if !self.is_new("Failed", &text) {
            return Ok(());
        }
        // Without the object, there is nothing to report on.
        match self.read(None) {
            Ok(plugin) => self.send(&plugin.object, "Warning", "Failed", &text),
            Err(_) => Ok(()),
        }
    }

    /// Whether this reason was not the last one, apart from its numbers.
    fn is_new(&self, what: &str, reasons: &str) -> bool {
        let has_digit = |word: &&str| word.bytes().any(|byte| byte.is_ascii_digit());
        let words = reasons.split_whitespace().filter(|word| !has_digit(word));
        let key = std::iter::once(what).chain(words).collect::<Vec<_>>().join(" ");
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.0 != key;
        told.0 = key;
        is_new
    }

    fn send(&self, object: &Value, kind: &str, reason: &str, note: &str) -> anyhow::Result<()> {
        let target = &self.target;
        let of = |key: &str| object.pointer(&format!("/metadata/{key}")).cloned();
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"generateName": format!("{}-", target.name), "namespace": target.namespace},
            "eventTime": micro_time(), "type": kind, "reason": reason, "action": "Advance",
            "note": short(note), "reportingController": MANAGER, "reportingInstance": self.identity,
            "regarding": {
                "apiVersion": "extensions.istio.io/v1alpha1", "kind": target.kind.name(),
                "namespace": target.namespace, "name": target.name,
                "uid": of("uid"), "resourceVersion": of("resourceVersion"),
            },
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", target.namespace);
        self.api.send(Verb::Create, &path, &event).map(drop)
    }
}

/// As much of a note as an Event takes.
fn short(note: &str) -> String {
    const MORE: &str = " …";
    if note.len() <= LARGEST {
        return note.to_owned();
    }
    let mut end = LARGEST - MORE.len();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MORE}", note.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_ends_where_an_event_ends() {
        assert_eq!(short("why"), "why");
        let long = "ä".repeat(2000);
        assert!(short(&long).len() <= LARGEST && short(&long).ends_with("ä …"));
    }
}
