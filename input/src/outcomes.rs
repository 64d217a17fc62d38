//! Outcomes from a file of any format.

use std::io::{self, Cursor, Read as _};
use std::path::{Path, PathBuf};

use sidetrack::plan::Experiment;
use sidetrack_analysis::{Count, Error, Outcomes, Part, Wanted, in_words};

use crate::open::Content;
use crate::parquet;

/// Reads files of outcomes, and merges them by their keys: tables, JSON or Parquet, plain, gzip or zstd; `-` is stdin.
///
/// # Errors
/// As [`Outcomes::read`] and [`Outcomes::merge`], and a file that is given twice.
pub fn outcomes(
    paths: &[PathBuf],
    experiment: &Experiment,
    wanted: Wanted<'_>,
) -> Result<Outcomes, Error> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        let name = sidetrack_analysis::file_name(path);
        let same = path.canonicalize().ok();
        let same = same.unwrap_or_else(|| path.clone());
        if seen.contains(&same) {
            let problem = "the file is given twice".to_owned();
            return Err(Error::Input { part: Part::Outcomes(Some(name)), problem });
        }
        seen.push(same);
        files.push((name, read(path, experiment, wanted)?));
    }
    Outcomes::merge(files)
}

fn read(path: &Path, experiment: &Experiment, wanted: Wanted<'_>) -> Result<Outcomes, Error> {
    if path.is_dir() {
        // Which has the words for it.
        return Outcomes::read_with(path, experiment, wanted);
    }
    let name = sidetrack_analysis::file_name(path);
    let fail = |error: io::Error| Error::Read { file: name.clone(), source: in_words(&error) };
    match Content::open(path, &Count::default()).map_err(fail)? {
        Content::Parquet(file) => {
            let (keys, rows) = parquet::objects(file).map_err(|error| Error::Input {
                part: Part::Outcomes(Some(name.clone())),
                problem: error.to_string(),
            })?;
            let mut rows = rows.into_iter().map(Ok);
            Outcomes::of_objects(&mut rows, &keys, &name, experiment, wanted)
        }
        Content::Stream(head, rest) => {
            let text = Box::new(Cursor::new(head).chain(rest));
            Outcomes::of_text(text, &name, experiment, wanted)
        }
    }
}
