//! Option values as checked values of the statistics. An error names the option.

use sidetrack_stats::input::{Fraction, Invalid, Proportion, Sample};

use crate::fault::Fault;

/// A fraction between 0 and 1, exclusive.
pub(crate) fn fraction(flag: &str, value: f64) -> anyhow::Result<Fraction> {
    Fraction::new(value).map_err(|error| named(flag, &value.to_string(), &error))
}

/// `X/N`: X successes of N units.
pub(super) fn proportion(flag: &str, text: &str) -> anyhow::Result<Proportion> {
    let form = || {
        Fault(format!(
            "{flag} is {text}, but must be X/N with two whole numbers, for example 250/1000"
        ))
    };
    let (successes, trials) = text.split_once('/').ok_or_else(form)?;
    let count = |text: &str| text.trim().parse::<u64>().map_err(|_| form());
    Proportion::new(count(successes)?, count(trials)?).map_err(|error| named(flag, text, &error))
}

/// `MEAN,SD,N`.
pub(super) fn sample(flag: &str, text: &str) -> anyhow::Result<Sample> {
    let form =
        || Fault(format!("{flag} is {text}, but must be MEAN,SD,N, for example 102.5,21,1000"));
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [mean, sd, n] = parts.as_slice() else { return Err(form().into()) };
    let number = |text: &str| text.parse::<f64>().map_err(|_| form());
    let n = n.parse().map_err(|_| form())?;
    Sample::new(number(mean)?, number(sd)?, n).map_err(|error| named(flag, text, &error))
}

/// Numbers separated by commas.
pub(super) fn list<T: std::str::FromStr>(
    flag: &str,
    text: &str,
    example: &str,
) -> anyhow::Result<Vec<T>> {
    let form = || {
        Fault(format!(
            "{flag} is {text}, but must be numbers separated by commas, for example {example}"
        ))
    };
    text.split(',').map(|part| part.trim().parse().map_err(|_| form().into())).collect()
}

/// Pairs of a baseline and a candidate, one for each phase.
pub(super) fn paired<T>(baseline: Vec<T>, candidate: Vec<T>) -> anyhow::Result<Vec<(T, T)>> {
    if baseline.len() != candidate.len() {
        let (one, two) = (baseline.len(), candidate.len());
        return Err(Fault(format!(
            "--baseline is given {one} times and --candidate {two} times, but each phase needs both, in the same order"
        ))
        .into());
    }
    Ok(baseline.into_iter().zip(candidate).collect())
}

/// The error as an error of this option.
pub(crate) fn named(flag: &str, text: &str, error: &Invalid) -> anyhow::Error {
    let hint =
        if error.hint.is_empty() { String::new() } else { format!("\n  hint: {}", error.hint) };
    Fault(format!("{flag} is {text}, but must {}{hint}", error.requirement)).into()
}
