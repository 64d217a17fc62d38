//! `--exposures` and `--outcomes`: files, folders and patterns, of any format.

use std::path::PathBuf;

use sidetrack::plan::Experiment;
use sidetrack_analysis::{Cells, LlmSource, Logs, Outcomes, Wanted};
use sidetrack_input::{Mistake, expand, logs};

use super::mistake::mistake;
use crate::analyze::shadow::in_words;
use crate::fault::Fault;

/// The logs that these paths stand for.
///
/// # Errors
///
/// A folder or a file that cannot be read, or a path that stands for none.
pub(in crate::analyze) fn read(given: &[PathBuf]) -> anyhow::Result<Logs> {
    logs(&files("--exposures", given)?).map_err(mistake)
}

/// The outcomes in these files; `None` if none are given.
///
/// # Errors
///
/// A file that cannot be read, or files that contradict each other.
pub(super) fn outcomes(
    given: &[PathBuf],
    experiment: &Experiment,
    wanted: Wanted<'_>,
) -> anyhow::Result<Option<Outcomes>> {
    // A folder of outcomes may have anything, so it is not searched.
    let (folders, others): (Vec<PathBuf>, Vec<PathBuf>) =
        given.iter().cloned().partition(|path| path.is_dir());
    let files = [folders, files("--outcomes", &others)?].concat();
    if files.is_empty() {
        return Ok(None);
    }
    sidetrack_input::outcomes(&files, experiment, wanted).map(Some).map_err(mistake)
}

/// Adds the rows of these files.
///
/// # Errors
///
/// A file that cannot be read, or a path that stands for none.
pub(in crate::analyze) fn cells(
    cells: &mut Cells,
    option: &str,
    given: &[PathBuf],
) -> anyhow::Result<()> {
    for path in files(option, given)? {
        let name = sidetrack_analysis::file_name(&path);
        let read = sidetrack_input::table(&path).and_then(|text| cells.read(text, &name));
        read.map_err(|error| in_words(option, error))?;
    }
    Ok(())
}

/// The outcomes with the metrics of language models that the log has.
///
/// # Errors
///
/// As [`LlmSource::extend`].
pub(super) fn with_llm(
    outcomes: Option<Outcomes>,
    source: LlmSource<'_>,
) -> anyhow::Result<Option<Outcomes>> {
    source.extend(outcomes).map_err(mistake)
}

fn files(option: &str, given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    expand(given).map_err(|error| match error {
        Mistake::Folder(name, error) => {
            let context = format!("{option}: cannot read the folder {name}");
            anyhow::Error::from(error).context(context)
        }
        Mistake::Words(words) => Fault(format!("{option} {words}")).into(),
    })
}
