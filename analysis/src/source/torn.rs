//! Lines that break off: how a line begins, which shows whose it is, and whether it names the experiment.
//!
//! A full disk, a crash or a copied file cuts lines anywhere, often before the name of the experiment. All lines of one
//! access log begin with the same key, so the readable lines that begin alike show which share of the others is the
//! experiment's.

use memchr::memmem;
use sidetrack::names::log;

use super::envelope::PREFIX;

/// The first key of a line, or as much of it as there is; empty if the beginning is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start([u8; 16]);

impl Start {
    /// How records begin that are not text.
    pub(super) const RECORD: Self = Self(*b"\0\x01record\0\0\0\0\0\0\0\0");

    /// The beginning of a line; `None` if it is not that of a JSON object.
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        let head = line.get(..line.len().min(PREFIX)).unwrap_or_default();
        let brace = memchr::memchr(b'{', head)?;
        let after = head.get(brace + 1..).unwrap_or_default().trim_ascii_start();
        let ([b'"', key @ ..] | [b'\\', b'"', key @ ..]) = after else { return None };
        let end = key.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let mut start = Self::default();
        let key = key.get(..end.unwrap_or(key.len())).unwrap_or_default();
        start.0.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Some(start)
    }

    /// The beginning of a line that cannot be read; `None` if the line cannot be one of an access log. Zeros are what a
    /// file system leaves of a write that was lost.
    pub(super) fn of_torn(line: &[u8]) -> Option<Self> {
        let has = |name: &str| memmem::find(line, format!("\"{name}\":").as_bytes()).is_some();
        let own = [log::ASSIGNED, log::SERVED, log::EXPOSURE];
        Self::of(line)
            .or_else(|| (line.contains(&0) || own.into_iter().any(has)).then(Self::default))
    }

    /// Whether a line that begins like this may be cut off to one that begins like `torn`.
    pub(crate) fn may_be(self, torn: Self) -> bool {
        self.0.iter().zip(torn.0).all(|(whole, part)| part == 0 || *whole == part)
    }
}

/// Whether a line contains a name as a value, within JSON text or within text in JSON.
pub(super) fn names(line: &[u8], name: &str) -> bool {
    memmem::find_iter(line, name.as_bytes()).any(|at| {
        let before = at.checked_sub(1).and_then(|before| line.get(before));
        let after = line.get(at + name.len());
        before == Some(&b'"') && matches!(after, Some(b'"' | b'\\'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = br#"{"time":"2026-11-23T09:00:00.000Z","experiment":"shop"}"#;

    #[test]
    fn a_line_that_is_cut_anywhere_begins_as_the_others_do() {
        let whole = Start::of(WHOLE).unwrap();
        for end in 2..WHOLE.len() {
            let torn = Start::of_torn(&WHOLE[..end]).unwrap();
            assert!(whole.may_be(torn), "{end}");
        }
        let wrapped = br#"{"log":"{\"time\":\"2026"#;
        assert!(
            Start::of(br#"{"log":"{\"time\":1}"}"#).unwrap().may_be(Start::of(wrapped).unwrap())
        );
        let prefixed = br#"2026-11-23T09:00:00.1Z stdout F {"time":"2026"#;
        assert_eq!(Start::of(prefixed), Some(whole));
        assert_eq!(Start::of(br#"{ "time": 1"#), Some(whole));
        assert_eq!(Start::of(br#"{\"time\":1"#), Some(whole), "text in JSON");
    }

    #[test]
    fn lines_of_others_begin_otherwise() {
        let whole = Start::of(WHOLE).unwrap();
        for other in [&br#"{"level":"info","msg":"x"#[..], br#"{"timestamp_of_all":"2026"#] {
            assert!(!whole.may_be(Start::of_torn(other).unwrap()), "{}", other.escape_ascii());
        }
        for text in [
            "starting main dispatch loop",
            "[2026] \"GET /\" {x} 200",
            "",
            "{{template}}",
            "{",
            "  \"duration\": 5,",
        ] {
            assert_eq!(Start::of_torn(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_line_without_its_beginning_is_known_by_its_fields() {
        let tail = br#"-0000","assigned":"plain","status":200}"#;
        assert_eq!(Start::of_torn(tail), Some(Start::default()));
        assert_eq!(Start::of_torn(b"\0\0\0\0\0"), Some(Start::default()));
        assert!(Start::of(WHOLE).unwrap().may_be(Start::default()));
    }

    #[test]
    fn a_name_is_a_whole_value() {
        assert!(names(WHOLE, "shop") && names(br#"{\"experiment\":\"shop\","#, "shop"));
        assert!(!names(br#"{"experiment":"shop-2"}"#, "shop") && !names(b"shop", "shop"));
        assert!(names(br#"{"path":"/shop","experiment":"shop"}"#, "shop"));
    }
}
