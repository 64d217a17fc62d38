//! A shadow comparison for people.

use std::io::Write as _;
use std::path::Path;

use sidetrack::plan::Experiment;
use sidetrack_analysis::shadow::{Estimate, Latency, Quantile, Shadow, Side, State};

use crate::analyze::figures::{digits, short, signed};
use crate::load::count;
use crate::out::Out;
use crate::table::{Align, Table};
use crate::words::visible;
use crate::wrap;

const RIGHT: Align = Align::Right;

pub(super) fn print(
    found: &Shadow,
    experiment: &Experiment,
    file: &Path,
    out: &mut Out,
) -> anyhow::Result<()> {
    let ink = out.ink();
    writeln!(out, "{}\n", ink.bold(headline(found)))?;
    let level = short((1.0 - found.alpha) * 100.0, 3);
    let by = if found.by_unit {
        format!("{}; intervals of {level} % by unit", units(found.units))
    } else {
        format!("intervals of {level} % by request, since units are not known")
    };
    let pairs = count(usize::try_from(found.pairs).unwrap_or(usize::MAX), "pair");
    writeln!(out, "{} · {pairs} · {by}\n", found.experiment)?;
    for class in &found.classes {
        let (value, ci) = (share(class.agreement.value), shares(class.agreement));
        let kappa = class.kappa.map_or_else(|| "–".to_owned(), |kappa| digits(kappa, 3));
        let name = visible(&class.column);
        writeln!(out, "{name}: {value} equal of {} ({ci}), kappa {kappa}", class.pairs)?;
        let mut table = Table::new(&[Align::Left, RIGHT]);
        for change in &class.changes {
            let change_of = format!("{} → {}", visible(&change.baseline), visible(&change.mirror));
            table.row([change_of.into(), change.pairs.to_string().into()]);
        }
        table.write(out)?;
    }
    for score in &found.scores {
        let (name, side) = (visible(&score.column), |value: Option<f64>| number(value));
        writeln!(
            out,
            "{name}: difference {} ({}), absolute {}; baseline {}, mirror {}; correlation {}",
            plus(score.difference.value),
            range(score.difference),
            number(score.absolute.value),
            side(score.baseline),
            side(score.mirror),
            number(score.correlation),
        )?;
        let mut table = Table::new(&[Align::Left, RIGHT, Align::Left]);
        for Quantile { quantile, estimate } in &score.quantiles {
            let of = format!("{} % quantile of the differences", short(quantile * 100.0, 2));
            table.row([of.into(), plus(estimate.value).into(), range(*estimate).into()]);
        }
        table.write(out)?;
    }
    if let Some(latency) = &found.latency {
        print_latency(latency, out)?;
    }
    if let Some(failures) = &found.failures {
        writeln!(
            out,
            "errors: baseline {}, mirror {}; {} only of the mirror, {} only of the baseline",
            share(failures.baseline.value),
            share(failures.mirror.value),
            failures.mirror_only,
            failures.baseline_only
        )?;
    }
    if !found.worst.is_empty() {
        writeln!(out, "\nThe worst disagreements, baseline → mirror:")?;
        let mut table = Table::new(&[Align::Left, Align::Left]);
        for worst in &found.worst {
            let values = worst.baseline.iter().map(|(name, one)| {
                let show = |value: Option<&String>| {
                    value.map_or_else(|| "–".to_owned(), |value| visible(value))
                };
                let other = worst.mirror.get(name).and_then(Option::as_ref);
                format!("{} {} → {}", visible(name), show(one.as_ref()), show(other))
            });
            let values = values.collect::<Vec<_>>().join(", ");
            table.row([visible(&worst.request_id).into(), values.into()]);
        }
        table.write(out)?;
    }
    writeln!(out)?;
    for check in &found.checks {
        let mark = match check.state {
            State::Ok => ink.good("✓"),
            State::Unclear | State::Warning => ink.note("!"),
            State::Exceeded | State::Blocking => ink.bad("✗"),
        };
        let limit = match check.name.as_str() {
            "few_pairs" | "no_values" => String::new(),
            _ => format!("; the limit is {}", share(Some(check.limit))),
        };
        writeln!(out, "{mark} {}{limit}", check.message)?;
    }
    for example in &found.rows.examples {
        writeln!(out, "  {}", visible(example))?;
    }
    let rows = &found.rows;
    if rows.repeated + rows.foreign > 0 {
        writeln!(
            out,
            "  {} repeat an earlier row, of which the last counts; {} have no request id, or another \
             source",
            rows.repeated, rows.foreign
        )?;
    }
    next(found, experiment, file, out)
}

