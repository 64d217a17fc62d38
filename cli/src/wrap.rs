//! Lines of 80 columns: sentences and notes wrap between words.

use crate::out::Ink;

/// The width of a line, in characters.
const WIDTH: usize = 80;

/// The text in lines of [`WIDTH`], the first behind `start`, the others below it. A longer word has a
/// line of its own.
pub(crate) fn wrapped(start: &str, text: &str) -> String {
    filled(start, text.split(' '), "")
}

/// A command of a shell in lines of [`WIDTH`], which can be copied: it breaks between words outside of quotes, with a
/// backslash, and an option stays with its value. What is longer has a line of its own.
pub(crate) fn command(start: &str, command: &str) -> String {
    let mut quote = None;
    let words = command.split(|c: char| {
        match quote {
            Some(open) if open == c => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        c == ' ' && quote.is_none()
    });
    let mut parts: Vec<String> = Vec::new();
    for word in words {
        match parts.last_mut().filter(|_| !word.starts_with('-')) {
            Some(option) if option.starts_with('-') && !option.contains(' ') => {
                option.push(' ');
                option.push_str(word);
            }
            _ => parts.push(word.to_owned()),
        }
    }
    filled(start, parts.iter().map(String::as_str), " \\")
}

/// Words in lines that fit together with this end, which the last line does not have.
fn filled<'w>(start: &str, words: impl Iterator<Item = &'w str>, end: &str) -> String {
    let indent = " ".repeat(start.chars().count());
    let mut out = start.to_owned();
    let mut column = indent.len();
    let mut words = words.enumerate().peekable();
    while let Some((index, word)) = words.next() {
        let length = word.chars().count();
        let reserved = if words.peek().is_some() { end.len() } else { 0 };
        if index > 0 && column + 1 + length + reserved > WIDTH {
            out.push_str(end);
            out.push('\n');
            out.push_str(&indent);
            column = indent.len();
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// `note: …`, behind an indent. Each line of the text wraps on its own, below the first word.
pub(crate) fn note(indent: &str, text: &str, ink: Ink) -> String {
    let start = format!("{indent}note: ");
    let below = " ".repeat(start.len());
    let mut lines = text.lines();
    let mut out = wrapped(&start, lines.next().unwrap_or_default());
    for line in lines {
        out.push('\n');
        out.push_str(&wrapped(&below, line.trim_start()));
    }
    out.replacen("note:", &ink.note("note:").to_string(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_between_words_below_the_first() {
        let words = "word ".repeat(20);
        let long = "x".repeat(90);
        let text = wrapped("  - ", &format!("{words}{long} end"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0].len(), 4 + 15 * 5 - 1);
        assert_eq!(lines[2], format!("    {long}"));
        assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{text}");
    }

    #[test]
    fn a_command_breaks_between_its_words_and_can_be_copied() {
        let text = "curl http://127.0.0.1:10088/v1/outcomes -H 'content-type: text/csv' --data-binary @outcomes.csv";
        let lines = command(" outcomes   ", text);
        assert_eq!(
            lines,
            " outcomes   curl http://127.0.0.1:10088/v1/outcomes \\\n            \
             -H 'content-type: text/csv' --data-binary @outcomes.csv"
        );
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH));
        // The last line needs no place for a backslash, the others do.
        let fits = format!("{} {}", "a".repeat(40), "b".repeat(39));
        assert_eq!(command("", &fits), fits);
        let three = format!("{} {} cc", "a".repeat(39), "b".repeat(38));
        assert_eq!(command("", &three), three.replace(" cc", " \\\ncc"));
        assert_eq!(command(" ", &three).lines().next().unwrap(), format!(" {} \\", "a".repeat(39)));
    }

    #[test]
    fn a_line_may_have_exactly_the_width() {
        let fits = format!("{} {}", "a".repeat(40), "b".repeat(39));
        assert_eq!(wrapped("", &fits), fits);
        assert_eq!(wrapped(" ", &fits).lines().count(), 2);
    }

    #[test]
    fn a_note_has_one_color_and_keeps_its_lines() {
        let text = format!("{}note: x\n  hint: y", "word ".repeat(16));
        let plain = note("  ", &text, Ink::PLAIN);
        assert!(plain.starts_with("  note: word"), "{plain}");
        assert!(plain.ends_with("\n        word word note: x\n        hint: y"), "{plain}");
        let painted = note("  ", &text, Ink::COLORS);
        assert!(painted.starts_with("  \u{1b}[33mnote:\u{1b}[0m word"), "{painted:?}");
        assert_eq!(painted.matches('\u{1b}').count(), 2);
    }
}
