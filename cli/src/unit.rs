//! A unit source on the command line: `header:x-user-id`.

use std::str::FromStr;

/// A unit source.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Unit {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (given, name) = text.split_once(':').unwrap_or((text, ""));
        let kind = ["header", "cookie", "query", "body"].into_iter().find(|kind| *kind == given);
        match kind.filter(|_| !name.is_empty()) {
            Some(kind) => Ok(Self { kind, name: name.to_owned() }),
            None => {
                Err("expected header:NAME, cookie:NAME, query:NAME or body:/POINTER".to_owned())
            }
        }
    }
}
