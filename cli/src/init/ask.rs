//! Questions on a terminal. A wrong answer is explained and asked again.

use std::io::{self, BufRead, Write};

use crate::out::Out;

/// Where the questions are asked.
pub(super) struct Terminal<'o> {
    out: &'o mut Out,
}

impl<'o> Terminal<'o> {
    pub(super) const fn new(out: &'o mut Out) -> Self {
        Self { out }
    }

    pub(super) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.finish()
    }

    /// An answer that passes the check; an empty line is the default.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        loop {
            let ink = self.out.ink();
            let shown = default.map_or_else(String::new, |text| format!(" [{text}]"));
            write!(self.out, "{}{}: ", ink.bold(question), ink.dim(shown))?;
            self.out.finish()?;
            let answer = line()?;
            let answer = match (answer.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            if answer.is_empty() {
                continue;
            }
            match check(answer) {
                Ok(answer) => return Ok(answer),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
    }

    /// One of several, by its number. The first one is the default.
    pub(super) fn choose<T>(
        &mut self,
        question: &str,
        choices: &[&str],
        of: impl Fn(usize) -> Option<T>,
    ) -> anyhow::Result<T> {
        for (index, choice) in choices.iter().enumerate() {
            self.say(&format!("  {}  {choice}", index + 1))?;
        }
        self.ask(question, Some("1"), |text| {
            let index = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            index
                .and_then(&of)
                .ok_or_else(|| format!("expected a number from 1 to {}", choices.len()))
        })
    }
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line)?;
    anyhow::ensure!(
        read > 0,
        "the input ended before all questions were answered; nothing was written"
    );
    Ok(line)
}
