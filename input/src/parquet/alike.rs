//! Rows that are alike: of most columns, a row has one of few values, so what they mean together is judged once.

use super::Wanted;
use super::cells::Cell;

/// A number has so many bits for each column.
const BITS: u32 = 4;
/// After so many more rows without a number than with one, the others are not looked at: a column has too many values.
const PATIENCE: u32 = 1000;

/// The values of columns that were met.
pub(super) struct Alike {
    /// By column; `None`: each row has a value of its own.
    columns: Vec<Option<Vec<Known>>>,
    /// Rows without a number, less those with one.
    without: u32,
}

/// A value that was met.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Text(Vec<u8>),
    Signed(i64),
    Unsigned(u64),
    Flag(bool),
}

impl Alike {
    pub(super) fn new(columns: &[Wanted]) -> Self {
        let is_own = |column: &Wanted| column.slot.is_none_or(sidetrack_analysis::Slot::is_own);
        let columns = columns.iter().map(|it| (!is_own(it)).then(Vec::new)).collect();
        Self { columns, without: 0 }
    }

    /// The number of a row: another row has it only if all cells are equal that are not a row's own. `None`: too many
    /// different values.
    pub(super) fn number(&mut self, cells: &[Cell<'_>]) -> Option<u64> {
        if self.without > PATIENCE {
            return None;
        }
        let number = self.find(cells);
        let without = self.without;
        self.without = number.map_or(without + 1, |_| without.saturating_sub(1));
        number
    }

    fn find(&mut self, cells: &[Cell<'_>]) -> Option<u64> {
        let mut number = 0u64;
        for (known, cell) in self.columns.iter_mut().zip(cells) {
            let Some(known) = known else { continue };
            let index = match known.iter().position(|known| known.is(*cell)) {
                Some(index) => index,
                None if known.len() >> BITS > 0 => return None,
                None => {
                    known.push(Known::of(*cell)?);
                    known.len() - 1
                }
            };
            // What falls off the top must not be lost.
            (number.leading_zeros() >= BITS).then_some(())?;
            number = number << BITS | index as u64;
        }
        Some(number)
    }
}

impl Known {
    /// `None`: numbers with decimals are not compared.
    fn of(cell: Cell<'_>) -> Option<Self> {
        Some(match cell {
            Cell::Nothing => Self::Nothing,
            // A column has one type, so texts and ids cannot be mistaken for each other.
            Cell::Text(bytes) | Cell::Uuid(bytes) => Self::Text(bytes.to_vec()),
            Cell::Signed(number) => Self::Signed(number),
            Cell::Unsigned(number) => Self::Unsigned(number),
            Cell::Flag(flag) => Self::Flag(flag),
            Cell::Float(_) => return None,
        })
    }

    fn is(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Nothing, Cell::Nothing) => true,
            (Self::Text(known), Cell::Text(bytes) | Cell::Uuid(bytes)) => known == bytes,
            (Self::Signed(known), Cell::Signed(number)) => *known == number,
            (Self::Unsigned(known), Cell::Unsigned(number)) => *known == number,
            (Self::Flag(known), Cell::Flag(flag)) => *known == flag,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use sidetrack_analysis::Slot;

    use super::super::cells::Kind;
    use super::*;

    #[test]
    fn rows_have_one_number_only_if_they_are_alike() {
        let column = |name: &str| Wanted {
            at: 0,
            name: name.to_owned(),
            kind: Kind::Text,
            is_optional: true,
            slot: Slot::of(name),
        };
        let columns = ["assigned", "unit", "status", "duration", "path"].map(column);
        let mut alike = Alike::new(&columns);
        let mut number = |assigned: &str, unit: &str, status, duration| {
            let cells = [
                Cell::Text(assigned.as_bytes()),
                Cell::Text(unit.as_bytes()),
                Cell::Signed(status),
                Cell::Signed(duration),
                Cell::Float(1.5),
            ];
            alike.number(&cells)
        };
        let first = number("a", "u", 200, 1);
        assert!(first.is_some() && first == number("a", "v", 200, 2));
        let others = [number("b", "u", 200, 1), number("a", "u", 503, 1), number("b", "u", 503, 1)];
        assert!(others.iter().all(|other| other.is_some() && *other != first), "{others:?}");
        assert_ne!(others[0], others[2]);
        for status in 0..14 {
            assert!(number("a", "u", status, 1).is_some(), "{status}");
        }
        assert_eq!((number("a", "u", 99, 1), number("a", "x", 200, 7)), (None, first));
        for status in 0..2000 {
            assert_eq!(number("a", "u", 1000 + status, 1), None, "{status}");
        }
        assert_eq!(number("a", "x", 200, 7), None, "given up");
    }
}
