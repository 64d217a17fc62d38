//! Outcomes, and other tables, from a file of any format.

use std::io::{self, Cursor, Read};
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
    match open(path, &name)? {
        Rows::Objects(keys, rows) => {
            Outcomes::of_objects(&mut rows.into_iter().map(Ok), &keys, &name, experiment, wanted)
        }
        Rows::Text(text) => Outcomes::of_text(text, &name, experiment, wanted),
    }
}

/// The rows of a table of any format as text: as they are, or those of Parquet as JSON, a line each. `-` is stdin.
///
/// # Errors
/// A file that cannot be read.
pub fn table(path: &Path) -> Result<Box<dyn Read>, Error> {
    Ok(match open(path, &sidetrack_analysis::file_name(path))? {
        Rows::Objects(_, rows) => Box::new(Cursor::new(rows.join("\n"))),
        Rows::Text(text) => text,
    })
}

/// The rows of a file.
enum Rows {
    /// The columns of Parquet, and each row as a JSON object.
    Objects(Vec<String>, Vec<String>),
    /// All else.
    Text(Box<dyn Read>),
}

fn open(path: &Path, name: &str) -> Result<Rows, Error> {
    let fail = |error: io::Error| Error::Read { file: name.to_owned(), source: in_words(&error) };
    match Content::open(path, &Count::default()).map_err(fail)? {
        Content::Parquet(file) => {
            let (keys, rows) = parquet::objects(file).map_err(|error| Error::Input {
                part: Part::Outcomes(Some(name.to_owned())),
                problem: error.to_string(),
            })?;
            Ok(Rows::Objects(keys, rows))
        }
        Content::Stream(head, rest) => Ok(Rows::Text(Box::new(Cursor::new(head).chain(rest)))),
    }
}
