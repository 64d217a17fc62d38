//! Checks of every exchange, in all scenarios.

use sidetrack::plan::{Plan, Variant};

use super::{Exchange, Lines, first};

/// Checks an exchange; without a plan the filter should have left no trace.
///
/// # Panics
///
/// If something does not hold.
pub(super) fn exchange(exchange: &Exchange, plan: Option<&Plan>) {
    // Without a plan the names are the default ones.
    let prefix = plan.map_or("x-ab-", |plan| plan.settings.headers.prefix.as_str());
    let name = |suffix: &str| format!("{prefix}{suffix}");
    let asked = exchange.sent.headers.iter().any(|(n, v)| *n == name("debug") && !v.is_empty());
    let debugging =
        asked && plan.is_some_and(|plan| plan.settings.debug != sidetrack::plan::Debug::Denied);
    for suffix in
        ["cluster", "mirror", "force", "token", "debug", "reason", "bucket", "breaker", "config"]
    {
        if let Some(model) = &exchange.model {
            let values = values(&model.headers, &name(suffix));
            assert!(values.is_empty(), "{}{suffix} reached the model: {values:?}", prefix);
        }
        let explains = ["reason", "bucket", "breaker", "config"].contains(&suffix);
        let values = values(&exchange.response.headers, &name(suffix));
        assert!(
            values.len() <= usize::from(explains && debugging),
            "{prefix}{suffix} came back: {values:?}"
        );
    }
    if let Some(model) = &exchange.model {
        marked(&model.headers, prefix, plan, "the model's request");
        for header in plan.iter().flat_map(|plan| &plan.settings.headers.owned) {
            let told = ["experiment", "variant", "assigned", "phase"].map(name);
            let values = values(&model.headers, header);
            assert!(
                told.contains(header) || values.is_empty(),
                "{header} reached the model: {values:?}"
            );
        }
        let answered = first(&exchange.response.headers, "x-model");
        assert!(
            answered.is_none() || answered.as_deref() == Some(&model.cluster),
            "{} received the request and {answered:?} answered",
            model.cluster
        );
        went_where_it_says(&model.headers, &model.cluster, prefix, plan);
        let served = plan.and_then(|plan| variant_of(&model.headers, prefix, plan));
        if served.is_none_or(|variant| variant.rewrite.is_none()) {
            assert_eq!(model.path, exchange.sent.path, "the model received another path");
        }
    }
    marked(&exchange.response.headers, prefix, plan, "the response");
    if let (Some(model), true) =
        (&exchange.model, plan.is_some_and(|plan| plan.settings.response_headers))
    {
        for suffix in ["experiment", "variant", "assigned", "phase"] {
            let (up, down) = (
                first(&model.headers, &name(suffix)),
                first(&exchange.response.headers, &name(suffix)),
            );
            assert_eq!(
                up, down,
                "{prefix}{suffix} differs between the model's request and the response"
            );
        }
    }
}

/// Experiment and variant come once and together; the rest only with them.
fn marked(lines: &Lines, prefix: &str, plan: Option<&Plan>, place: &str) {
    let [experiment, variant, assigned, phase] = ["experiment", "variant", "assigned", "phase"]
        .map(|suffix| values(lines, &format!("{prefix}{suffix}")));
    for (name, values) in [
        ("experiment", &experiment),
        ("variant", &variant),
        ("assigned", &assigned),
        ("phase", &phase),
    ] {
        assert!(values.len() <= 1, "{place} has {prefix}{name} {} times: {values:?}", values.len());
    }
    assert_eq!(
        experiment.len(),
        variant.len(),
        "{place} has experiment {experiment:?}, variant {variant:?}"
    );
    if experiment.is_empty() {
        assert!(
            assigned.is_empty() && phase.is_empty(),
            "{place} has {assigned:?}, {phase:?} alone"
        );
        return;
    }
    assert_ne!(assigned, variant, "{place} has {prefix}assigned, though it is the served variant");
    let known =
        plan.and_then(|plan| plan.experiments.iter().find(|e| experiment == [e.name.as_str()]));
    let Some(known) = known else {
        assert!(
            experiment.is_empty(),
            "{place} names the experiment {experiment:?}, which there is not"
        );
        return;
    };
    for name in variant.iter().chain(&assigned) {
        assert!(
            known.variant(name.as_bytes()).is_some(),
            "{place} names the variant {name}, which there is not"
        );
    }
    for name in &phase {
        let phases = known.schedule.phases();
        assert!(
            phases.iter().any(|p| p.name == *name),
            "{place} names the phase {name}, which there is not"
        );
    }
}

/// The cluster is the variant's.
fn went_where_it_says(lines: &Lines, cluster: &str, prefix: &str, plan: Option<&Plan>) {
    if let Some(variant) = plan.and_then(|plan| variant_of(lines, prefix, plan)) {
        let expected = variant.cluster.as_ref().unwrap_or(&variant.name);
        assert_eq!(cluster, expected, "a request for {} went elsewhere", variant.name);
    }
}

/// The variant that a request's headers name.
fn variant_of<'p>(lines: &Lines, prefix: &str, plan: &'p Plan) -> Option<&'p Variant> {
    let named = |suffix: &str| first(lines, &format!("{prefix}{suffix}"));
    let (experiment, variant) = (named("experiment")?, named("variant")?);
    let experiment = plan.experiments.iter().find(|e| e.name == experiment)?;
    experiment.variants.iter().find(|v| v.name == variant)
}

fn values(lines: &Lines, name: &str) -> Vec<String> {
    let found = lines.iter().filter(|(key, _)| key == name);
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}
