//! What an experiment reads and sets in JSON bodies, checked value against value.

use super::Checker;
use crate::body::Edit;
use crate::config::node::Node;
use crate::config::problem::{Code, Path};
use crate::config::raw;
use crate::config::value::Pointer;
use crate::matching::{BodyValue, Text, ValueRule};
use crate::plan::{Notice, PerVariant, Variant};

/// Holding a request to read its body needs Envoy's permission. Without it the request would hang.
const NEEDED: &str = "bodies are read where Envoy lets the filter wait for them, which `render envoy` and \
                      `render istio --kind envoyfilter` set up";

impl Checker<'_> {
    /// Notes what depends on Envoy's permission and on the limit; `without` is what happens
    /// otherwise.
    pub(super) fn body_notice(&mut self, at: &Path<'_>, without: &str) {
        let limit = written(self.body_limit);
        let message = format!(
            "{NEEDED}; elsewhere, and for bodies above settings.body_limit ({limit}), {without}"
        );
        let path = at.to_string();
        self.notices.push(Notice { path, message, needs_bodies: true });
    }

    /// The conditions on the body.
    pub(super) fn body_conditions(&mut self, raw: &raw::Match, at: &Path<'_>) -> Vec<BodyValue> {
        let written = self.filled(&raw.body, at, "conditions");
        if !written.is_empty() {
            self.body_notice(at, "no request matches");
        }
        let condition = |(_, raw): (usize, raw::BodyRule)| {
            let pointer = raw.pointer.get()?.0.clone();
            let exact = raw.exact.get().map(|text| ValueRule::Value(Text::Exact(text.0.clone())));
            let prefix =
                raw.prefix.get().map(|text| ValueRule::Value(Text::Prefix(text.0.clone())));
            let present = raw.present.get().map(|present| ValueRule::Present(*present));
            Some(BodyValue { pointer, rule: exact.or(prefix).or(present)? })
        };
        written.into_iter().filter_map(condition).collect()
    }

    /// The values that a variant sets.
    pub(super) fn edits(&mut self, raw: &raw::Variant, at: &Path<'_>) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for (pointer, value) in raw.body.get().iter().flat_map(|pairs| &pairs.0) {
            let at = at.key(pointer);
            let Some(Pointer(pointer)) = Pointer::read(pointer, &at, self.problems) else {
                continue;
            };
            let inside = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
            };
            if let Some(Edit { pointer: other, .. }) = edits
                .iter()
                .find(|other| inside(&other.pointer, &pointer) || inside(&pointer, &other.pointer))
            {
                let message = format!("one of \"{other}\" and \"{pointer}\" is inside the other");
                let hint = "set the outer value alone, or values beside each other";
                self.problems.push(&at, Code::Conflict, message, hint);
            }
            let key = pointer.rsplit('/').next().unwrap_or_default();
            let key = Node::Text(key.replace("~1", "/").replace("~0", "~")).to_json();
            edits.push(Edit::new(&pointer, key, value.0.clone()));
        }
        if !edits.is_empty() {
            self.body_notice(at, "all requests get the baseline");
        }
        edits
    }
}

/// A size as the file writes it.
fn written(size: u64) -> String {
    match size {
        _ if size.is_multiple_of(1 << 20) => format!("{}MiB", size >> 20),
        _ if size.is_multiple_of(1 << 10) => format!("{}KiB", size >> 10),
        _ => format!("{size}B"),
    }
}

/// The edits of all variants, one for each place.
pub(super) fn places(variants: &PerVariant<Variant>) -> Vec<Edit> {
    let mut places: Vec<Edit> = Vec::new();
    for edit in variants.iter().flat_map(|variant| &variant.body) {
        if !places.iter().any(|other| other.pointer == edit.pointer) {
            places.push(edit.clone());
        }
    }
    places
}
