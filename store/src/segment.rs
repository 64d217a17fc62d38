//! Segments: the exposures of an experiment, a trial and a day, as a Parquet file that any engine reads.
//!
//! `exposures/experiment=NAME/trial=HEX/2026-11-30.parquet`, with a column for each field of the log. A segment is written to a
//! temporary file, synced and renamed, so readers never see a part of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use sidetrack::names::log;
use sidetrack::quantity::Timestamp;

use crate::error::Error;
use crate::exposure::{Exposure, FIELDS, NUMBERS};
use crate::schema::sync;

/// Rows of a group, which is what a reader has in memory.
const GROUP: usize = 20_000;
/// The folder of lines without a trial, of older versions.
const NO_TRIAL: &str = "none";
/// Milliseconds of a day.
pub(crate) const DAY: u64 = 86_400_000;

/// Where a segment is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// Days since 1970.
    pub(crate) day: u64,
    pub(crate) experiment: String,
    pub(crate) trial: String,
}

impl Segment {
    pub(crate) fn path(&self, folder: &Path) -> PathBuf {
        let trial = if self.trial.is_empty() { NO_TRIAL } else { &self.trial };
        let day = Timestamp::new(self.day * DAY).to_string();
        let day = day.get(..10).unwrap_or_default();
        folder
            .join(format!("experiment={}", self.experiment))
            .join(format!("trial={trial}"))
            .join(format!("{day}.parquet"))
    }

    fn of(path: &Path) -> Option<Self> {
        let text = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let day = text(path)?.strip_suffix(".parquet")?.to_owned();
        let day = Timestamp::parse(&format!("{day}T00:00:00Z"))?.get() / DAY;
        let trial = text(path.parent()?)?.strip_prefix("trial=")?.to_owned();
        let experiment = text(path.parent()?.parent()?)?.strip_prefix("experiment=")?.to_owned();
        let trial = if trial == NO_TRIAL { String::new() } else { trial };
        Some(Self { day, experiment, trial })
    }

    /// All segments of the folder, by day; of one experiment, if one is given.
    pub(crate) fn all(folder: &Path, experiment: Option<&str>) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let path = entry.map_err(Error::io(&folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(segment) = Self::of(&path) {
                    found.push(segment);
                }
            }
        }
        found.retain(|segment| experiment.is_none_or(|name| segment.experiment == name));
        found.sort();
        Ok(found)
    }

    /// Writes the segment to a temporary file. It takes the place of an earlier one when it is published.
    pub(crate) fn write(
        &self,
        folder: &Path,
        rows: impl Iterator<Item = Result<Exposure, Error>>,
    ) -> Result<Written, Error> {
        let path = self.path(folder);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let temporary = path.with_extension("writing");
        let written = Written { temporary, path, folder: folder.to_owned() };
        write(&written.temporary, rows).map(|()| written)
    }

    /// How many exposures it has, by its footer.
    pub(crate) fn count(&self, folder: &Path) -> Result<i64, Error> {
        let rows = self.read(folder)?;
        Ok(rows.map_or(0, |rows| rows.reader.metadata().file_metadata().num_rows()))
    }

    /// Opens the segment, if it exists.
    pub(crate) fn read(&self, folder: &Path) -> Result<Option<Rows>, Error> {
        let path = self.path(folder);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path)(error)),
            Ok(file) => {
                let reader = SerializedFileReader::new(file).map_err(damaged(&path))?;
                Ok(Some(Rows { path, reader, group: 0, rows: Vec::new().into_iter() }))
            }
        }
    }
}

/// A segment that is not published yet.
pub(crate) struct Written {
    temporary: PathBuf,
    path: PathBuf,
    folder: PathBuf,
}

impl Written {
    /// Puts the segment in its place, durably.
    pub(crate) fn publish(self) -> Result<(), Error> {
        fs::rename(&self.temporary, &self.path).map_err(Error::io(&self.path))?;
        let folders = self.path.ancestors().skip(1).take(3);
        for folder in folders.take_while(|folder| folder.starts_with(&self.folder)) {
            sync(folder)?;
        }
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Gone after a rename; a rest is overwritten by the next attempt.
        fs::remove_file(&self.temporary).ok();
    }
}

fn damaged(path: &Path) -> impl Fn(ParquetError) -> Error {
    let file = path.to_owned();
    move |error| Error::Damaged { file: file.clone(), problem: error.to_string() }
}

/// An error while writing: the disk may be full.
fn failed(path: &Path) -> impl Fn(ParquetError) -> Error {
    let path = path.to_owned();
    move |error| match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => Error::io(&path)(*error),
            Err(other) => Error::io(&path)(io::Error::other(other.to_string())),
        },
        other => Error::io(&path)(io::Error::other(other.to_string())),
    }
}

