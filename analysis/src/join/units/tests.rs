use super::*;
use crate::row::Marks;

fn row(unit: u64, time: u64, stratum: u8, arm: u8) -> Row {
    let (position, marks) = (time, Marks::default());
    Row {
        unit: Some(unit),
        position,
        time,
        duration: 10,
        print: None,
        outcome: None,
        group: 7,
        stratum,
        arm,
        marks,
    }
}

fn table(rows: &[Row]) -> UnitTable {
    let outcomes = Outcomes::default();
    let mut table = UnitTable::new(&outcomes, false, 0);
    rows.iter().for_each(|row| table.add(row, &outcomes));
    table
}

#[test]
fn a_unit_has_a_cell_for_each_stratum() {
    let table = table(&[
        row(1, 50, 2, 1),
        row(2, 10, 0, 0),
        row(1, 60, 0, 0),
        row(1, 20, 1, 1),
        row(1, 55, 2, 1),
        row(1, 70, 0, 0),
    ]);
    assert_eq!(table.cells(), 4);
    let units: Vec<Vec<(u8, u64, u32)>> = table
        .units()
        .map(|unit| unit.cells().map(|(_, c)| (c.stratum, c.first, c.requests)).collect())
        .collect();
    // The chain begins with the first cell that was met; the others follow, the newest first.
    assert_eq!(units, [vec![(2, 50, 2), (1, 20, 1), (0, 60, 2)], vec![(0, 10, 1)]]);
    let unit = table.unit(1).unwrap();
    assert_eq!(unit.first().map(|(_, cell)| (cell.stratum, cell.arm)), Some((1, 1)));
    for (number, cell) in unit.cells() {
        assert_eq!(table.cells.get(number).map(|found| found.stratum), Some(cell.stratum));
    }
    assert!(table.unit(3).is_none());
}

#[test]
fn the_earliest_request_decides_the_variant_of_a_cell() {
    let table = table(&[row(1, 50, 0, 1), row(1, 50, 0, 0), row(2, 50, 0, 1), row(2, 49, 0, 0)]);
    let cell = |unit| table.unit(unit).unwrap().first().unwrap().1;
    // At the same time, the one that was read first.
    assert_eq!((cell(1).arm, cell(1).first, cell(1).torn), (1, 50, true));
    assert_eq!((cell(2).arm, cell(2).first, cell(2).torn), (0, 49, true));
}

#[test]
fn of_two_cells_with_the_same_first_request_the_earlier_stratum_is_first() {
    let table = table(&[row(1, 50, 2, 1), row(1, 50, 0, 0), row(1, 50, 1, 0)]);
    assert_eq!(table.unit(1).unwrap().first().map(|(_, cell)| cell.stratum), Some(0));
    assert!(table.unit(1).unwrap().cells().all(|(_, cell)| !cell.torn));
}

#[test]
fn requests_add_up_in_cells() {
    let failed = Marks { failed: true, elsewhere: true, ..Marks::default() };
    let aborted = Marks { aborted: true, ..Marks::default() };
    let table = table(&[
        row(1, 50, 1, 1),
        Row { marks: failed, duration: 30, ..row(1, 51, 1, 1) },
        Row { marks: aborted, duration: 9000, ..row(1, 52, 1, 1) },
        Row { unit: None, ..row(1, 53, 1, 1) },
    ]);
    let (_, cell) = table.unit(1).unwrap().first().unwrap();
    assert_eq!((cell.requests, cell.failed, cell.aborted, cell.latency), (3, 1, 1, 40));
    assert_eq!((cell.answered(), table.cells(), table.len()), (2, 1, 1));
}
