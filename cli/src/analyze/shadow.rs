//! `sidetrack analyze shadow`: the mirror's predictions beside the baseline's, before the candidate serves a user.

mod report;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as Arguments;
use sidetrack_analysis::shadow::{ShadowSettings, State, shadow};
use sidetrack_analysis::source::exposed::Exposures;
use sidetrack_analysis::{Cells, Error};
use sidetrack_store::{Catalog, ExperimentFile};

use super::run::{exposures, mistake};
use crate::fault::Fault;
use crate::load::{File, Loaded, Source, chosen};
use crate::out::Out;
use crate::serve::fault;
use crate::words::visible;
use crate::{served, store};

/// Compare the mirror's predictions with the baseline's, request by request
///
/// Both models report what they predicted, with the request id that they received. The command pairs the
/// predictions and reports agreement, differences, latency, errors and the worst disagreements. It changes
/// nothing and promotes nothing: that the mirror agrees does not show that it is better.
#[derive(Arguments)]
#[command(
    after_help = "A prediction has `request_id`, `source` (baseline or mirror), and any values.\n\
    Columns of text are classes, as are whole numbers in `prediction`, `label` or\n\
    `class`; other numbers are scores; `latency` and `status` are what they say.\n\
    A `unit` makes the intervals those of users.\n\n\
    Examples:\n  sidetrack analyze shadow experiment.yaml --predictions predictions.ndjson\n  \
    sidetrack analyze shadow experiment.yaml --store http://127.0.0.1:8088 \\\n    --exposures access.log"
)]
pub(crate) struct Args {
    #[command(flatten)]
    file: File,
    /// Which experiment of the file; required if it has several
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Predictions: CSV with a header, JSON or Parquet, plain, gzip or zstd; "-" reads stdin
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "store")]
    predictions: Vec<PathBuf>,
    /// The address of a `sidetrack serve` that has the predictions; a token comes from the variable
    /// SIDETRACK_STORE_TOKEN. Or the folder of a store that no process uses
    #[arg(long, value_name = "URL|DIR", conflicts_with = "predictions")]
    store: Option<String>,
    /// Access logs, which know the units of the requests
    #[arg(long, value_name = "LOG", num_args = 1..)]
    exposures: Vec<PathBuf>,
    /// How many of the worst disagreements to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: usize,
    /// The largest share of requests, in percent, that may lack the prediction of one side
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    max_missing: f64,
    /// The least agreement of classes, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_agreement: Option<f64>,
    /// The level of significance
    #[arg(long, value_name = "A", default_value_t = sidetrack_analysis::ALPHA)]
    alpha: f64,
    /// Exit with 3 below --min-agreement, with 4 if more pairs are needed to know
    #[arg(long, requires = "min_agreement")]
    exit_code: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut Out) -> anyhow::Result<ExitCode> {
    let source = Source::read(&args.file.file)?;
    let loaded = source.good()?;
    let experiment = chosen(&loaded.plan, args.experiment.as_deref())?.clone();
    let mut units = HashMap::new();
    if !args.exposures.is_empty() {
        let logs = exposures::read(&args.exposures)?;
        let read = Exposures::read(&logs, &experiment, None, &[]).map_err(mistake)?;
        let known = read.requests.into_iter();
        units.extend(known.filter_map(|(request, exposed)| Some((request, exposed.unit?))));
    }
    let mut cells = Cells::default();
    let mut option = "--predictions";
    exposures::cells(&mut cells, option, &args.predictions)?;
    if let Some(from) = &args.store {
        option = "--store";
        let rows = stored(from, &source, loaded, &experiment.name)?;
        if rows.is_empty() {
            let name = &experiment.name;
            return Err(Fault(format!(
                "--store: it has no predictions of {name}\n  \
                 hint: both models send theirs to POST /v1/predictions, with the request_id and the source \
                 (baseline or mirror)"
            ))
            .into());
        }
        cells.read_bytes(rows, from).map_err(|error| in_words(option, error))?;
    }
    let settings = ShadowSettings {
        alpha: super::fraction("--alpha", args.alpha)?,
        worst: args.worst,
        most_missing: args.max_missing,
        least_agreement: args.min_agreement,
    };
    let found = shadow(&experiment.name, &cells, &units, &settings);
    let found = found.map_err(|error| in_words(option, error))?;
    if args.json {
        out.json(&found)?;
    } else {
        report::print(&found, &experiment, &args.file.file, out)?;
    }
    Ok(match found.state() {
        State::Blocking => ExitCode::from(1),
        State::Exceeded if args.exit_code => ExitCode::from(3),
        State::Unclear if args.exit_code => ExitCode::from(4),
        State::Exceeded | State::Unclear | State::Warning | State::Ok => ExitCode::SUCCESS,
    })
}

/// The predictions of a store, one to a line.
fn stored(from: &str, source: &Source, loaded: Loaded, name: &str) -> anyhow::Result<Vec<u8>> {
    if served::is_folder(from) {
        let Loaded { plan, analyses, .. } = loaded;
        let text = String::from_utf8_lossy(source.bytes()).into_owned();
        let catalog = Catalog::new(vec![ExperimentFile { plan, analyses, text }]).map_err(fault)?;
        let store = store::open_alone(Path::new(from), catalog)?;
        let rows = store.predictions(name).map_err(fault)?;
        store.close();
        return Ok(rows);
    }
    let page = served::read(from, &format!("/v1/experiments/{name}/predictions?format=ndjson"))?;
    anyhow::ensure!(
        page.status.is_success(),
        "{}: status {}\n  {}",
        page.call,
        page.status,
        served::HINT
    );
    Ok(page.text.into_bytes())
}

/// A mistake in a table is a [`Fault`] and names the option.
pub(super) fn in_words(option: &str, error: Error) -> anyhow::Error {
    match error {
        Error::Input { part: sidetrack_analysis::Part::Outcomes(file), problem } => {
            let file = file.map(|file| format!(" {}", visible(&file))).unwrap_or_default();
            Fault(format!("{option}{file}: {problem}")).into()
        }
        error => mistake(error),
    }
}

/// A percentage as a share.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse::<f64>().ok();
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number.map(|number| number / 100.0).ok_or_else(|| "expected a percentage, 0 to 100".to_owned())
}
