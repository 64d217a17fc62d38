//! Cells of Parquet columns: the physical and logical types that exposures and outcomes may have, as values.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::Utf8Error;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value as Json;
use sidetrack_analysis::Value;

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Signed,
    Unsigned,
    /// A time, so many of whose units are a millisecond.
    Time(i64),
    /// A number with so many decimals.
    Decimal(i32),
    Float,
    Flag,
    Uuid,
}

impl Kind {
    /// `None`: a type that is no value.
    pub(super) fn of(column: &ColumnDescriptor) -> Option<Self> {
        let logical = column.logical_type_ref();
        Some(match (column.physical_type(), logical, column.converted_type()) {
            (
                Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY,
                Some(LogicalType::Decimal { .. }),
                _,
            )
            | (Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY, _, ConvertedType::DECIMAL) => {
                Self::Decimal(column.type_scale())
            }
            (Type::BYTE_ARRAY, ..) => Self::Text,
            (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), _) => Self::Uuid,
            (Type::BOOLEAN, ..) => Self::Flag,
            (Type::FLOAT | Type::DOUBLE, ..) => Self::Float,
            (Type::INT96, ..) => Self::Time(1),
            (Type::FIXED_LEN_BYTE_ARRAY, ..) => return None,
            (_, Some(LogicalType::Timestamp(time)), _) => match time.unit {
                TimeUnit::MILLIS => Self::Time(1),
                TimeUnit::MICROS => Self::Time(1000),
                TimeUnit::NANOS => Self::Time(1_000_000),
            },
            (_, _, ConvertedType::TIMESTAMP_MILLIS) => Self::Time(1),
            (_, _, ConvertedType::TIMESTAMP_MICROS) => Self::Time(1000),
            (_, _, ConvertedType::DECIMAL) => Self::Decimal(column.type_scale()),
            (
                _,
                _,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Self::Unsigned,
            (Type::INT32 | Type::INT64, ..) => Self::Signed,
        })
    }
}

/// A column of a row group that is being read.
pub(super) struct Column {
    reader: ColumnReader,
    kind: Kind,
    is_optional: bool,
    levels: Vec<i16>,
    values: Values,
}

/// Values of rows that have one.
enum Values {
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Flags(Vec<bool>),
}

/// Reads so many records of a typed column.
macro_rules! read {
    ($reader:expr, $values:expr, $levels:expr, $count:expr) => {{
        $values.clear();
        let mut done = 0;
        while done < $count {
            let levels = $levels.as_mut().map(|levels| &mut **levels);
            let (records, ..) = $reader.read_records($count - done, levels, None, $values)?;
            if records == 0 {
                return Err(ParquetError::EOF("a column ends before the row group".to_owned()));
            }
            done += records;
        }
    }};
}

impl Column {
    pub(super) fn new(reader: ColumnReader, kind: Kind, is_optional: bool) -> Self {
        let values = match &reader {
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::BoolColumnReader(_) => Values::Flags(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Self { reader, kind, is_optional, levels: Vec::new(), values }
    }

    /// Reads the cells of so many rows.
    ///
    /// # Errors
    /// The data is damaged.
    pub(super) fn read(&mut self, count: usize) -> Result<(), ParquetError> {
        self.levels.clear();
        let mut levels = self.is_optional.then_some(&mut self.levels);
        match (&mut self.reader, &mut self.values) {
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::Int96ColumnReader(reader), Values::Int96(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                read!(reader, values, levels, count);
            }
            (ColumnReader::BoolColumnReader(reader), Values::Flags(values)) => {
                read!(reader, values, levels, count);
            }
            _ => return Err(ParquetError::General("unexpected type of a column".to_owned())),
        }
        Ok(())
    }

    /// The cells of the rows that were read last.
    pub(super) fn cells(&self) -> Cells<'_> {
        Cells { column: self, row: 0, value: 0 }
    }

    fn cell(&self, at: usize) -> Cell<'_> {
        match &self.values {
            Values::Bytes(values) => {
                values.get(at).map_or(Cell::Nothing, |bytes| self.bytes(bytes.data()))
            }
            Values::Fixed(values) => {
                values.get(at).map_or(Cell::Nothing, |bytes| self.bytes(bytes.data()))
            }
            Values::Int32(values) => self.integer(values.get(at).map(|value| i64::from(*value))),
            Values::Int64(values) => self.integer(values.get(at).copied()),
            Values::Int96(values) => self.integer(values.get(at).map(Int96::to_millis)),
            Values::Float(values) => {
                values.get(at).map_or(Cell::Nothing, |value| Cell::Float(f64::from(*value)))
            }
            Values::Double(values) => {
                values.get(at).map_or(Cell::Nothing, |value| Cell::Float(*value))
            }
            Values::Flags(values) => {
                values.get(at).map_or(Cell::Nothing, |value| Cell::Flag(*value))
            }
        }
    }

