//! `sidetrack assign`: who gets what, for a list of units.
//!
//! A line in, a line out, through buffers that are used again: nothing is allocated per unit.

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack::plan::Assignment;
use sidetrack::plan::{Experiment, Plan};

use crate::fault::Fault;
use crate::load::{File, count, load};
use crate::moment::Moment;
use crate::out::{Ink, Out};
use crate::roster::{Place, Roster};
use crate::words::{phase, visible};

/// Assign a list of units: a unit per line on stdin, CSV on stdout
///
/// The columns are unit, bucket, variant and phase. The bucket is empty where nothing was drawn: a unit that
/// overrides.units lists, an experiment that is switched off or has not started. A unit outside the experiment's slots
/// of its layer takes no part: its bucket and its variant are empty. An empty line is no unit and is left out.
/// Breakers are live state of a proxy and have no say here.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  cut -d, -f1 users.csv | sidetrack assign experiment.yaml > assigned.csv"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The experiment, when the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    moment: Moment,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.file.file.as_os_str() != "-",
        "stdin holds the units, so the experiment file must be a path"
    );
    let plan = load(&args.file.file)?.plan;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    if experiment.assignment == Assignment::RequestRandom {
        let name = &experiment.name;
        return Err(Fault(format!(
            "{name} draws each request anew (request_random): units have no variant"
        ))
        .into());
    }
    let roster = Roster::new(experiment, args.moment.get());
    let empty = write(experiment, &roster, std::io::stdin().lock(), out)?;
    if empty > 0 {
        out.finish()?;
        let lines = count(usize::try_from(empty).unwrap_or(usize::MAX), "empty line");
        writeln!(std::io::stderr().lock(), "{} left out {lines}", Ink::stderr().note("note:")).ok();
    }
    Ok(ExitCode::SUCCESS)
}

/// The experiment of this name, or the only one.
pub(crate) fn chosen<'p>(plan: &'p Plan, name: Option<&str>) -> anyhow::Result<&'p Experiment> {
    let names: Vec<&str> =
        plan.experiments.iter().map(|experiment| experiment.name.as_str()).collect();
    let names = names.join(", ");
    match (name, &*plan.experiments) {
        (Some(name), experiments) => {
            experiments.iter().find(|experiment| experiment.name == name).ok_or_else(|| {
                anyhow::anyhow!("the file has no experiment \"{}\"; it has: {names}", visible(name))
            })
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(Fault("the file has no experiments".to_owned()).into()),
        (None, _) => {
            anyhow::bail!("the file has several experiments; choose with --experiment: {names}")
        }
    }
}

/// Assigns line by line; returns how many lines were empty.
fn write(
    experiment: &Experiment,
    roster: &Roster<'_>,
    input: impl std::io::Read,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    // What follows the bucket, for each variant, made once.
    let phase = roster.phase.and_then(|index| phase(experiment, index)).unwrap_or_default();
    let ends: Vec<String> =
        experiment.variants.iter().map(|variant| format!(",{},{phase}\n", variant.name)).collect();
    let excluded = format!(",,{phase}\n");
    let mut input = BufReader::with_capacity(1 << 18, input);
    let (mut line, mut row) = (Vec::with_capacity(256), Vec::with_capacity(512));
    let mut empty = 0;
    out.write_all(b"unit,bucket,variant,phase\n")?;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(empty);
        }
        let unit = line.strip_suffix(b"\n").unwrap_or(&line);
        let unit = unit.strip_suffix(b"\r").unwrap_or(unit);
        if unit.is_empty() {
            empty += 1;
            continue;
        }
        row.clear();
        field(unit, &mut row);
        row.push(b',');
        match roster.place(unit) {
            Place::Excluded => row.extend_from_slice(excluded.as_bytes()),
            Place::Variant(variant, bucket) => {
                if let Some(bucket) = bucket {
                    digits(bucket.get(), &mut row);
                }
                row.extend_from_slice(ends.get(variant.index()).map_or(b"", |end| end.as_bytes()));
            }
        }
        out.write_all(&row)?;
    }
}

/// A CSV field, quoted only where RFC 4180 asks for it.
fn field(bytes: &[u8], row: &mut Vec<u8>) {
    if !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        row.extend_from_slice(bytes);
        return;
    }
    row.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            row.push(b'"');
        }
        row.push(byte);
    }
    row.push(b'"');
}

/// A number in decimal, without the formatting machinery.
fn digits(number: u32, row: &mut Vec<u8>) {
    let start = row.len();
    let mut rest = number;
    loop {
        // Below ten, so it fits.
        row.push(b'0' + u8::try_from(rest % 10).unwrap_or_default());
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(written) = row.get_mut(start..) {
        written.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 999_999, u32::MAX] {
            let mut row = b"x".to_vec();
            digits(number, &mut row);
            assert_eq!(String::from_utf8(row).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn fields_are_quoted_where_csv_needs_it() {
        for (bytes, csv) in [
            (&b"user 1"[..], &b"user 1"[..]),
            (b"a,b", b"\"a,b\""),
            (b"say \"hi\"", b"\"say \"\"hi\"\"\""),
            (b"a\rb", b"\"a\rb\""),
            (b"\xff\x00", b"\xff\x00"),
        ] {
            let mut row = Vec::new();
            field(bytes, &mut row);
            assert_eq!(row, csv);
        }
    }
}
