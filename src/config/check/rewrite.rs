//! Path rewrites of variants, checked against the experiment's own condition on the path.

use super::Checker;
use crate::config::problem::{Code, Path};
use crate::config::raw;
use crate::matching::Text;
use crate::rewrite::Rewrite;

/// The rewrite that a variant declares.
pub(super) fn rewrite(raw: &raw::Variant) -> Option<Rewrite> {
    let pair = raw.path.get()?.replace_prefix.get()?;
    Some(Rewrite { from: pair.from.0.clone(), to: pair.to.0.clone() })
}

impl Checker<'_> {
    /// Reports rewrites that change no path, and notes those that lose or double a slash.
    pub(super) fn rewrites(
        &mut self,
        raw: &raw::Experiment,
        path: Option<&Text>,
        variants_at: &Path<'_>,
    ) {
        for (i, variant) in raw.variants.get().iter().flat_map(|list| &list.0) {
            let Some(Rewrite { from, to }) = rewrite(variant) else { continue };
            let variant_at = variants_at.item(*i);
            let path_at = variant_at.key("path");
            let at = path_at.key("replace_prefix");
            if from == to {
                let message = format!("\"{from}\" is replaced by itself, which changes no path");
                let hint = "write [from, to] with two different paths, or remove the key";
                self.problems.push(&at, Code::UselessRewrite, message, hint);
            } else if let Some(condition) = path.filter(|path| !can_begin_with(path, &from)) {
                let (key, text) = match condition {
                    Text::Exact(text) => ("exact", text),
                    Text::Prefix(text) => ("prefix", text),
                };
                let message = format!(
                    "no path of this experiment begins with \"{from}\": match.path.{key} is \"{text}\""
                );
                let hint = format!("replace \"{text}\" or a part of it that begins at its start");
                self.problems.push(&at, Code::UselessRewrite, message, hint);
            } else if from.ends_with('/') != to.ends_with('/') {
                let rest = if from.ends_with('/') { "x" } else { "/x" };
                let message = format!(
                    "only one of the two paths ends with a slash: {from}{rest} becomes {to}{rest}"
                );
                self.notice(&at, &message);
            }
        }
    }
}

/// Whether a path that fulfills the condition can begin with `from`.
fn can_begin_with(condition: &Text, from: &str) -> bool {
    match condition {
        Text::Exact(path) => path.starts_with(from),
        Text::Prefix(prefix) => prefix.starts_with(from) || from.starts_with(prefix.as_str()),
    }
}
