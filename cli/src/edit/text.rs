//! Edits of single keys in the text of a YAML or JSON file.

use std::cmp::Reverse;
use std::ops::Range;

use crate::lines::Lines;

/// A text, and its edits in bytes of the original.
pub(super) struct Text {
    text: String,
    lines: Lines,
    edits: Vec<(Range<usize>, String)>,
}

/// Where a key and its value are, in bytes.
struct Entry {
    /// Of the first character of the line.
    line: usize,
    key: Range<usize>,
    value: Range<usize>,
}

impl Text {
    pub(super) fn new(text: &str, lines: Lines) -> Self {
        Self { text: text.to_owned(), lines, edits: Vec::new() }
    }

    /// Writes another value behind a key whose value is on its line.
    pub(super) fn replace(&mut self, path: &str, value: &str) -> Option<()> {
        let entry = self.entry(path)?;
        // In JSON, text is in quotes.
        let value = self.dressed(&entry, value);
        self.edits.push((entry.value, value));
        Some(())
    }

    /// Adds a key after the one at `path`, whose value is on its line. A comment goes behind it.
    pub(super) fn insert(
        &mut self,
        path: &str,
        key: &str,
        value: &str,
        comment: Option<&str>,
    ) -> Option<()> {
        let entry = self.entry(path)?;
        let value = self.dressed(&entry, value);
        let is_quoted = self.is_json(&entry);
        let key = if is_quoted { format!("\"{key}\"") } else { key.to_owned() };
        if self.is_block(&entry) {
            let indent: usize = self.text.get(entry.line..entry.key.start)?.chars().count();
            let end = self.line_end(entry.value.end);
            let behind = comment.map(|comment| format!("  {comment}")).unwrap_or_default();
            self.edits.push((end..end, format!("\n{}{key}: {value}{behind}", " ".repeat(indent))));
        } else {
            let end = entry.value.end;
            self.edits.push((end..end, format!(", {key}: {value}")));
            if let Some(comment) = comment {
                let end = self.line_end(end);
                let is_free = !self.text.get(entry.value.end..end)?.contains('#');
                let start = if is_free { "  " } else { "; " };
                let comment =
                    if is_free { comment } else { comment.trim_start_matches(['#', ' ']) };
                self.edits.push((end..end, format!("{start}{comment}")));
            }
        }
        Some(())
    }

    /// Removes a key whose value is on its line, and returns the comment behind it.
    pub(super) fn take(&mut self, path: &str) -> Option<Option<String>> {
        let entry = self.entry(path)?;
        if !self.is_block(&entry) {
            return self.remove(path).map(|()| None);
        }
        let end = self.line_end(entry.value.end);
        let behind = self.text.get(entry.value.end..end)?.trim().to_owned();
        self.remove_line(&entry)?;
        Some(Some(behind).filter(|comment| !comment.is_empty()))
    }

    /// Removes the line of a key. The first key of a list's item has the dash before it, so its line has to stay.
    fn remove_line(&mut self, entry: &Entry) -> Option<()> {
        let before = self.text.get(entry.line..entry.key.start)?;
        let end = self.line_end(entry.value.end);
        let end = end + self.text.get(end..)?.find('\n').map_or(0, |at| at + 1);
        before.trim().is_empty().then(|| self.edits.push((entry.line..end, String::new())))
    }

    /// Removes a key whose value is on its line. With a comment behind it, the line becomes a comment.
    pub(super) fn remove(&mut self, path: &str) -> Option<()> {
        let entry = self.entry(path)?;
        if self.is_block(&entry) {
            let end = self.line_end(entry.value.end);
            if self.text.get(entry.value.end..end)?.trim().is_empty() {
                return self.remove_line(&entry);
            }
            let is_first = !self.text.get(entry.line..entry.key.start)?.trim().is_empty();
            let start = entry.key.start;
            return (!is_first).then(|| self.edits.push((start..start, "# ".to_owned())));
        }
        // The comma before it, or the one behind it.
        let before = self.text.get(..entry.key.start)?.trim_end();
        let after = self.text.get(entry.value.end..)?;
        let range = if before.ends_with(',') {
            before.len() - 1..entry.value.end
        } else {
            let comma = after.find(|c: char| !c.is_whitespace())?;
            let is_comma = after.get(comma..)?.starts_with(',');
            let skip = after.get(comma + 1..)?.find(|c: char| !c.is_whitespace()).unwrap_or(0);
            entry.key.start..entry.value.end + if is_comma { comma + 1 + skip } else { 0 }
        };
        self.edits.push((range, String::new()));
        Some(())
    }

