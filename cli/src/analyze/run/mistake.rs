//! Errors of the analysis, with the option that each is about.

use sidetrack_analysis::answer::Role;
use sidetrack_analysis::{Error, Part};

use crate::fault::Fault;

/// A mistake in the input is a [`Fault`] and names its option; everything else keeps its cause.
pub(in crate::analyze) fn mistake(error: Error) -> anyhow::Error {
    let Error::Input { part, problem } = error else { return error.into() };
    let option = match part {
        Part::Experiment => return Fault(problem).into(),
        Part::Metric(Role::Primary, name) => format!("--metric {name}"),
        Part::Metric(Role::Guardrail, name) => format!("--guardrail {name}"),
        Part::Metric(Role::Exploratory, name) => format!("--explore {name}"),
        Part::Price(name) => format!("--value-per {name}"),
        Part::PlannedUnits => "--planned-units".to_owned(),
        Part::Exposures(file) => named("--exposures", file),
        Part::Outcomes(file) => named("--outcomes", file),
        // The plan has both as well.
        Part::Attribution => "attribution".to_owned(),
        Part::Cap(name) => format!("cap of {name}"),
        Part::Summary => "--from".to_owned(),
        Part::Covariate(name) => format!("covariate {name}"),
        Part::ExcludeBreaker => "--exclude-breaker".to_owned(),
    };
    Fault(format!("{option}: {problem}")).into()
}

fn named(option: &str, file: Option<String>) -> String {
    file.map_or_else(|| option.to_owned(), |file| format!("{option} {file}"))
}
