//! `sidetrack assign`: the bucket and the variant of each unit in a list.
//!
//! Reads a line and writes a line through buffers that are reused: nothing is allocated per unit.

use std::io::{self, BufRead, BufReader, Write};

use clap::Args as Arguments;
use sidetrack::plan::{Assignment, Experiment};

use crate::exit::ExitStatus;
use crate::fault::Fault;
use crate::load::{File, chosen, count, load};
use crate::moment::Moment;
use crate::out::{Ink, Out};
use crate::words::{phase, variant};
use sidetrack::roster::{Place, Roster};

/// Bytes that are read and written at once.
const BUFFER: usize = 1 << 18;

/// Assign a list of units: a unit per line on stdin, CSV on stdout
///
/// The columns are unit, bucket, variant and phase. The bucket is empty where no draw happens: for a unit in
/// overrides.units, and while the experiment is disabled or has not started. A unit outside the experiment's slots of its
/// layer does not take part: its bucket and variant are empty. Empty lines are skipped. Breakers are live state of a proxy
/// and are not considered.
#[derive(Arguments)]
#[command(
    after_help = "Example:\n  cut -d, -f1 users.csv | sidetrack assign experiment.yaml > assigned.csv"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// The experiment; required if the file has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    #[command(flatten)]
    moment: Moment,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitStatus> {
    anyhow::ensure!(
        args.file.file.as_os_str() != "-",
        "the experiment file must be a path, because stdin holds the units"
    );
    let plan = load(&args.file.file)?.plan;
    let experiment = chosen(&plan, args.experiment.as_deref())?;
    if experiment.assignment == Assignment::RequestRandom {
        let name = &experiment.name;
        return Err(Fault(format!(
            "{name} assigns each request at random (request_random), so units have no variant"
        ))
        .into());
    }
    let roster = Roster::new(experiment, args.moment.get());
    let empty = write(experiment, &roster, io::stdin().lock(), out)?;
    if empty > 0 {
        out.finish()?;
        let lines = count(usize::try_from(empty).unwrap_or(usize::MAX), "empty line");
        writeln!(io::stderr().lock(), "{} skipped {lines}", Ink::stderr().note("note:")).ok();
    }
    Ok(ExitStatus::Success)
}

/// Assigns line by line; returns how many lines were empty.
fn write(
    experiment: &Experiment,
    roster: &Roster<'_>,
    input: impl io::Read,
    out: &mut impl Write,
) -> io::Result<u64> {
    let phase = roster.phase.and_then(|index| phase(experiment, index)).unwrap_or_default();
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut rows = csv::WriterBuilder::new().buffer_capacity(BUFFER).from_writer(out);
    let (mut line, mut digits) = (Vec::with_capacity(256), itoa::Buffer::new());
    let mut empty = 0;
    rows.write_record(["unit", "bucket", "variant", "phase"]).map_err(plain)?;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            rows.flush()?;
            return Ok(empty);
        }
        let unit = line.strip_suffix(b"\n").unwrap_or(&line);
        let unit = unit.strip_suffix(b"\r").unwrap_or(unit);
        if unit.is_empty() {
            empty += 1;
            continue;
        }
        let (bucket, name) = match roster.place(unit) {
            Place::Excluded => ("", ""),
            Place::Variant(index, bucket) => {
                let bucket = bucket.map_or("", |bucket| digits.format(bucket.get()));
                (bucket, variant(experiment, index))
            }
        };
        rows.write_field(unit).map_err(plain)?;
        rows.write_field(bucket).map_err(plain)?;
        rows.write_field(name).map_err(plain)?;
        rows.write_field(phase).map_err(plain)?;
        rows.write_record(None::<&[u8]>).map_err(plain)?;
    }
}

/// The I/O error inside a CSV error, so that a closed pipe is recognized.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
