//! The experiments that a store knows: those of its files. Records of other experiments are refused, so that no sender
//! chooses how much the store keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use sidetrack::exposure;
use sidetrack::plan::{Experiment, ExposureUnit, Plan};
use sidetrack_analysis::Strata;
use sidetrack_analysis::plan::AnalysisPlan;

use crate::error::Error;

/// An experiment file that is valid.
#[derive(Clone, Debug)]
pub struct ExperimentFile {
    /// Its meaning.
    pub plan: Plan,
    /// The analysis plans, by experiment.
    pub analyses: Vec<Option<AnalysisPlan>>,
    /// Its text, whose comments are the history of a bandit.
    pub text: String,
}

/// An experiment, with what its file says beside it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) experiment: Experiment,
    pub(crate) analysis: Option<AnalysisPlan>,
    pub(crate) strata: Strata,
    pub(crate) config_hash: String,
    pub(crate) trial: String,
    /// Units of the log are plain text.
    pub(crate) plain: bool,
}

/// The experiments of all files.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<String, Arc<Entry>>,
}

impl Catalog {
    /// The experiments of these files.
    ///
    /// # Errors
    /// Two files have an experiment of the same name, or the notes of a bandit cannot be read.
    pub fn new(files: Vec<ExperimentFile>) -> Result<Self, Error> {
        let mut entries = BTreeMap::new();
        for file in files {
            let plain = file.plan.settings.exposure_unit == ExposureUnit::Plain;
            let config_hash = file.plan.hash.to_string();
            let analyses = file.analyses.into_iter().chain(std::iter::repeat(None));
            for (experiment, analysis) in file.plan.experiments.into_iter().zip(analyses) {
                let strata = Strata::new(&experiment, &file.text)
                    .map_err(|error| Error::Input(error.to_string()))?;
                let name = experiment.name.clone();
                let trial = exposure::trial(&experiment);
                let config_hash = config_hash.clone();
                let entry = Entry { experiment, analysis, strata, config_hash, trial, plain };
                if entries.insert(name.clone(), Arc::new(entry)).is_some() {
                    return Err(Error::Input(format!(
                        "two files have an experiment with the name \"{name}\"; the store needs one file \
                         per experiment"
                    )));
                }
            }
        }
        Ok(Self { entries })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The names of the experiments.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}
