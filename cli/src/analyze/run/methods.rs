//! How metrics are tested, where the plan of the file does not say it.

use clap::Args as Arguments;
use sidetrack::config::{Bayes, Methods};
use sidetrack::plan::Correction;

/// The methods.
#[derive(Arguments)]
pub(in crate::analyze) struct MethodArgs {
    /// Adjust by a column with a value of each unit from before its first exposure (CUPED)
    #[arg(long, value_name = "COLUMN")]
    pub(in crate::analyze) covariate: Vec<String>,
    /// Decide at this number of looks, at equal parts of the planned units (O'Brien-Fleming)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10))]
    looks: Option<u32>,
    /// How p-values of primary metrics are adjusted for each other: holm, benjamini_hochberg, none
    #[arg(long, value_name = "METHOD", value_parser = correction)]
    correction: Option<Correction>,
    /// Report the posterior of relative differences, with a normal prior of this mean and standard
    /// deviation
    #[arg(long, value_name = "MEAN:SD", value_parser = prior, allow_hyphen_values = true)]
    prior: Option<Bayes>,
}

impl MethodArgs {
    /// The methods that are asked for.
    pub(in crate::analyze) fn methods(&self) -> Methods {
        Methods {
            covariates: self.covariate.clone(),
            looks: self.looks,
            correction: self.correction,
            bayes: self.prior,
        }
    }
}

/// Reads the name of a correction.
fn correction(text: &str) -> Result<Correction, String> {
    let words = || Correction::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>();
    let found = Correction::ALL.iter().copied().find(|known| known.as_str() == text);
    found.ok_or_else(|| format!("expected one of: {}", words().join(", ")))
}

/// Reads a prior of relative differences.
fn prior(text: &str) -> Result<Bayes, String> {
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
    let parts = text.split_once(':');
    let parts = parts.and_then(|(mean, sd)| Some((number(mean)?, number(sd)?)));
    let (mean, sd) = parts.filter(|(_, sd)| *sd > 0.0).ok_or_else(|| {
        "expected MEAN:SD as shares of the baseline's value, with an SD above 0, as in 0:0.05"
            .to_owned()
    })?;
    Ok(Bayes { mean, sd, relative: true, equivalence: None, decide: None })
}
