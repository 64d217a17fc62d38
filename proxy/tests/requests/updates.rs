//! Updates: the newest configuration of a plugin alone judges and publishes.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_proxy::host::Level;
use sidetrack_proxy::instance::Instance;

use crate::fake::Fake;
use crate::proxy::{Open, Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const WEIGHT: &str = "ab_test_variant_weight_ppm";
const STATE: &str = "ab_test_breaker_state";
const HASH: &str = "ab_test_config_hash{plugin=\"sidetrack\"}";

/// A breaker that opens after this many failures in a row.
fn breaker(failures: u32) -> Value {
    let breaker = json!({"consecutive_errors": failures, "compare_to_baseline": false});
    file(&json!({"breaker": breaker}))
}

/// Requests of different users that fail at the candidate.
fn fail(proxy: &Proxy, count: usize) {
    (0..count).for_each(|user| drop(proxy.send(&format!("user-{user}"), 503)));
}

fn tick_both(old: &mut Proxy, new: &mut Proxy, time: Duration) {
    for _ in 0..time.as_millis() / TICK.as_millis() {
        old.run(TICK);
        new.filter.tick();
    }
}

/// An old listener that drains has an instance on each worker, and goes on to serve.
#[test]
fn a_configuration_that_drains_judges_nothing() {
    let host = host(&[]);
    let mut old = Proxy::on(&host, &breaker(3));
    old.run(TICK);
    let mut new = Proxy::on(&host, &breaker(50));
    tick_both(&mut old, &mut new, SECOND);
    fail(&old, 20);
    tick_both(&mut old, &mut new, SECOND);
    assert_eq!(old.of("ab_test_breaker_trips_total", "new"), 0, "by the old limit");
    assert_eq!(old.requests("new"), [0, 20, 0], "they count in the metrics");
    // It follows the breaker of the new one.
    fail(&new, 50);
    assert_eq!(new.of("ab_test_breaker_trips_total", "new"), 1);
    tick_both(&mut old, &mut new, TICK);
    assert_eq!(old.send("anna", 200).sent("x-ab-variant"), ["old"]);
    assert_eq!(old.of(STATE, "new"), 2);
}

/// A text that a proxy only tries, and then gives to no worker, changes nothing.
#[test]
fn a_configuration_judges_until_a_worker_serves_with_a_newer_one() {
    let host = host(&[]);
    let mut old = Proxy::on(&host, &breaker(3));
    old.run(TICK);
    let tried = Proxy::on(&host, &breaker(50));
    old.run(SECOND);
    fail(&old, 3);
    assert_eq!(old.of("ab_test_breaker_trips_total", "new"), 1);
    drop(tried);
    old.run(SECOND);
    assert_ne!(old.value(HASH), 0);
}

#[test]
fn a_request_from_before_an_update_counts_in_the_metrics_only() {
    let mut proxy = Proxy::new(&breaker(3));
    proxy.run(TICK);
    let begin = |proxy: &Proxy, user: usize| {
        let mut request = proxy.open(&[("x-user-id", &format!("user-{user}"))]);
        request.decide();
        request
    };
    let mut begun: Vec<Open> = (0..5).map(|user| begin(&proxy, user)).collect();
    proxy.filter.load("sidetrack", breaker(4).to_string().as_bytes());
    proxy.run(TICK);
    for request in &mut begun {
        request.respond(503);
        request.end();
    }
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 0);
    assert_eq!(proxy.requests("new"), [0, 5, 0]);
    fail(&proxy, 4);
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), 1);
}

/// The old rollout is in its last phase, the new one in its first.
#[test]
fn the_weights_are_those_of_the_newest_configuration() {
    let host = host(&[]);
    let rollout = |percent: u32| {
        let phases = json!([{"name": "all", "weights": {"new": percent}}]);
        let rollout = json!({"start": "2026-01-01T00:00:00Z", "phases": phases});
        let variants = json!([{"name": "old"}, {"name": "new", "reserve": 80}]);
        file(&json!({"rollout": rollout, "variants": variants}))
    };
    let mut old = Proxy::on(&host, &rollout(80));
    old.run(SECOND);
    assert_eq!(old.of(WEIGHT, "new"), 800_000);
    let mut new = Proxy::on(&host, &rollout(20));
    // The first tick of the new one comes before the old one's, which then publishes once more.
    new.filter.tick();
    assert_eq!(old.of(WEIGHT, "new"), 200_000);
    for _ in 0..30 {
        tick_both(&mut old, &mut new, TICK);
        assert_eq!(old.of(WEIGHT, "new"), 200_000);
    }
}

