//! How a command ends when it has no answer: whose fault it is decides the exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::out::Ink;

/// The input is at fault: exit 1. Every other error means that the command could not run: exit 2.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Tells stderr, unless the reader of our output has just gone, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let gone = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(gone) {
        return ExitCode::SUCCESS;
    }
    let ink = Ink::stderr();
    // When stderr is gone too, the exit code still tells.
    writeln!(io::stderr().lock(), "{} {error:#}", ink.bad("error:")).ok();
    ExitCode::from(if error.is::<Fault>() { 1 } else { 2 })
}
