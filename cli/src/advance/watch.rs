//! `--watch`: a decision at a fixed interval until a signal. An error is reported, and the next round tries again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::print::{headline, place};
use super::{Answer, Args, round};
use crate::interrupt::Interrupt;
use crate::out::{Ink, Out};
use crate::words::visible;

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut interrupt = runtime.block_on(async { Interrupt::listen() })?;
    let every = Duration::from_millis(args.every.get());
    loop {
        match round(args) {
            Ok(answer) if args.json => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
            Ok(answer) => writeln!(out, "{}", line(&answer))?,
            // A file in the middle of an edit, or a server that restarts.
            Err(error) => {
                let ink = Ink::stderr();
                writeln!(std::io::stderr().lock(), "{} {error:#}", ink.bad("error:"))?;
            }
        }
        out.finish()?;
        let ended = runtime
            .block_on(async { tokio::time::timeout(every, interrupt.arrives()).await.is_ok() });
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// `2026-11-23T09:00:00Z  Hold  forecast: fancy, 5 %, step 1 of 3: the step has 10 units, but needs 2000`.
fn line(answer: &Answer) -> String {
    let Answer { at, experiment, candidate, .. } = answer;
    let reasons = visible(&answer.reasons.join("; "));
    let about = answer.about.as_ref().map(|about| format!(" (about {about})")).unwrap_or_default();
    let (what, place) = (headline(answer), place(answer));
    let dry = if answer.dry_run { " (dry run)" } else { "" };
    format!("{at}  {what}{dry}  {experiment}: {candidate}, {place}: {reasons}{about}")
}