    fn bytes<'b>(&self, bytes: &'b [u8]) -> Cell<'b> {
        match self.kind {
            Kind::Uuid => Cell::Uuid(bytes),
            Kind::Decimal(scale) => Cell::Float(whole(bytes) / 10f64.powi(scale)),
            _ => Cell::Text(bytes),
        }
    }

    fn integer(&self, value: Option<i64>) -> Cell<'_> {
        let Some(value) = value else { return Cell::Nothing };
        match self.kind {
            Kind::Unsigned if matches!(self.values, Values::Int32(_)) => {
                Cell::Unsigned(value.cast_unsigned() & u64::from(u32::MAX))
            }
            Kind::Unsigned => Cell::Unsigned(value.cast_unsigned()),
            Kind::Time(unit) => Cell::Signed(value.div_euclid(unit)),
            #[expect(clippy::cast_precision_loss, reason = "decimals are compared as numbers")]
            Kind::Decimal(scale) => Cell::Float(value as f64 / 10f64.powi(scale)),
            Kind::Text | Kind::Signed | Kind::Float | Kind::Flag | Kind::Uuid => {
                Cell::Signed(value)
            }
        }
    }
}

/// A number of any length in two's complement, the most significant byte first.
fn whole(bytes: &[u8]) -> f64 {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1.0 } else { 0.0 };
    bytes.iter().fold(sign, |number, byte| number * 256.0 + f64::from(*byte))
}

/// Sixteen bytes as they are usually written.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The cells of a column, row by row.
pub(super) struct Cells<'c> {
    column: &'c Column,
    row: usize,
    value: usize,
}

impl<'c> Cells<'c> {
    /// The cell of the next row.
    pub(super) fn take(&mut self) -> Cell<'c> {
        let has = !self.column.is_optional
            || self.column.levels.get(self.row).is_some_and(|level| *level > 0);
        self.row += 1;
        if !has {
            return Cell::Nothing;
        }
        self.value += 1;
        self.column.cell(self.value - 1)
    }
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'c> {
    Nothing,
    Text(&'c [u8]),
    Uuid(&'c [u8]),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
}

impl<'c> Cell<'c> {
    /// The value of an exposure, as JSON would have it.
    ///
    /// # Errors
    /// It is not UTF-8 text.
    pub(super) fn value(self) -> Result<Value<'c>, Utf8Error> {
        Ok(match self {
            Self::Nothing => Value::Nothing,
            Self::Text(bytes) => Value::Text(Cow::Borrowed(std::str::from_utf8(bytes)?)),
            Self::Uuid(bytes) => Value::Text(Cow::Owned(uuid(bytes))),
            Self::Unsigned(number) => Value::Whole(number),
            Self::Signed(number) => u64::try_from(number)
                .map_or_else(|_| Value::Text(Cow::Owned(number.to_string())), Value::Whole),
            Self::Float(number) => Value::Number(number),
            Self::Flag(flag) => Value::Text(Cow::Borrowed(if flag { "true" } else { "false" })),
        })
    }

    /// The value of an outcome. Numbers that JSON does not have become text that is no number.
    pub(super) fn json(self) -> Json {
        match self {
            Self::Nothing => Json::Null,
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into(),
            Self::Uuid(bytes) => uuid(bytes).into(),
            Self::Signed(number) => number.into(),
            Self::Unsigned(number) => number.into(),
            Self::Float(number) => serde_json::Number::from_f64(number)
                .map_or_else(|| number.to_string().into(), Json::Number),
            Self::Flag(flag) => flag.into(),
        }
    }
}
