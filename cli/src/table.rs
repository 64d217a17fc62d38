//! Text tables without borders: two spaces of indent, two between columns, numbers to the right.
//!
//! Written by hand because the tables align decimal points and paint single cells, which comfy-table does only with
//! further crates. Cells have a style, so `NO_COLOR` and pipes are respected. A table that does not fit
//! into 80 columns puts the first cells of each row on a line of their own, and breaks the others where
//! they reach the edge.

use std::io::{self, Write};

use crate::out::{Ink, Painted};

const INDENT: usize = 2;
const GAP: usize = 2;
const WIDTH: usize = 80;

/// How the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers and their titles.
    Right,
    /// Numbers of different precision: their decimal points are below each other.
    Point,
}

/// One value of a table, with its style.
pub(crate) struct Cell(Painted<String>);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(Painted::plain(text.to_owned()))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(Painted::plain(text))
    }
}

impl From<Painted<String>> for Cell {
    fn from(text: Painted<String>) -> Self {
        Self(text)
    }
}

impl From<Painted<&str>> for Cell {
    fn from(text: Painted<&str>) -> Self {
        Self(text.map(str::to_owned))
    }
}

impl Cell {
    fn width(&self) -> usize {
        self.0.text().chars().count()
    }

    /// The number of characters before the decimal point.
    fn whole(&self) -> usize {
        let text = self.0.text();
        let digit = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '−');
        text.chars().take_while(|&c| digit(c)).count()
    }
}

/// Rows of cells below each other.
pub(crate) struct Table {
    columns: Vec<Align>,
    /// How many cells stay on the first line of a row that is too wide.
    kept: usize,
    rows: Vec<Vec<Cell>>,
}

/// The widths of a column.
#[derive(Clone, Copy, Default)]
struct Size {
    all: usize,
    /// Before and after the decimal point.
    whole: usize,
    rest: usize,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[Align]) -> Self {
        Self { columns: columns.to_vec(), kept: 1, rows: Vec::new() }
    }

    /// If it is too wide, so many cells of each row stay together on the first line.
    pub(crate) const fn keeping(mut self, cells: usize) -> Self {
        self.kept = cells;
        self
    }

    /// Adds titles, dimmed.
    pub(crate) fn head<const N: usize>(&mut self, titles: [&str; N], ink: Ink) {
        self.row(titles.map(|title| ink.dim(title).into()));
    }

    /// Adds a row; cells that are missing at its end are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table, a line for each row.
    ///
    /// # Errors
    ///
    /// As `out` has them.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let sizes = self.sizes();
        let breaks = self.breaks(&sizes);
        for row in &self.rows {
            let mut line = " ".repeat(INDENT);
            let cells = row.iter().zip(self.columns.iter().zip(&sizes));
            for (index, (cell, (align, size))) in cells.enumerate() {
                if breaks.contains(&index) {
                    writeln!(out, "{}", line.trim_end())?;
                    line = " ".repeat((1 + self.kept) * INDENT);
                }
                let (before, after) = padding(cell, *align, *size);
                line += &" ".repeat(before);
                line += &cell.0.to_string();
                line += &" ".repeat(after + GAP);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Before which columns each row has a new line, if one line is too wide.
    fn breaks(&self, sizes: &[Size]) -> Vec<usize> {
        let used: usize = sizes.iter().map(|size| size.all + GAP).sum();
        if used + INDENT <= WIDTH + GAP || self.columns.len() <= self.kept {
            return Vec::new();
        }
        let start = (1 + self.kept) * INDENT;
        let (mut breaks, mut at) = (vec![self.kept], start);
        for (index, size) in sizes.iter().enumerate().skip(self.kept) {
            if at > start && at + size.all > WIDTH {
                breaks.push(index);
                at = start;
            }
            at += size.all + GAP;
        }
        breaks
    }

    fn sizes(&self) -> Vec<Size> {
        let mut sizes = vec![Size::default(); self.columns.len()];
        for row in &self.rows {
            for (cell, (align, size)) in row.iter().zip(self.columns.iter().zip(&mut sizes)) {
                let whole = if *align == Align::Point { cell.whole() } else { 0 };
                size.whole = size.whole.max(whole);
                size.rest = size.rest.max(cell.width() - whole);
                size.all = size.whole + size.rest;
            }
        }
        sizes
    }
}

/// The number of spaces on both sides of a cell.
fn padding(cell: &Cell, align: Align, size: Size) -> (usize, usize) {
    let free = size.all - cell.width();
    let before = match align {
        Align::Left => 0,
        Align::Right => free,
        Align::Point => size.whole - cell.whole(),
    };
    (before, free - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_aligned_right_and_lines_end_without_spaces() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
        table.head(["variant", "units", ""], Ink::PLAIN);
        table.row(["old".into(), "1000".into(), "".into()]);
        table.row(["enhanced".into(), "70".into(), "swap".into()]);
        assert_eq!(text(&table), "  variant   units\n  old        1000\n  enhanced     70  swap\n");
    }

    #[test]
    fn decimal_points_are_aligned() {
        let mut table = Table::new(&[Align::Left, Align::Point]);
        for share in ["17.29632 %", "9 %", "100 %"] {
            table.row(["→ new".into(), share.into()]);
        }
        assert_eq!(text(&table), "  → new   17.29632 %\n  → new    9 %\n  → new  100 %\n");
    }

    #[test]
    fn colors_take_no_room() {
        let mut table = Table::new(&[Align::Left, Align::Right]);
        table.row([Ink::COLORS.bad("a").into(), "1".into()]);
        table.row(["bbb".into(), "22".into()]);
        let text = text(&table);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_ne!(text, plain);
        assert_eq!(plain, "  a     1\n  bbb  22\n");
    }

    #[test]
    fn a_table_that_is_too_wide_keeps_to_80_columns() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Right]);
        table.row(["v".repeat(65).into(), "12345678".into(), "99.99 %".into()]);
        let text = text(&table);
        assert_eq!(text, format!("  {}\n    12345678  99.99 %\n", "v".repeat(65)));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        let mut kept = Table::new(&[Align::Left, Align::Right, Align::Left]).keeping(2);
        kept.row(["a".into(), "1".into()]);
        kept.row(["b".into(), "22".into(), "w".repeat(70).into()]);
        kept.row(["c".into(), "333".into(), "x".into()]);
        let w = "w".repeat(70);
        assert_eq!(self::text(&kept), format!("  a    1\n  b   22  {w}\n  c  333  x\n"));
        kept.row(["d".into(), "4444".into(), "x".into()]);
        assert_eq!(
            self::text(&kept),
            format!("  a     1\n  b    22\n      {w}\n  c   333\n      x\n  d  4444\n      x\n")
        );
        let mut wide = Table::new(&[Align::Left, Align::Right, Align::Left]);
        wide.row(["a".into(), "1".repeat(60).into(), "x".repeat(20).into()]);
        wide.row(["b".into(), "2".into(), "y".into()]);
        let (one, two) = ("1".repeat(60), format!("{}2", " ".repeat(59)));
        let x = "x".repeat(20);
        assert_eq!(self::text(&wide), format!("  a\n    {one}\n    {x}\n  b\n    {two}\n    y\n"));
        let mut fits = Table::new(&[Align::Left, Align::Right]);
        fits.row(["v".repeat(63).into(), "x".repeat(13).into()]);
        assert_eq!(self::text(&fits).lines().count(), 1);
    }
}
