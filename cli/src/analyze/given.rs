//! What was typed, as the statistics' checked values; an error names the flag.

use sidetrack_stats::input::{Fraction, Invalid, Proportion, Sample};

use crate::fault::Fault;

/// A fraction strictly between 0 and 1.
pub(crate) fn fraction(flag: &str, value: f64) -> anyhow::Result<Fraction> {
    Fraction::new(value).map_err(|error| named(flag, &value.to_string(), &error))
}

/// `X/N`: so many of so many.
pub(super) fn proportion(flag: &str, text: &str) -> anyhow::Result<Proportion> {
    let form = || {
        Fault(format!(
            "{flag} {text}: allowed: X/N, two whole numbers of 0 or more, for example 250/1000"
        ))
    };
    let (successes, trials) = text.split_once('/').ok_or_else(form)?;
    let count = |text: &str| text.trim().parse::<u64>().map_err(|_| form());
    Proportion::new(count(successes)?, count(trials)?).map_err(|error| named(flag, text, &error))
}

/// `MEAN,SD,N`.
pub(super) fn sample(flag: &str, text: &str) -> anyhow::Result<Sample> {
    let form = || Fault(format!("{flag} {text}: allowed: MEAN,SD,N, for example 102.5,21,1000"));
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [mean, sd, n] = parts.as_slice() else { return Err(form().into()) };
    let number = |text: &str| text.parse::<f64>().map_err(|_| form());
    let n = n.parse().map_err(|_| form())?;
    Sample::new(number(mean)?, number(sd)?, n).map_err(|error| named(flag, text, &error))
}

/// Numbers with commas between them.
pub(super) fn list<T: std::str::FromStr>(
    flag: &str,
    text: &str,
    example: &str,
) -> anyhow::Result<Vec<T>> {
    let form = || {
        Fault(format!(
            "{flag} {text}: allowed: numbers with commas between them, for example {example}"
        ))
    };
    text.split(',').map(|part| part.trim().parse().map_err(|_| form().into())).collect()
}

/// Baselines beside candidates: as many of each.
pub(super) fn paired<T>(baseline: Vec<T>, candidate: Vec<T>) -> anyhow::Result<Vec<(T, T)>> {
    if baseline.len() != candidate.len() {
        let (one, two) = (baseline.len(), candidate.len());
        return Err(Fault(format!(
            "--baseline was given {one} times, --candidate {two} times: allowed: a pair for each phase, in the same order"
        ))
        .into());
    }
    Ok(baseline.into_iter().zip(candidate).collect())
}

/// The error as one of this flag.
pub(crate) fn named(flag: &str, text: &str, error: &Invalid) -> anyhow::Error {
    Fault(format!("{flag} {text}: {error}")).into()
}