/// What to do, which is never done here.
fn next(found: &Shadow, experiment: &Experiment, file: &Path, out: &mut Out) -> anyhow::Result<()> {
    let nothing = "Nothing was changed. Agreement does not show that the mirror is better: that takes users \
                   who get its predictions, and their outcomes.";
    writeln!(out, "\n{}", wrap::wrapped("", nothing))?;
    let candidate = experiment.candidates().next();
    if let (State::Ok | State::Warning, Some(candidate)) = (found.state(), candidate) {
        let name = &experiment.variants[candidate].name;
        let file = visible(&file.to_string_lossy());
        writeln!(
            out,
            "Next, if these differences are as expected: the first percent of the users."
        )?;
        writeln!(out, "\n  sidetrack set {file} {name}=1")?;
    }
    Ok(())
}

fn headline(found: &Shadow) -> String {
    match found.state() {
        State::Blocking => {
            "The predictions are incomplete, so this comparison says little.".to_owned()
        }
        State::Exceeded => "The mirror agrees less than it must.".to_owned(),
        State::Unclear => {
            "More pairs are needed to know whether the mirror agrees enough.".to_owned()
        }
        State::Ok | State::Warning => match (found.classes.first(), found.scores.first()) {
            (Some(class), _) if class.agreement.value.is_none() => {
                "There are too few pairs to know how far the mirror agrees.".to_owned()
            }
            (Some(class), _) => format!(
                "The mirror predicts the same {} as the baseline in {} of the requests.",
                visible(&class.column),
                share(class.agreement.value)
            ),
            (None, Some(score)) => format!(
                "The mirror's {} differs from the baseline's by {} on average.",
                visible(&score.column),
                plus(score.difference.value)
            ),
            (None, None) => "The predictions have no values to compare.".to_owned(),
        },
    }
}

fn print_latency(latency: &Latency, out: &mut Out) -> anyhow::Result<()> {
    writeln!(
        out,
        "latency: difference {} ({})",
        plus(latency.difference.value),
        range(latency.difference)
    )?;
    let mut table = Table::new(&[Align::Left, RIGHT, RIGHT, RIGHT, RIGHT]);
    let ink = out.ink();
    table.head(["", "mean", "p50", "p95", "p99"], ink);
    for (name, side) in [("baseline", &latency.baseline), ("mirror", &latency.mirror)] {
        let Side { mean, quantiles } = side;
        let of = |wanted: f64| {
            let found = quantiles.iter().find(|one| (one.quantile - wanted).abs() < 1e-9);
            number(found.and_then(|one| one.estimate.value))
        };
        let cells = [name.to_owned(), number(mean.value), of(0.5), of(0.95), of(0.99)];
        table.row(cells.map(Into::into));
    }
    Ok(table.write(out)?)
}

fn units(units: u64) -> String {
    count(usize::try_from(units).unwrap_or(usize::MAX), "unit")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| digits(value, 4))
}

fn plus(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| signed(value, 4))
}

fn range(estimate: Estimate) -> String {
    let range = |[low, high]: [f64; 2]| format!("{} … {}", signed(low, 4), signed(high, 4));
    estimate.ci.map_or_else(|| "no interval".to_owned(), range)
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{} %", short(value * 100.0, 4)))
}

fn shares(estimate: Estimate) -> String {
    let range = |[low, high]: [f64; 2]| format!("{} … {}", share(Some(low)), share(Some(high)));
    estimate.ci.map_or_else(|| "no interval".to_owned(), range)
}
