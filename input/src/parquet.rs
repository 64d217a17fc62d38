//! Parquet: exposures by column, a row group per thread; and tables of outcomes.
//!
//! Only the columns are read that the analysis needs, a few thousand rows at once, whatever the size of a row group. Rows of
//! a group that cannot be decoded are lost one by one, so that they are counted.

mod alike;
mod cells;
mod file;

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value as Json;
use sidetrack::names::log;
use sidetrack_analysis::{Count, Damage, Entry, Opened, Record, Records, Slot, Value};

use alike::Alike;
use cells::{Cell, Cells, Column, Kind};
use file::Shared;

/// Rows that are decoded at once.
const ROWS: usize = 4096;
/// Values of folders that stand for none.
const NO_VALUES: [&str; 2] = ["none", "__HIVE_DEFAULT_PARTITION__"];

type Reader = SerializedFileReader<Shared>;

/// A column that is read.
#[derive(Clone, Debug)]
struct Wanted {
    at: usize,
    name: String,
    kind: Kind,
    /// Some rows may have no value.
    is_optional: bool,
    /// Where the analysis reads it.
    slot: Option<Slot>,
}

fn open(file: File) -> io::Result<Arc<Reader>> {
    let file = Shared::new(file)?;
    let reader = sound(|| SerializedFileReader::new(file)).map_err(|error| match error {
        ParquetError::EOF(_) => broken("the Parquet file breaks off"),
        error => {
            let problem = error.to_string();
            let is_cut = problem.contains("footer") || problem.contains("magic");
            broken(if is_cut {
                "the Parquet file breaks off"
            } else {
                "the Parquet file is damaged"
            })
        }
    })?;
    Ok(Arc::new(reader))
}

/// What the decoder returns. Of damaged data, it may panic.
fn sound<T>(decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ParquetError::General("the data is damaged".to_owned())))
}

/// An error that ends the reading of all files, since nothing of this one is known.
fn broken(words: &str) -> io::Error {
    io::Error::other(words.to_owned())
}

/// The columns with a name that is wanted.
fn columns(reader: &Reader, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Wanted>> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut found = Vec::new();
    for (at, column) in schema.columns().iter().enumerate() {
        let name = column.name();
        if !is_plain(column) || !wanted(name) {
            continue;
        }
        let kind = Kind::of(column).ok_or_else(|| {
            broken(&format!(
                "the column {name} of type {:?} cannot be read",
                column.physical_type()
            ))
        })?;
        let is_optional = column.max_def_level() > 0;
        let slot = Slot::of(name);
        found.push(Wanted { at, name: name.to_owned(), kind, is_optional, slot });
    }
    Ok(found)
}

/// Neither a list nor a part of another column.
fn is_plain(column: &ColumnDescriptor) -> bool {
    column.path().parts().len() == 1 && column.max_rep_level() == 0
}

/// The exposures of a file. `key=value` in the names of its folders are fields, unless the file has them.
pub(crate) fn exposures(file: File, path: &Path, count: &Count) -> io::Result<Opened> {
    let reader = open(file)?;
    let columns = columns(&reader, |name| Slot::of(name).is_some())?;
    let folders: Vec<(String, String)> = partitions(path)
        .filter(|(name, _)| Slot::of(name).is_some() && !columns.iter().any(|it| it.name == *name))
        .collect();
    let has = |name: &str| {
        columns.iter().any(|it| it.name == name) || folders.iter().any(|(it, _)| it == name)
    };
    if !has(log::EXPERIMENT) {
        let schema = reader.metadata().file_metadata().schema_descr();
        let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
        return Err(broken(&format!(
            "the Parquet file has no column {}; it has: {}",
            log::EXPERIMENT,
            names.join(", ")
        )));
    }
    let (columns, folders, count) = (Arc::new(columns), Arc::new(folders), count.clone());
    let mut first = 1;
    let groups = (0..reader.num_row_groups()).map(move |group| {
        let about = reader.metadata().row_group(group);
        let rows = u64::try_from(about.num_rows()).unwrap_or(0);
        count.add(u64::try_from(about.compressed_size()).unwrap_or(0));
        let part = Group {
            reader: Arc::clone(&reader),
            group,
            first,
            rows,
            columns: Arc::clone(&columns),
            folders: Arc::clone(&folders),
        };
        first += rows;
        Ok(Box::new(part) as Box<dyn Records>)
    });
    Ok(Opened::Records(Box::new(groups)))
}

