//! Drift for people: a table, and the shares of the columns that drifted.

use std::io::Write as _;

use sidetrack_analysis::drift::{Against, Compared, Drift, DriftState, Kind};

use crate::analyze::figures::{digits, short};
use crate::out::Out;
use crate::table::{Align, Table};
use crate::words::visible;
use crate::wrap;

const RIGHT: Align = Align::Right;
/// The width of the largest share, in characters.
const WIDTH: f64 = 24.0;

pub(super) fn print(found: &Drift, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}\n", ink.bold(headline(found)))?;
    let by = if found.by_unit {
        "chance is by unit".to_owned()
    } else {
        "chance is by row, since units are not known: it is larger if rows of a user resemble each other"
            .to_owned()
    };
    let about = format!("{} · {} rows · {by}", found.experiment, found.rows);
    writeln!(out, "{}\n", wrap::wrapped("", &about))?;
    let columns = [Align::Left, Align::Left, RIGHT, RIGHT, RIGHT, RIGHT, Align::Left];
    let mut table = Table::new(&columns).keeping(2);
    table.head(["column", "samples", "PSI", "by chance", "KS or JS", "p", ""], ink);
    for one in &found.compared {
        let state = match one.state {
            DriftState::Drift => ink.bad("drift"),
            DriftState::Unclear => ink.note("unclear"),
            DriftState::Small => ink.dim("small"),
            DriftState::Stable => ink.good("stable"),
            DriftState::Undefined => ink.dim("undefined"),
        };
        table.row([
            visible(&one.column).into(),
            samples(one).into(),
            number(one.psi).into(),
            number(one.psi_exceeded).into(),
            distance(one).into(),
            number(one.p_adjusted).into(),
            state.into(),
        ]);
    }
    table.write(out)?;
    let large = |one: &&Compared| matches!(one.state, DriftState::Drift | DriftState::Unclear);
    for one in found.compared.iter().filter(large) {
        picture(one, out)?;
    }
    writeln!(out)?;
    if found.unmatched > 0 {
        writeln!(out, "  {} rows are of no variant that is known", found.unmatched)?;
    }
    if found.malformed > 0 {
        writeln!(out, "  {} rows cannot be read:", found.malformed)?;
        for example in &found.examples {
            writeln!(out, "    {}", visible(example))?;
        }
    }
    let meaning = format!(
        "By chance: the index that one of twenty comparisons exceeds if nothing changed. Drift: at least {} and \
         beyond chance; small: beyond chance, but less; unclear: as much, but within chance. Drift says that \
         something differs, not that it is worse.",
        short(found.threshold, 3)
    );
    writeln!(out, "{}", wrap::wrapped("", &meaning))?;
    Ok(())
}

fn headline(found: &Drift) -> String {
    let names = |states: &[DriftState]| {
        let mut names: Vec<String> = Vec::new();
        for one in found.compared.iter().filter(|one| states.contains(&one.state)) {
            let name = visible(&one.column);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    };
    match found.state() {
        DriftState::Drift => format!("Drift: {}.", names(&[DriftState::Drift])),
        DriftState::Unclear => {
            let names = names(&[DriftState::Unclear, DriftState::Undefined]);
            format!("The samples are too small to know about {names}.")
        }
        _ => "No drift.".to_owned(),
    }
}

/// The distance that fits the kind of column.
fn distance(one: &Compared) -> String {
    match one.kind {
        Kind::Number => format!("KS {}", number(one.kolmogorov_smirnov)),
        Kind::Category => format!("JS {}", number(one.jensen_shannon)),
    }
}

fn samples(one: &Compared) -> String {
    let first = match one.against {
        Against::Baseline => "baseline",
        Against::Reference => "reference",
    };
    match one.variant.as_str() {
        "" => format!("{first} → now"),
        variant => format!("{first} → {}", visible(variant)),
    }
}

/// The shares of both samples, bin by bin.
fn picture(one: &Compared, out: &mut Out) -> anyhow::Result<()> {
    let ink = out.ink();
    let kind = match one.kind {
        Kind::Number => "deciles of the first",
        Kind::Category => "categories",
    };
    writeln!(out, "\n{}, {} ({kind})", visible(&one.column), samples(one))?;
    if let (Some(first), Some(second)) = (one.first.mean, one.second.mean) {
        writeln!(out, "  mean {} → {}", digits(first, 4), digits(second, 4))?;
    }
    let missing = |missing: u64, rows: u64| format!("{missing} of {}", missing + rows);
    if one.first.missing + one.second.missing > 0 {
        let (first, second) = (&one.first, &one.second);
        let first = missing(first.missing, first.rows);
        writeln!(out, "  missing {first} → {}", missing(second.missing, second.rows))?;
    }
    let shares = one.bins.iter().flat_map(|bin| [bin.first, bin.second]);
    let largest = shares.fold(f64::MIN_POSITIVE, f64::max);
    let bar = |share: f64| {
        let cells = (0..).take_while(|cell| f64::from(*cell) < share / largest * WIDTH).count();
        "█".repeat(cells)
    };
    let mut table = Table::new(&[Align::Left, RIGHT, Align::Left]);
    for bin in &one.bins {
        for (label, share, is_second) in
            [(bin.label.as_str(), bin.first, false), ("", bin.second, true)]
        {
            let bar = bar(share);
            let bar = if is_second { ink.mark(bar) } else { ink.dim(bar) };
            table.row([label.into(), format!("{} %", short(share * 100.0, 3)).into(), bar.into()]);
        }
    }
    Ok(table.write(out)?)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| digits(value, 3))
}
