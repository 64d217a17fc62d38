//! What is stored about an experiment, as the lines that the analysis reads: segments by day, then the database in the order of
//! arrival.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;

use rusqlite::{Connection, params};
use sidetrack_analysis::Text;

use crate::error::Error;
use crate::schema;
use crate::segment::{Rows, Segment};

/// Rows that are read from the database at once.
const CHUNK: i64 = 5000;

/// The exposures of an experiment at a moment.
#[derive(Clone, Debug)]
pub(crate) struct StoredLog {
    pub(crate) segments: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) experiment: String,
    /// The last row of the moment.
    pub(crate) until: i64,
}

impl Text for StoredLog {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        let lines = self.lines().map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(Reader { lines, rest: Vec::new(), at: 0 }))
    }
}

impl StoredLog {
    pub(crate) fn lines(&self) -> Result<Lines, Error> {
        let segments = Segment::all(&self.segments, Some(&self.experiment))?;
        Ok(Lines {
            log: self.clone(),
            segments: segments.into(),
            rows: None,
            database: schema::reader(&self.database)?,
            last: 0,
            chunk: VecDeque::new(),
        })
    }
}

/// The lines, each with its line break.
pub(crate) struct Lines {
    log: StoredLog,
    segments: VecDeque<Segment>,
    rows: Option<Rows>,
    database: Connection,
    last: i64,
    chunk: VecDeque<String>,
}

impl Lines {
    fn fill(&mut self) -> Result<(), rusqlite::Error> {
        let mut statement = self.database.prepare_cached(
            "SELECT seq, line FROM exposure WHERE seq > ?1 AND seq <= ?2 AND experiment = ?3
             ORDER BY seq LIMIT ?4",
        )?;
        let parameters = params![self.last, self.log.until, self.log.experiment, CHUNK];
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            self.last = row.get(0)?;
            self.chunk.push_back(row.get(1)?);
        }
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(rows) = &mut self.rows {
                match rows.next() {
                    Some(row) => return Some(row.map(|exposure| exposure.line())),
                    None => self.rows = None,
                }
            }
            let Some(segment) = self.segments.pop_front() else { break };
            match segment.read(&self.log.segments) {
                Ok(rows) => self.rows = rows,
                Err(error) => return Some(Err(error)),
            }
        }
        if self.chunk.is_empty()
            && let Err(error) = self.fill()
        {
            return Some(Err(Error::database(&self.log.database)(error)));
        }
        self.chunk.pop_front().map(Ok)
    }
}

struct Reader {
    lines: Lines,
    rest: Vec<u8>,
    at: usize,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.rest.len() {
            self.rest.clear();
            self.at = 0;
            // Many lines at once: each call of the reader has a price.
            while self.rest.len() < buffer.len() {
                match self.lines.next() {
                    Some(Ok(line)) => self.rest.extend_from_slice(line.as_bytes()),
                    Some(Err(error)) => return Err(io::Error::other(error.to_string())),
                    None => break,
                }
            }
        }
        let new = self.rest.get(self.at..).unwrap_or_default();
        let count = new.len().min(buffer.len());
        let (to, from) = (buffer.get_mut(..count), new.get(..count));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}
