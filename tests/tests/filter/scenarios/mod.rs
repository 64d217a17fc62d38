//! Black-box scenarios: each runs under the fake host and in a real Envoy.

mod hygiene;
mod outcomes;
mod overrides;
mod reload;
mod rewrites;
mod split;
mod units;

use serde_json::{Value, json};
use sidetrack::decide::{Decision, Outcome};
use sidetrack_lab::Request;
use sidetrack_tests::world::{Exchange, World};

pub(crate) use self::{
    hygiene::*, outcomes::*, overrides::*, reload::*, rewrites::*, split::*, units::*,
};

/// The one table: gives every scenario's name to a macro that makes tests of them.
macro_rules! for_each_scenario {
    ($tests:ident) => {
        $tests! {
            the_split_is_sticky_and_as_the_recipe_says,
            two_candidates_share_the_buckets_in_the_order_of_their_names,
            headers_tell_model_and_caller,
            a_file_without_clusters_only_tags,
            two_experiments_do_not_touch_each_other,
            request_random_draws_each_request,
            a_layer_keeps_its_experiments_apart,
            an_experiment_that_is_switched_off_keeps_only_its_own_slots,
            a_rollout_is_in_the_phase_of_the_clock,
            a_rollout_that_has_not_started_is_the_baseline,
            the_kill_switch_gives_everyone_the_baseline,
            the_mirror_gets_its_share,
            a_mirror_of_everything_gets_those_without_a_unit_as_well,
            weights_and_hash_are_published,
            without_a_unit_the_baseline_serves,
            without_a_unit_chance_decides,
            without_a_unit_the_request_is_left_out,
            the_first_source_with_a_value_wins,
            the_body_may_hold_the_unit,
            broken_units_are_units_or_nothing,
            huge_and_strange_values_harm_nobody,
            an_override_chooses,
            an_override_needs_its_token,
            an_undeclared_override_is_nothing,
            an_override_header_of_another_name,
            a_unit_on_the_list_gets_its_variant,
            only_a_guarded_override_beats_the_kill_switch,
            debug_is_denied_by_default,
            debug_explains_when_allowed,
            debug_needs_its_token,
            no_match_leaves_no_trace,
            what_a_client_forges_does_not_survive,
            what_a_model_forges_does_not_come_back,
            another_header_prefix,
            the_caller_need_not_be_told,
            a_variant_has_its_own_path,
            a_path_with_another_beginning_stays,
            cookies_and_vary_are_added_to_those_of_the_model,
            outcomes_are_counted_by_status,
            grpc_failures_are_failures,
            a_caller_who_hangs_up_counts_as_neither,
            a_bad_first_configuration_passes_everything,
            a_bad_update_changes_nothing,
            a_good_update_takes_effect,
        }
    };
}
pub(crate) use for_each_scenario;

/// Where the forecast's requests go.
pub(crate) const FORECAST: &str = "/v2/models/forecast/infer";

/// The file that most scenarios start from: 30 percent of the users, by header, cookie or query.
pub(crate) fn forecast() -> Value {
    json!({"experiments": [experiment()]})
}

/// Its experiment.
pub(crate) fn experiment() -> Value {
    json!({
        "name": "forecast-ab",
        "salt": "forecast-1",
        "match": {"path": {"prefix": "/v2/models/forecast"}},
        "unit": [{"header": "x-user-id"}, {"cookie": "sid"}, {"query": "user"}],
        "baseline": "old",
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 30},
        ],
    })
}

/// The forecast's file with its experiment changed: each key of `changes` replaces or adds one.
pub(crate) fn forecast_with(changes: Value) -> Value {
    let mut file = forecast();
    merge(&mut file["experiments"][0], &changes);
    file
}

/// Puts the keys of `changes` into `object`.
pub(crate) fn merge(object: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().unwrap() {
        object[key] = value.clone();
    }
}

/// A request of this user for the forecast.
pub(crate) fn by(user: &str) -> Request {
    Request::get(FORECAST).header("x-user-id", user)
}

/// What the core decides about a request.
pub(crate) fn decision(world: &World, request: &Request) -> Decision {
    match world.decided(request) {
        Outcome::Decided(decision) => decision,
        other => panic!("no decision: {other:?}"),
    }
}

/// The name of the variant that the core gives the request.
pub(crate) fn variant(world: &World, request: &Request) -> String {
    let decision = decision(world, request);
    world.plan().experiments[decision.experiment].variants[decision.served].name.clone()
}

/// A user who gets this variant of the first experiment.
pub(crate) fn user_of(world: &World, wanted: &str) -> String {
    let users = (0..10_000).map(|n| format!("user-{n}"));
    users
        .into_iter()
        .find(|user| variant(world, &by(user)) == wanted)
        .expect("a user of every variant")
}

/// Asserts that the headers for the model and for the client report this variant.
pub(crate) fn told(exchange: &Exchange, variant: &str) {
    assert_eq!(exchange.up("x-ab-variant").as_deref(), Some(variant), "the model");
    assert_eq!(exchange.down("x-ab-variant").as_deref(), Some(variant), "the caller");
}

/// Asserts that nothing of the filter is seen, and the baseline served.
pub(crate) fn untouched(exchange: &Exchange) {
    assert_eq!(exchange.trace_of("x-ab-"), Vec::<String>::new());
    assert_eq!((exchange.status(), exchange.cluster()), (200, Some("old-cluster")));
}

/// All requests counted for the forecast, whatever their end.
pub(crate) async fn counted(world: &World) -> u64 {
    world.metric("ab_test_requests_total", &[("experiment", "forecast-ab")]).await.unwrap()
}
