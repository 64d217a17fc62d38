//! Whether the labels have both classes in each variant: without one of them, there is nothing to tell apart.

use std::collections::BTreeMap;

use sidetrack_stats::float;

use crate::answer::{ModelResult, ModelVariant, Role};
use crate::check::{Check, CheckName, CheckState};
use crate::figures::visible;
use crate::metric::Metric;

/// So many labels of a class are expected of a variant that has none of them: chance alone leaves it without one in less
/// than one of 10⁴ experiments, if its units have one label each.
const EXPECTED: f64 = 10.0;
/// With fewer labels, a class may be rare.
const ENOUGH: u64 = 100;

/// `None` if no metric of labels decides, or nothing has a label.
pub(crate) fn labels(result: &ModelResult, metrics: &[Metric]) -> Option<Check> {
    let mut deciding = metrics.iter().filter(|metric| metric.role != Role::Exploratory);
    let decides = deciding.any(|metric| metric.model.is_some());
    let labels = result.classes.as_slice();
    let first = &labels.first().filter(|_| decides)?.label;
    let all: u64 = result.variants.iter().map(|variant| variant.labeled).sum();
    let shares: BTreeMap<String, f64> = result.variants.iter().filter_map(share).collect();
    let check = |state, value: Option<f64>, message| Check {
        name: CheckName::LabelClasses,
        state,
        subject: None,
        value,
        limit: 0.0,
        variants: shares.clone(),
        message,
    };
    let positive = result.positive.as_deref().map(visible);
    let positives: u64 = result.variants.iter().filter_map(|variant| variant.positives).sum();
    let one_class = match &positive {
        Some(_) => positives == 0 || positives == all,
        None => labels.len() == 1,
    };
    if one_class {
        let what = match &positive {
            Some(positive) if positives == 0 => format!("no label is \"{positive}\""),
            _ => format!("all labels are \"{}\"", visible(first)),
        };
        let state = if all >= ENOUGH { CheckState::Blocking } else { CheckState::Warning };
        let message = format!(
            "{what} ({all} labels): only one class is known, so that nothing can be told apart. Labels of \
             the other class may be missing, or the plan names another positive class"
        );
        return Some(check(state, Some(1.0), message));
    }
    if let Some(positive) = &positive {
        for variant in &result.variants {
            let Some(own) = variant.positives else { continue };
            let classes = [
                (own, positives, format!("\"{positive}\"")),
                (variant.labeled - own, all - positives, format!("other than \"{positive}\"")),
            ];
            for (own, of_all, class) in classes {
                let share = float(of_all) / float(all);
                if own > 0 || share * float(variant.labeled) < EXPECTED {
                    continue;
                }
                let message = format!(
                    "{} has no label {class} in {}, and all variants together have {:.1} %: its \
                     labels are incomplete",
                    variant.variant,
                    variant.labeled,
                    100.0 * share
                );
                return Some(check(CheckState::Blocking, Some(share), message));
            }
        }
    }
    let message = "each variant has labels of all classes, as far as it can be expected".to_owned();
    Some(check(CheckState::Ok, Some(0.0), message))
}

/// The share of positive labels of a variant.
fn share(variant: &ModelVariant) -> Option<(String, f64)> {
    let positives = variant.positives.filter(|_| variant.labeled > 0)?;
    Some((variant.variant.clone(), float(positives) / float(variant.labeled)))
}