fn schema() -> String {
    let columns = FIELDS.iter().map(|field| match *field {
        log::TIME => format!("REQUIRED INT64 {field} (TIMESTAMP(MILLIS,true));"),
        number if NUMBERS.contains(&number) => format!("OPTIONAL INT64 {field};"),
        _ => format!("OPTIONAL BYTE_ARRAY {field} (STRING);"),
    });
    format!("message exposure {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

fn write(path: &Path, rows: impl Iterator<Item = Result<Exposure, Error>>) -> Result<(), Error> {
    let fail = failed(path);
    let file = File::create(path).map_err(Error::io(path))?;
    let synced = file.try_clone().map_err(Error::io(path))?;
    let schema = parse_message_type(&schema()).map_err(&fail)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(&fail)?;
    let mut group = Vec::new();
    for row in rows {
        group.push(row?);
        if group.len() == GROUP {
            write_group(&mut writer, &group).map_err(&fail)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        write_group(&mut writer, &group).map_err(&fail)?;
    }
    writer.close().map_err(&fail)?;
    synced.sync_all().map_err(Error::io(path))
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    rows: &[Exposure],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    let mut fields = FIELDS.iter();
    while let Some(mut column) = group.next_column()? {
        let Some(field) = fields.next() else { break };
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.get(field).is_some())).collect();
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(column) if *field == log::TIME => {
                let times: Vec<i64> =
                    rows.iter().map(|row| crate::writer::time(row.time)).collect();
                column.write_batch(&times, None, None)?;
            }
            ColumnWriter::Int64ColumnWriter(column) => {
                let values: Vec<i64> = rows
                    .iter()
                    .filter_map(|row| row.get(field))
                    .map(|text| text.parse().unwrap_or(i64::MAX))
                    .collect();
                column.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let values: Vec<ByteArray> =
                    rows.iter().filter_map(|row| row.get(field)).map(ByteArray::from).collect();
                column.write_batch(&values, Some(&levels), None)?;
            }
            _ => return Err(ParquetError::General(format!("unexpected type of {field}"))),
        }
        column.close()?;
    }
    group.close()?;
    Ok(())
}

/// The rows of a segment, in the order in which they arrived.
pub(crate) struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    group: usize,
    rows: std::vec::IntoIter<Exposure>,
}

impl Iterator for Rows {
    type Item = Result<Exposure, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            if self.group >= self.reader.num_row_groups() {
                return None;
            }
            let rows = self.reader.get_row_group(self.group).and_then(|group| read_group(&*group));
            self.group += 1;
            match rows {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => {
                    self.group = usize::MAX;
                    return Some(Err(damaged(&self.path)(error)));
                }
            }
        }
    }
}

fn read_group(group: &dyn RowGroupReader) -> Result<Vec<Exposure>, ParquetError> {
    let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut times = Vec::new();
    let mut rows: Vec<[Option<String>; FIELDS.len()]> = Vec::new();
    rows.resize_with(count, Default::default);
    let columns = group.metadata().schema_descr().num_columns();
    for index in 0..columns {
        let name = group.metadata().schema_descr().column(index).name().to_owned();
        // A column of a newer version.
        let Some(at) = FIELDS.iter().position(|field| *field == name) else { continue };
        let mut levels = Vec::new();
        let values: Vec<String> = match group.get_column_reader(index)? {
            ColumnReader::Int64ColumnReader(mut column) => {
                let mut values = Vec::new();
                while column.read_records(count, Some(&mut levels), None, &mut values)?.0 > 0 {}
                if name == log::TIME {
                    times = values;
                    continue;
                }
                values.iter().map(i64::to_string).collect()
            }
            ColumnReader::ByteArrayColumnReader(mut column) => {
                let mut values: Vec<ByteArray> = Vec::new();
                while column.read_records(count, Some(&mut levels), None, &mut values)?.0 > 0 {}
                values
                    .iter()
                    .map(|value| value.as_utf8().map(str::to_owned))
                    .collect::<Result<_, _>>()?
            }
            _ => return Err(ParquetError::General(format!("unexpected type of {name}"))),
        };
        let mut values = values.into_iter();
        for (row, level) in rows.iter_mut().zip(levels) {
            if level > 0
                && let Some(slot) = row.get_mut(at)
            {
                *slot = values.next();
            }
        }
    }
    if times.len() != count {
        return Err(ParquetError::General(format!("{} times of {count} rows", times.len())));
    }
    let exposures = times.into_iter().zip(rows).map(|(time, mut values)| {
        let time = u64::try_from(time).unwrap_or(0);
        if let Some(slot) = values.first_mut() {
            *slot = Some(Timestamp::new(time).to_string());
        }
        Exposure::stored(time, &values)
    });
    Ok(exposures.collect())
}

#[cfg(test)]
mod tests;
