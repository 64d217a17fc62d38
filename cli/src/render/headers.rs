//! Which of the filter's headers a proxy must take away, and where.

use sidetrack::plan::Plan;

/// What testers send to the filter. It must reach the filter, and not the model.
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

/// What only the filter may set: a client's copies must go before the filter, in case it is absent.
pub(super) fn own(plan: &Plan) -> Vec<&str> {
    let testers = testers(plan);
    let owned = plan.settings.headers.owned.iter().map(String::as_str);
    owned.filter(|name| !testers.contains(name)).collect()
}