    /// Puts `#` before the lines of a key and of all that belongs to it, with a reason above.
    pub(super) fn comment_out(&mut self, path: &str, why: &str) -> Option<()> {
        let (line, key) = self.key(path)?;
        let before = self.text.get(line..key)?;
        if !before.trim().is_empty() {
            return None;
        }
        let indent = before.len();
        let mut end = self.line_end(key);
        let mut at = end;
        // All lines that are deeper, and list items at the same depth.
        while at < self.text.len() {
            let start = at + 1;
            let next = self.line_end(start.min(self.text.len()));
            let content = self.text.get(start..next).unwrap_or_default();
            let depth = content.len() - content.trim_start().len();
            let belongs =
                depth > indent || (depth == indent && content.trim_start().starts_with("- "));
            if content.trim().is_empty() {
                at = next;
                continue;
            }
            if !belongs {
                break;
            }
            (at, end) = (next, next);
        }
        let lines: Vec<String> = (self.text.get(line..end)?.split('\n'))
            .map(|text| match text.get(indent..) {
                Some(rest) if !rest.trim().is_empty() => format!("{}# {rest}", " ".repeat(indent)),
                _ => text.to_owned(),
            })
            .collect();
        self.edits.push((line..end, lines.join("\n")));
        // Above the comments that belong to the key.
        let mut above = line;
        let head = self.text.get(..line)?;
        for text in head.split_inclusive('\n').rev() {
            let is_own = text.trim_start().starts_with('#')
                && text.len() - text.trim_start().len() == indent;
            if !is_own {
                break;
            }
            above -= text.len();
        }
        self.edits.push((above..above, format!("{}# {why}\n", " ".repeat(indent))));
        Some(())
    }

    /// Puts comments above the line of a key, as deep as that line.
    pub(super) fn comment_above(&mut self, path: &str, comments: &[String]) -> Option<()> {
        let (line, _) = self.key(path)?;
        let depth = self.text.get(line..)?.find(|c: char| c != ' ')?;
        let comment = |comment: &String| format!("{}# {comment}\n", " ".repeat(depth));
        self.edits.push((line..line, comments.iter().map(comment).collect()));
        Some(())
    }

    /// The text with all edits.
    pub(super) fn finish(mut self) -> String {
        // From the end, so that earlier places stay valid; of several at one place, the first one ends up first.
        self.edits.reverse();
        self.edits.sort_by_key(|(range, _)| Reverse((range.start, range.end)));
        let mut text = self.text;
        for (range, new) in self.edits {
            text.replace_range(range, &new);
        }
        text
    }

    /// The start of the line and of the key, in bytes.
    fn key(&self, path: &str) -> Option<(usize, usize)> {
        let place = self.lines.key(path)?;
        let line: usize = self
            .text
            .split_inclusive('\n')
            .take(usize::try_from(place.line - 1).ok()?)
            .map(str::len)
            .sum();
        let column = usize::try_from(place.column - 1).ok()?;
        let (at, _) = self.text.get(line..)?.char_indices().nth(column)?;
        Some((line, line + at))
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        let (line, key) = self.key(path)?;
        let end = self.line_end(key);
        let rest = self.text.get(key..end)?;
        let name = scalar(rest, |c| c == ':')?;
        let colon = name + rest.get(name..)?.find(':')? + 1;
        let value = colon + rest.get(colon..)?.find(|c: char| !c.is_whitespace())?;
        let length = scalar(rest.get(value..)?, |c| matches!(c, ',' | '}' | ']'))?;
        Some(Entry { line, key: key..key + name, value: key + value..key + value + length })
    }

    /// The end of the line, before its break.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let end = at + rest.find('\n').unwrap_or(rest.len());
        if self.text.get(..end).is_some_and(|text| text.ends_with('\r')) { end - 1 } else { end }
    }

    /// Whether the key has a line of its own, as in YAML's block style.
    fn is_block(&self, entry: &Entry) -> bool {
        let before = self.text.get(entry.line..entry.key.start).unwrap_or_default();
        let after = self.text.get(entry.value.end..).unwrap_or_default().trim_start_matches(' ');
        let own_line = before.chars().all(|c| c == ' ' || c == '-');
        own_line
            && (after.is_empty() || after.starts_with(['\n', '\r', '#']))
            && !self.is_json(entry)
    }

    fn is_json(&self, entry: &Entry) -> bool {
        self.text.get(entry.key.clone()).is_some_and(|key| key.starts_with('"'))
    }

    fn dressed(&self, entry: &Entry, value: &str) -> String {
        let is_bare = value.parse::<f64>().is_ok() || matches!(value, "true" | "false");
        if self.is_json(entry) && !is_bare && !value.starts_with('"') {
            serde_json::Value::from(value).to_string()
        } else {
            value.to_owned()
        }
    }
}

/// The length of the scalar at the start: in quotes, or plain up to a comment or one of these characters.
fn scalar(text: &str, ends: impl Fn(char) -> bool) -> Option<usize> {
    let first = text.chars().next()?;
    if matches!(first, '"' | '\'') {
        let mut chars = text.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if first == '"' => {
                    chars.next();
                }
                _ if c == first => match chars.peek() {
                    // Two single quotes are one in the text.
                    Some((_, next)) if first == '\'' && *next == '\'' => {
                        chars.next();
                    }
                    _ => return Some(at + 1),
                },
                _ => {}
            }
        }
        return None;
    }
    if matches!(first, '[' | '{' | '&' | '*' | '|' | '>' | '!') {
        return None;
    }
    let comment = text.find(" #").unwrap_or(text.len());
    let text = text.get(..comment)?;
    let end = text.find(ends).unwrap_or(text.len());
    let length = text.get(..end)?.trim_end().len();
    (length > 0).then_some(length)
}