/// What an older configuration wrote in the instant before it noticed the update.
#[test]
fn gauges_are_published_again_after_a_second() {
    let mut proxy = Proxy::new(&file(&json!({})));
    proxy.run(TICK);
    let name = format!("{WEIGHT}{{experiment=\"e\",model_name=\"new\"}}");
    let set = |proxy: &Proxy| {
        let mut series = proxy.host.0.series.borrow_mut();
        series.iter_mut().find(|(other, ..)| *other == name).unwrap().2 = 7;
    };
    set(&proxy);
    proxy.run(SECOND);
    assert_eq!(proxy.value(&name), 1_000_000);
}

/// A text is published again while its instances are alive, and the one in between ends.
#[test]
fn a_configuration_that_comes_into_force_again_judges_again() {
    let host = host(&[]);
    let mut old = Proxy::on(&host, &breaker(3));
    old.run(TICK);
    let mut between = Proxy::on(&host, &breaker(50));
    tick_both(&mut old, &mut between, SECOND);
    fail(&old, 2);
    drop(between);
    old.run(2 * SECOND);
    fail(&old, 2);
    assert_eq!(old.of("ab_test_breaker_trips_total", "new"), 0, "those from before do not count");
    fail(&old, 1);
    assert_eq!(old.of("ab_test_breaker_trips_total", "new"), 1);
    assert_ne!(old.value(HASH), 0);
}

/// A second candidate, as the replacement of the first one.
fn replaced() -> Value {
    file(&json!({"variants": [{"name": "old"}, {"name": "newer", "weight": 40}]}))
}

