//! Errors of a command: a problem in the input exits with 1, everything else with 2.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstream::AutoStream;
use clap::error::ErrorKind;

use crate::exit::ExitStatus;
use crate::out::Ink;
use crate::words::plain;

/// A problem in the input: exit 1. Every other error means that the command could not run: exit 2.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// What parsers of numbers say, and what it means.
const NUMBERS: [(&str, &str); 7] = [
    ("invalid digit found in string", "expected a whole number"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "expected a number"),
    ("cannot parse float from empty string", "expected a number"),
    ("provided string was not `true` or `false`", "expected true or false"),
];

/// Prints why the arguments cannot be read, or the help that was asked for, and returns the exit code.
pub(crate) fn wrong_use(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::ValueValidation {
        let text = error.render().ansi().to_string();
        let text = NUMBERS.iter().fold(text, |text, (said, meant)| text.replace(said, meant));
        // Without its styles if stderr shows none.
        write!(AutoStream::auto(io::stderr()), "{text}").ok();
    } else {
        error.print().ok();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// An error with its causes.
pub(crate) fn text(error: &anyhow::Error) -> String {
    plain(&format!("{error:#}"))
}

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
    writeln!(io::stderr().lock(), "{} {}", ink.bad("error:"), text(error)).ok();
    if error.is::<Fault>() { ExitStatus::Problems } else { ExitStatus::Error }
}
