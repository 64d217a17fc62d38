//! Rounds at a fixed interval until a signal. An error is reported, and the next round tries again.
//!
//! A signal never interrupts a round: it ends first. The interval is monotonic, so steps of the clock do not change it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use sidetrack::quantity::Millis;

use crate::fault;
use crate::interrupt::Interrupt;
use crate::out::{Ink, Out};

/// Runs a round now and after each `every`.
pub(crate) fn every(
    every: Millis,
    out: &mut Out,
    round: impl FnMut(&mut Out) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    every_turn(every, out, async || (), round)
}

/// The same, for a process that waits for its turn before each round.
pub(crate) fn every_turn(
    every: Millis,
    out: &mut Out,
    turn: impl AsyncFn(),
    mut round: impl FnMut(&mut Out) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut interrupt = runtime.block_on(async { Interrupt::listen() })?;
    let every = Duration::from_millis(every.get());
    loop {
        let ended = runtime.block_on(async {
            tokio::select! {
                () = turn() => false,
                () = interrupt.arrives() => true,
            }
        });
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
        // A file in the middle of an edit, or a server that restarts.
        if let Err(error) = round(out) {
            let ink = Ink::stderr();
            writeln!(std::io::stderr().lock(), "{} {}", ink.bad("error:"), fault::text(&error))?;
        }
        out.finish()?;
        let ended = runtime
            .block_on(async { tokio::time::timeout(every, interrupt.arrives()).await.is_ok() });
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
