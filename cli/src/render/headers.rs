//! The headers of the filter that a proxy must remove, and where.

use sidetrack::plan::Plan;

/// The headers of testers. They must reach the filter, but not the model.
pub(super) fn testers(plan: &Plan) -> Vec<&str> {
    let names = &plan.settings.headers;
    let fixed = [&names.force, &names.token, &names.debug];
    let overrides =
        plan.experiments.iter().filter_map(|experiment| experiment.overrides.header.as_ref());
    let mut testers: Vec<&str> = fixed.into_iter().chain(overrides).map(String::as_str).collect();
    testers.sort_unstable();
    testers.dedup();
    testers
}

/// The headers that only the filter may set. A client's copies are removed before the filter, which may
/// be absent.
pub(super) fn own(plan: &Plan) -> Vec<&str> {
    let testers = testers(plan);
    let owned = plan.settings.headers.owned.iter().map(String::as_str);
    owned.filter(|name| !testers.contains(name)).collect()
}
