//! Successes and trials, batch by batch, from a CSV.

use std::path::Path;

use anyhow::Context as _;
use sidetrack::plan::{Experiment, PerVariant, VariantId};
use sidetrack_stats::input::Proportion;

use crate::fault::Fault;
use crate::words::visible;

/// The rewards of each variant.
pub(super) struct Rewards {
    /// By batch, in the order of first appearance, and by variant.
    pub(super) batches: Vec<PerVariant<Option<Proportion>>>,
}

impl Rewards {
    /// Reads the file. A malformed row is an error, because weights must not depend on partial data.
    ///
    /// # Errors
    /// A file that cannot be read, a missing column, or a malformed row.
    pub(super) fn read(path: &Path, experiment: &Experiment) -> anyhow::Result<Self> {
        let name = visible(&path.to_string_lossy());
        let context = || format!("cannot read {name}");
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).with_context(context)?;
        let header = reader.headers().with_context(context)?.clone();
        let column = |wanted: &str| {
            header.iter().position(|name| name.trim_start_matches('\u{feff}') == wanted)
        };
        let needed = |wanted: &str| {
            let found = header.iter().map(visible).collect::<Vec<_>>().join(", ");
            column(wanted).ok_or_else(|| {
                Fault(format!("--rewards {name}: the column {wanted} is missing; the columns are: {found}\n  hint: the header must be variant,successes,trials[,batch]"))
            })
        };
        let (variant, successes, trials) =
            (needed("variant")?, needed("successes")?, needed("trials")?);
        let batch = column("batch");
        let mut keys: Vec<String> = Vec::new();
        let mut sums: Vec<PerVariant<(u64, u64)>> = Vec::new();
        for record in reader.records() {
            let record = record.with_context(context)?;
            let line = record.position().map_or(0, csv::Position::line);
            let bad = |what: String| Fault(format!("--rewards {name}, line {line}: {what}"));
            let get = |column: usize| record.get(column).unwrap_or_default();
            let index = experiment.variant(get(variant).as_bytes()).ok_or_else(|| {
                let names = experiment
                    .variants
                    .iter()
                    .map(|variant| variant.name.as_str())
                    .collect::<Vec<_>>();
                bad(format!(
                    "unknown variant \"{}\"; expected one of: {}",
                    visible(get(variant)),
                    names.join(", ")
                ))
            })?;
            let count = |what: &str, column: usize| {
                get(column).parse::<u64>().map_err(|_| {
                    bad(format!(
                        "{what} is \"{}\", but must be a whole number of 0 or more",
                        visible(get(column))
                    ))
                })
            };
            let (successes, trials) = (count("successes", successes)?, count("trials", trials)?);
            if successes > trials {
                return Err(bad(format!(
                    "successes is {successes}, but must be at most trials ({trials})"
                ))
                .into());
            }
            let key = batch.map(get).unwrap_or_default();
            let place = keys.iter().position(|known| known == key).unwrap_or_else(|| {
                keys.push(key.to_owned());
                sums.push(experiment.variants.map(|_, _| (0, 0)));
                keys.len() - 1
            });
            if let Some(sum) = sums.get_mut(place).map(|batch| &mut batch[index]) {
                *sum = (sum.0.saturating_add(successes), sum.1.saturating_add(trials));
            }
        }
        if keys.is_empty() {
            return Err(Fault(format!("--rewards {name} has no rows")).into());
        }
        let share = |(successes, trials): (u64, u64)| Proportion::new(successes, trials).ok();
        Ok(Self { batches: sums.iter().map(|batch| batch.map(|_, sum| share(*sum))).collect() })
    }

    /// Successes and trials of a variant in all batches.
    pub(super) fn sums(&self, variant: VariantId) -> (u64, u64) {
        let of = self.batches.iter().filter_map(|batch| batch[variant]);
        of.fold((0, 0), |sums, share| (sums.0 + share.successes(), sums.1 + share.trials()))
    }
}
