//! Errors of a command: a problem in the input exits with 1, everything else with 2.

use std::fmt;
use std::io::{self, Write};

use crate::exit::ExitStatus;
use crate::out::Ink;

/// A problem in the input: exit 1. Every other error means that the command could not run: exit 2.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Prints an error to stderr and returns the exit status. A closed pipe is not an error.
pub(crate) fn report(error: &anyhow::Error) -> ExitStatus {
    let gone = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(gone) {
        return ExitStatus::Success;
    }
    let ink = Ink::stderr();
    // If stderr is closed too, the exit status remains.
    writeln!(io::stderr().lock(), "{} {error:#}", ink.bad("error:")).ok();
    if error.is::<Fault>() { ExitStatus::Problems } else { ExitStatus::Error }
}