#[test]
fn gauges_of_what_an_update_no_longer_names_go_to_zero() {
    let host = host(&[]);
    let mut proxy = Proxy::on(&host, &breaker(3));
    proxy.run(TICK);
    fail(&proxy, 3);
    proxy.run(TICK);
    assert_eq!((proxy.of(STATE, "new"), proxy.of(WEIGHT, "new")), (2, 1_000_000));
    let counted = proxy.of("ab_test_breaker_trips_total", "new");
    // All workers start again with the update.
    drop(proxy);
    let mut proxy = Proxy::on(&host, &replaced());
    proxy.run(TICK);
    assert_eq!((proxy.of(STATE, "new"), proxy.of(WEIGHT, "new")), (0, 0), "the variant is gone");
    assert_eq!((proxy.of(WEIGHT, "old"), proxy.of(WEIGHT, "newer")), (600_000, 400_000));
    assert_eq!(proxy.of("ab_test_breaker_trips_total", "new"), counted, "counters stay");
    proxy.filter.load("sidetrack", br#"{"experiments": []}"#);
    proxy.run(TICK);
    assert_eq!((proxy.of(WEIGHT, "old"), proxy.of(WEIGHT, "newer")), (0, 0), "all are gone");
    assert_ne!(proxy.value(HASH), 0);
}

/// The new baseline was a candidate whose breaker was open.
#[test]
fn a_promoted_variant_has_no_breaker_any_more() {
    let mut proxy = Proxy::new(&breaker(3));
    proxy.run(TICK);
    fail(&proxy, 3);
    assert_eq!(proxy.of(STATE, "new"), 2);
    let promoted = file(&json!({"baseline": "new", "variants": [
        {"name": "old", "weight": 0}, {"name": "new"}]}));
    proxy.filter.load("sidetrack", promoted.to_string().as_bytes());
    proxy.run(TICK);
    assert_eq!((proxy.of(STATE, "new"), proxy.of(WEIGHT, "new")), (0, 1_000_000));
}

#[test]
fn gauges_of_a_plugin_that_has_ended_go_to_zero() {
    let host = host(&[]);
    let mut proxy = Proxy::on(&host, &file(&json!({})));
    let mut other = Proxy::on(&host, &file(&json!({})));
    proxy.run(SECOND);
    other.run(SECOND);
    // The workers end one after the other.
    drop(proxy);
    other.run(TICK);
    let reader = other.host.clone();
    drop(other);
    let series = reader.0.series.borrow();
    let set = series.iter().filter(|(name, _, value)| {
        *value != 0 && [WEIGHT, STATE, "ab_test_config_hash"].iter().any(|it| name.starts_with(it))
    });
    assert_eq!(set.count(), 0, "{series:#?}");
}

/// An experiment moves to another plugin, as when the first experiment of a file is renamed.
#[test]
fn gauges_that_another_plugin_publishes_stay() {
    let proxy = Proxy::new(&file(&json!({})));
    let text = file(&json!({})).to_string();
    let mut one = proxy.plugin("one", &text);
    one.tick();
    let mut two = proxy.plugin("two", &text);
    two.tick();
    drop(one);
    assert_eq!(proxy.of(WEIGHT, "new"), 1_000_000);
    assert_eq!(proxy.value("ab_test_config_hash{plugin=\"one\"}"), 0);
    assert_ne!(proxy.value("ab_test_config_hash{plugin=\"two\"}"), 0);
}

/// Two listeners have different files under one plugin name. Their files count as updates of each
/// other, but neither leaves its candidates without a breaker.
#[test]
fn files_without_a_common_experiment_do_not_end_each_others_breakers() {
    let host = host(&[]);
    let mut one = Proxy::on(&host, &breaker(3));
    one.run(TICK);
    let mut other = breaker(3);
    other["experiments"][0]["name"] = json!("f");
    let mut two = Proxy::on(&host, &other);
    tick_both(&mut one, &mut two, SECOND);
    fail(&one, 3);
    assert_eq!(one.of("ab_test_breaker_trips_total", "new"), 1);
    assert_eq!(one.of(STATE, "new"), 0, "no gauge of what the newest file does not name");
}

const SHARED: &str = "ab_test_plugin_shared{plugin=\"sidetrack\"}";

/// A request to a filter on this connection.
fn connect(proxy: &Proxy, filter: &Instance<Fake>, connection: u64) {
    let mut request = proxy.open_by(filter, &[("x-user-id", "anna")]);
    request.call.connection.set(connection);
    request.decide();
    request.respond(200);
    request.end();
}

fn tick_instance(proxy: &mut Proxy, other: &mut Instance<Fake>, time: Duration) {
    for _ in 0..time.as_millis() / TICK.as_millis() {
        proxy.run(TICK);
        other.tick();
    }
}

/// Two listeners, or two filter chains, with different files under one plugin name.
#[test]
fn two_files_under_one_plugin_name_are_reported() {
    let mut one = Proxy::new(&breaker(3));
    one.run(SECOND);
    let mut two = one.instance(&breaker(50).to_string());
    for turn in 0..5 {
        tick_instance(&mut one, &mut two, SECOND);
        assert_eq!(one.value(SHARED), u64::from(turn > 2), "{turn}");
        connect(&one, &two, 2 * turn + 1);
        connect(&one, &one.filter, 2 * turn + 2);
    }
    let is_report = |line: &&String| line.contains("under the plugin name sidetrack");
    assert_eq!(one.log(Level::Warning).iter().filter(is_report).count(), 1);
    // The older one gets a name of its own.
    drop(std::mem::replace(&mut one.filter, two));
    assert_eq!(one.value(SHARED), 1);
    one.run(2 * SECOND);
    assert_eq!(one.value(SHARED), 0);
}

/// An update: old connections stay with the old configuration.
#[test]
fn an_update_is_not_reported_as_two_files() {
    let mut old = Proxy::new(&breaker(3));
    old.run(SECOND);
    let mut new = old.instance(&breaker(50).to_string());
    for second in 0..20 {
        tick_instance(&mut old, &mut new, SECOND);
        connect(&old, &old.filter, second % 7 + 1);
        connect(&old, &new, 10 + second);
    }
    assert_eq!(old.value(SHARED), 0);
}

/// A rollback in a proxy that reuses the earlier instance without a callback, because its listener
/// drains: only its connections show it.
#[test]
fn a_configuration_that_gets_all_new_connections_again_judges_again() {
    let mut old = Proxy::new(&breaker(3));
    old.run(SECOND);
    let hash = old.value(HASH);
    let mut new = old.instance(&breaker(50).to_string());
    // Its first request counts, so that a rollback within a second shows as well.
    connect(&old, &new, 10);
    tick_instance(&mut old, &mut new, SECOND);
    for connection in 11..16 {
        assert_ne!(old.value(HASH), hash, "{connection}");
        tick_instance(&mut old, &mut new, SECOND);
        // The one in between drains.
        connect(&old, &new, 10);
        connect(&old, &old.filter, connection);
    }
    tick_instance(&mut old, &mut new, SECOND);
    assert_eq!(old.value(HASH), hash);
    fail(&old, 3);
    assert_eq!(old.of("ab_test_breaker_trips_total", "new"), 1);
    // A bad one falls back on it.
    let mut bad = old.instance("{");
    tick_instance(&mut old, &mut bad, SECOND);
    tick_instance(&mut old, &mut new, 3 * SECOND);
    assert_eq!((old.value(HASH), old.value(SHARED)), (hash, 0));
}

/// The listener of the newest one is not ready, so the old one still gets all connections.
#[test]
fn a_configuration_before_its_listener_is_ready_stays_in_force() {
    let mut old = Proxy::new(&breaker(3));
    old.run(SECOND);
    let mut new = old.instance(&breaker(50).to_string());
    tick_instance(&mut old, &mut new, SECOND);
    let hash = old.value(HASH);
    for connection in 1..40 {
        connect(&old, &old.filter, connection);
        tick_instance(&mut old, &mut new, SECOND);
    }
    assert_eq!(old.value(HASH), hash);
    // It is ready, and a few connections had been accepted before.
    for connection in 40..60 {
        connect(&old, &new, 2 * connection);
        connect(&old, &old.filter, if connection < 43 { 2 * connection + 1 } else { 1 });
        tick_instance(&mut old, &mut new, SECOND);
        assert_eq!(old.value(HASH), hash);
    }
}
