//! Why there is nothing to decide from, with what the input holds instead and the likely causes.

use std::fmt;

/// Why nothing can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The logs have no lines.
    Empty,
    /// No line can be read.
    Malformed {
        /// How many lines there are.
        lines: u64,
        /// What is wrong with the first one.
        first: String,
    },
    /// No line of the experiment can be read.
    Damaged {
        /// How many there are.
        lines: u64,
        /// What is wrong with the first one.
        first: String,
    },
    /// No line is of the experiment.
    OtherExperiments {
        /// The experiment.
        experiment: String,
        /// Names that the logs hold, with their lines.
        found: Vec<(String, u64)>,
    },
    /// The lines are in the default JSON format of Envoy or Istio.
    DefaultFormat {
        /// How many lines there are.
        lines: u64,
    },
    /// No line is of the trial.
    OtherTrials {
        /// The trial.
        trial: String,
        /// Trials that the logs hold, with their lines.
        found: Vec<(String, u64)>,
        /// The trial is that of the file.
        of_file: bool,
    },
    /// No request is within the chosen time.
    OtherTime,
    /// Lines of the experiment, none of which counts.
    NoneCounts,
    /// The outcomes have no rows.
    NoOutcomes,
    /// No row of the outcomes can be read.
    MalformedOutcomes {
        /// How many rows there are.
        rows: u64,
    },
    /// No row of the outcomes matches.
    Unmatched {
        /// How many rows there are.
        rows: u64,
        /// The column that identifies them.
        column: &'static str,
        /// The first values of the outcomes.
        outcomes: Vec<String>,
        /// The first values of the logs.
        logs: Vec<String>,
    },
    /// The units of the logs are digests with the salt of another trial than the file's.
    OtherDigests {
        /// How many rows of the outcomes there are.
        rows: u64,
        /// The trial.
        trial: String,
    },
    /// All rows of the outcomes are from before their unit's first request.
    Early {
        /// How many rows there are.
        rows: u64,
    },
    /// All rows of the outcomes that match may belong to other trials.
    OutcomesOfOtherTrials {
        /// How many rows there are.
        rows: u64,
        /// They are about requests.
        by_request: bool,
    },
    /// Units are planned, but the log has none.
    NoUnits {
        /// How many are planned.
        planned: u64,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the logs have no lines"),
            Self::Malformed { lines, first } => write!(
                f,
                "no line of the logs can be read as an exposure ({lines} in all); the first one: \
                 {first}. `sidetrack render` writes the format that is read: one JSON object per \
                 request"
            ),
            Self::Damaged { lines, first } => write!(
                f,
                "no line of the experiment can be read ({lines} in all); the first one: {first}"
            ),
            Self::OtherExperiments { experiment, found } if found.is_empty() => write!(
                f,
                "no line of the logs is of {experiment}, and none names an experiment. Likely \
                 causes: the requests matched no experiment, the proxy runs without the filter, or \
                 its access log has no field `experiment`"
            ),
            Self::DefaultFormat { lines } => write!(
                f,
                "the {lines} lines of the logs are in the default JSON format of Envoy or Istio, \
                 which has no exposures. Log with the format that `sidetrack render envoy` and \
                 `sidetrack render istio` write"
            ),
            Self::OtherExperiments { experiment, found } => write!(
                f,
                "no line of the logs is of {experiment}. They have {}. Likely causes: another \
                 experiment of the file is meant (--experiment), or these are logs of another proxy",
                counted(found)
            ),
            Self::OtherTrials { trial, found, of_file } => {
                write!(
                    f,
                    "no line of the logs is of the trial {trial}. They have {}",
                    counted(found)
                )?;
                if *of_file {
                    f.write_str(
                        ". The file's name and salt are not those that were in force; --trial \
                         selects one of these",
                    )?;
                }
                Ok(())
            }
            Self::OtherTime => f.write_str(
                "no request of the experiment is between --since and --until; both are UTC unless \
                 they name an offset",
            ),
            Self::NoneCounts => f.write_str(
                "no request of the experiment counts: all were left out for the reasons below",
            ),
            Self::NoOutcomes => f.write_str("the outcomes have no rows"),
            Self::MalformedOutcomes { rows } => {
                write!(f, "none of the {rows} outcome rows can be read")
            }
            Self::Unmatched { rows, column, outcomes, logs } => write!(
                f,
                "none of the {rows} outcome rows has a match in the logs: their {column} is {}; \
                 that of the logs is {}. Likely causes: outcomes of another time or proxy, or ids \
                 that were changed on the way",
                listed(outcomes),
                listed(logs)
            ),
            Self::OtherDigests { rows, trial } => write!(
                f,
                "none of the {rows} outcome rows has a match in the logs: the units of the trial \
                 {trial} are digests with its own salt, and the file has another one. Give the file \
                 of that trial, or outcomes with a request_id"
            ),
            Self::Early { rows } => write!(
                f,
                "all {rows} outcome rows are from before their unit's first request. Likely causes: \
                 a time zone that is missing in `time`, or outcomes of another period"
            ),
            Self::OutcomesOfOtherTrials { rows, by_request: true } => write!(
                f,
                "no outcome row is about a request of this trial; {rows} are about requests of \
                 other trials. Likely causes: outcomes of another period, or a trial that began a \
                 moment ago; --trial selects another trial"
            ),
            Self::OutcomesOfOtherTrials { rows, by_request: false } => write!(
                f,
                "{rows} outcome rows match a unit, but its latest exposure before them was, or may \
                 have been, in another trial. Likely causes: outcomes of another period, or two \
                 salts in force at the same time; --trial selects another trial"
            ),
            Self::NoUnits { planned } => write!(
                f,
                "{planned} units are planned, but the log has no units: requests of one user are not \
                 independent and do not count as units. Set settings.exposure_unit: digest and log \
                 again"
            ),
        }
    }
}

/// `forecast (3 lines), demo (1 line)`.
fn counted(found: &[(String, u64)]) -> String {
    let one = |(name, lines): &(String, u64)| {
        format!("{name} ({lines} line{})", if *lines == 1 { "" } else { "s" })
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `"a", "b", …`.
fn listed(values: &[String]) -> String {
    if values.is_empty() {
        return "missing".to_owned();
    }
    let quoted = values.iter().map(|value| format!("\"{value}\""));
    quoted.collect::<Vec<_>>().join(", ") + ", …"
}
