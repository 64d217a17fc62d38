//! Values that a variant sets in a JSON body: spliced into its bytes, not serialized anew.

use core::ops::Range;

use super::find;

/// Headers and trailers with a digest of the body, which no longer holds once the body is edited:
/// RFC 9530, RFC 3230 and RFC 1864.
pub const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// A value for one place in a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The JSON Pointer of the place.
    pub pointer: String,
    /// The pointer of the object or list that holds the place.
    parent: String,
    /// The key in that object, as JSON.
    key: String,
    /// The new value, as JSON.
    pub value: String,
}

impl Edit {
    /// An edit at a JSON Pointer that is not empty; `key` is its last key and `value` the new
    /// value, both as JSON.
    pub(crate) fn new(pointer: &str, key: String, value: String) -> Self {
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        Self { pointer: pointer.to_owned(), parent, key, value }
    }

    /// Whether the body has the place: a value, or an object that can get one.
    #[must_use]
    pub fn fits(&self, body: &[u8]) -> bool {
        self.splice(body).is_some()
    }

    /// The range of the body to replace, and its new text.
    fn splice(&self, body: &[u8]) -> Option<(Range<usize>, String)> {
        if let Some(found) = find(body, &self.pointer).ok()? {
            return Some((range(body, found)?, self.value.clone()));
        }
        // A new key comes first in its object. A list gets no new elements.
        let parent = find(body, &self.parent).ok()??;
        let rest = parent.strip_prefix('{')?;
        let at = range(body, parent)?.start.checked_add(1)?;
        let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
        Some((at..at, [&self.key, ":", &self.value, comma].concat()))
    }
}

/// The body with these edits; `None` if it is not JSON or has no place for one of them.
#[must_use]
pub fn edited(body: &[u8], edits: &[Edit]) -> Option<Vec<u8>> {
    edits.iter().try_fold(body.to_vec(), |mut body, edit| {
        let (range, text) = edit.splice(&body)?;
        body.splice(range, text.into_bytes());
        Some(body)
    })
}

/// Where `part`, a slice of `whole`, is in it.
fn range(whole: &[u8], part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    (whole.get(range.clone())? == part.as_bytes()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(pointer: &str, value: &str) -> Edit {
        let key = pointer.rsplit('/').next().unwrap().replace("~1", "/").replace("~0", "~");
        Edit::new(pointer, serde_json::to_string(&key).unwrap(), value.to_owned())
    }

    fn apply(body: &str, edits: &[(&str, &str)]) -> Option<String> {
        let edits: Vec<Edit> = edits.iter().map(|(pointer, value)| edit(pointer, value)).collect();
        let fits = edits.iter().all(|edit| edit.fits(body.as_bytes()));
        let after = edited(body.as_bytes(), &edits).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(after.is_some(), fits, "{body}");
        after
    }

    #[test]
    fn one_value_changes_and_every_other_byte_stays() {
        let new = r#""v2""#;
        for (before, pointer, after) in [
            (r#"{"model":"v1"}"#, "/model", Some(r#"{"model":"v2"}"#)),
            (
                "\r\n{ \"b\" : 1.50e+2,\t\"model\": \"v1\" , \"a\": [1, 2 ] }\n",
                "/model",
                Some("\r\n{ \"b\" : 1.50e+2,\t\"model\": \"v2\" , \"a\": [1, 2 ] }\n"),
            ),
            (
                r#"{"model":{"x":[1]},"y":"\u00e9"}"#,
                "/model",
                Some(r#"{"model":"v2","y":"\u00e9"}"#),
            ),
            (r#"{"model":null}"#, "/model", Some(r#"{"model":"v2"}"#)),
            // Of a repeated key, the one that counts.
            (r#"{"model":1,"model":2}"#, "/model", Some(r#"{"model":1,"model":"v2"}"#)),
            (r#"{"a":{"b":[0,{"c":1}]}}"#, "/a/b/1/c", Some(r#"{"a":{"b":[0,{"c":"v2"}]}}"#)),
            (r#"[1, 2]"#, "/1", Some(r#"[1, "v2"]"#)),
            // A new key.
            (r#"{}"#, "/model", Some(r#"{"model":"v2"}"#)),
            (r#"{ }"#, "/model", Some(r#"{"model":"v2" }"#)),
            (r#" { "a":1}"#, "/model", Some(r#" {"model":"v2", "a":1}"#)),
            (r#"{"o":{"a":1}}"#, "/o/x~1y", Some(r#"{"o":{"x/y":"v2","a":1}}"#)),
            (r#"{"o":[{}]}"#, "/o/0/m", Some(r#"{"o":[{"m":"v2"}]}"#)),
            // No place.
            (r#"{"a":1}"#, "/o/model", None),
            (r#"{"o":1}"#, "/o/model", None),
            (r#"[1]"#, "/1", None),
            (r#"[1]"#, "/model", None),
            (r#""text""#, "/model", None),
            (r#"{"model":1} x"#, "/model", None),
            (r#"{"model":1"#, "/model", None),
            ("", "/model", None),
        ] {
            assert_eq!(apply(before, &[(pointer, new)]).as_deref(), after, "{before} {pointer}");
        }
    }

    #[test]
    fn edits_do_not_disturb_each_other() {
        let edits = [("/model", r#""longer than before""#), ("/n", "7"), ("/o/k", "null")];
        assert_eq!(
            apply(r#"{"model":"m","o":{},"z":1}"#, &edits).as_deref(),
            Some(r#"{"n":7,"model":"longer than before","o":{"k":null},"z":1}"#)
        );
        assert_eq!(
            apply(r#"{"o":{}}"#, &edits[..2]).as_deref(),
            Some(r#"{"n":7,"model":"longer than before","o":{}}"#)
        );
        assert_eq!(apply("{}", &edits), None, "all edits or none");
    }

    #[test]
    fn bytes_that_are_no_text_stay_too() {
        let body = b"{\"model\":1,\"x\":\"\xff\"}";
        let after = edited(body, &[edit("/model", "2")]).unwrap();
        assert_eq!(after, b"{\"model\":2,\"x\":\"\xff\"}");
    }
}
