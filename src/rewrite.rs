//! Prefix replacement in a request's path.

/// Replaces the beginning of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// What a path must begin with, letter by letter, to be changed.
    pub from: String,
    /// What it begins with instead.
    pub to: String,
}

impl Rewrite {
    /// The changed target of a request, query included; `None` if its path has another beginning.
    #[must_use]
    pub fn apply(&self, target: &[u8]) -> Option<Vec<u8>> {
        let rest = target.strip_prefix(self.from.as_bytes())?;
        Some([self.to.as_bytes(), rest].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_changes() {
        let rewrite = Rewrite { from: "/v2/models/a".to_owned(), to: "/b".to_owned() };
        for (target, expected) in [
            ("/v2/models/a", Some("/b")),
            ("/v2/models/a/infer?x=/v2/models/a#y", Some("/b/infer?x=/v2/models/a#y")),
            ("/v2/models/a-2?", Some("/b-2?")),
            ("/v2/models", None),
            ("/V2/models/a", None),
            ("/x/v2/models/a", None),
            ("/?/v2/models/a", None),
            ("*", None),
            ("", None),
        ] {
            let changed = rewrite.apply(target.as_bytes());
            assert_eq!(changed.as_deref(), expected.map(str::as_bytes), "{target}");
        }
        assert_eq!(rewrite.apply(b"/v2/models/a/\xff").as_deref(), Some(&b"/b/\xff"[..]));
    }
}