/// `key=value` in the names of folders, as Hive, Spark and DuckDB write them.
fn partitions(path: &Path) -> impl Iterator<Item = (String, String)> {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let names = folders.map(|part| part.as_os_str().to_string_lossy().into_owned());
    let pairs = names.filter_map(|name| {
        let (key, value) = name.split_once('=')?;
        Some((key.to_owned(), unescaped(value)))
    });
    pairs.filter(|(_, value)| !NO_VALUES.contains(&value.as_str()))
}

/// A value without the `%2F` that stand for letters which names of folders cannot have.
fn unescaped(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A row group.
struct Group {
    reader: Arc<Reader>,
    group: usize,
    /// The number of its first row.
    first: u64,
    rows: u64,
    columns: Arc<Vec<Wanted>>,
    folders: Arc<Vec<(String, String)>>,
}

impl Records for Group {
    fn read(&self, take: &mut dyn FnMut(u64, Entry<'_>) -> bool) {
        let mut next = self.first;
        let mut more = true;
        let mut alike = Alike::new(&self.columns);
        let read = rows(&self.reader, self.group, &self.columns, &mut |cells| {
            more = take(next, self.entry(cells, alike.number(cells)));
            next += 1;
            more
        });
        let end = self.first + self.rows;
        if more && (read.is_err() || next < end) {
            for number in next..end {
                let lost = "the row group of the Parquet file is damaged".to_owned();
                if !take(number, Entry::Lost(lost)) {
                    return;
                }
            }
        }
    }
}

impl Group {
    fn entry<'c>(&'c self, cells: &[Cell<'c>], alike: Option<u64>) -> Entry<'c> {
        let mut record = Record::default();
        alike.into_iter().for_each(|number| record.set_alike(number));
        for (column, cell) in self.columns.iter().zip(cells) {
            let Ok(value) = cell.value() else {
                return Entry::Lost(format!("{}: not UTF-8 text", column.name));
            };
            let Some(slot) = column.slot else { continue };
            if let Err(problem) = record.put(slot, value) {
                return Entry::Lost(problem);
            }
        }
        for (name, value) in self.folders.iter() {
            // The file has no such column.
            record.set(name, Value::Text(value.into())).ok();
        }
        Entry::Fields(record)
    }
}

/// Gives the cells of each row of a group, until one is refused.
fn rows(
    reader: &Reader,
    group: usize,
    wanted: &[Wanted],
    take: &mut dyn FnMut(&[Cell<'_>]) -> bool,
) -> Result<(), ParquetError> {
    let about = reader.metadata().row_group(group);
    // The reader panics at places before the file.
    let is_sound = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        start >= 0 && column.compressed_size() >= 0
    };
    if !about.columns().iter().all(is_sound) {
        return Err(ParquetError::General("a column without a place".to_owned()));
    }
    let group = reader.get_row_group(group)?;
    let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut columns = Vec::with_capacity(wanted.len());
    for column in wanted {
        let reader = sound(|| group.get_column_reader(column.at))?;
        columns.push(Column::new(reader, column.kind, column.is_optional));
    }
    while left > 0 {
        let count = left.min(ROWS);
        for column in &mut columns {
            sound(|| column.read(count))?;
        }
        left -= count;
        let mut readers: Vec<_> = columns.iter().map(Column::cells).collect();
        let mut cells = Vec::with_capacity(wanted.len());
        for _ in 0..count {
            cells.clear();
            cells.extend(readers.iter_mut().map(Cells::take));
            if !take(&cells) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The names of the columns of a table, and its rows as objects of JSON.
///
/// # Errors
/// The file is damaged, or a column has a type that is no value.
pub(crate) fn objects(file: File) -> io::Result<(Vec<String>, Vec<String>)> {
    let reader = open(file)?;
    let columns = columns(&reader, |_| true)?;
    let mut all = Vec::new();
    for group in 0..reader.num_row_groups() {
        rows(&reader, group, &columns, &mut |cells| {
            // By hand, as a map would not keep the order of the columns.
            let mut row = String::from("{");
            for (column, cell) in columns.iter().zip(cells) {
                let comma = if row.len() > 1 { "," } else { "" };
                let name = Json::String(column.name.clone());
                // Writing to a text cannot fail.
                write!(row, "{comma}{name}:{}", cell.json()).ok();
            }
            row.push('}');
            all.push(row);
            true
        })
        .map_err(|_| Damage::error("the Parquet file is damaged"))?;
    }
    Ok((columns.into_iter().map(|column| column.name).collect(), all))
}
