//! Plugin instances: what they log and publish when configurations come and go.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_proxy::host::Level;

use crate::proxy::{Open, Proxy, file, host};

const TICK: Duration = Duration::from_millis(100);
const HASH: &str = "ab_test_config_hash{plugin=\"sidetrack\"}";
const REJECTED: &str = "ab_test_config_rejected_total{plugin=\"sidetrack\"}";

/// A second configuration: a candidate without users.
fn without_users() -> Value {
    file(&json!({"variants": [{"name": "old"}, {"name": "new", "weight": 0}]}))
}

#[test]
fn an_instance_that_ends_publishes_what_it_counted() {
    let proxy = Proxy::new(&file(&json!({})));
    proxy.send("anna", 200);
    let host = proxy.host.clone();
    drop(proxy);
    let other = Proxy::on(&host, &without_users());
    assert_eq!(other.requests("new"), [1, 0, 0]);
    assert_eq!(other.of("ab_test_response_time_seconds_count", "new"), 1);
}

#[test]
fn a_request_keeps_its_configuration_and_publishes_its_own_counts_after_an_update() {
    let mut proxy = Proxy::new(&file(&json!({})));
    proxy.send("anna", 200);
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    proxy.filter.load("sidetrack", without_users().to_string().as_bytes());
    assert_eq!(proxy.requests("new"), [1, 0, 0], "counted before the update");
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 1);
    assert_eq!(proxy.send("anna", 200).sent("x-ab-variant"), ["old"]);
    request.respond(200);
    request.end();
    assert_eq!(request.received("x-ab-variant"), ["new"]);
    assert_eq!(proxy.requests("new"), [2, 0, 0], "without a tick");
    assert_eq!(proxy.of("ab_test_response_time_seconds_count", "new"), 2);
    assert_eq!(proxy.requests("old"), [0, 0, 0]);
    proxy.run(TICK);
    assert_eq!(proxy.requests("old"), [1, 0, 0]);
}

#[test]
fn a_bad_configuration_is_reported_once_and_the_last_good_one_serves() {
    let host = host(&[]);
    let good = Proxy::on(&host, &file(&json!({})));
    let bad = json!({"experiments": [{"name": 7}]});
    let mut workers = [Proxy::on(&host, &bad), Proxy::on(&host, &bad)];
    assert_eq!(good.value(REJECTED), 1);
    let log = good.log(Level::Error);
    let is_problem = |line: &&String| line.contains("configuration rejected: experiments[0].name");
    assert_eq!(log.iter().filter(is_problem).count(), 1, "{log:?}");
    assert_eq!(log.last().unwrap(), "the last good configuration stays in force");
    for worker in &mut workers {
        assert_eq!(worker.send("anna", 200).sent("x-ab-variant"), ["new"]);
    }
    // Another worker gets a newer one.
    let newer = Proxy::on(&host, &without_users());
    for worker in &mut workers {
        worker.run(TICK);
        assert_eq!(worker.send("anna", 200).sent("x-ab-variant"), ["old"]);
    }
    drop(newer);
}

#[test]
fn before_the_first_good_configuration_requests_pass_untouched() {
    let host = host(&[]);
    let mut proxy = Proxy::on(&host, &json!({"experiments": 7}));
    assert!(
        proxy.log(Level::Error).last().unwrap().contains("all requests bypass the experiments")
    );
    assert!(proxy.send("anna", 200).sent("x-ab-variant").is_empty());
    proxy.run(TICK);
    assert_eq!(proxy.value(HASH), 0);
    assert_eq!(host.0.tick_period.get(), Some(TICK), "it waits for a good one");
    let good = Proxy::on(&host, &file(&json!({})));
    proxy.run(TICK);
    assert_eq!(proxy.send("anna", 200).sent("x-ab-variant"), ["new"]);
    assert_ne!(good.value(HASH), 0);
}

/// An empty text: the plugin has no configuration, or the file that it is read from cannot be read.
#[test]
fn an_empty_configuration_is_no_mistake_and_replaces_nothing() {
    let host = host(&[]);
    let mut proxy = Proxy::on(&host, &file(&json!({})));
    proxy.run(TICK);
    let hash = proxy.value(HASH);
    for empty in ["", "\n "] {
        let mut instance = proxy.instance(empty);
        instance.tick();
        let request = proxy.open_by(&instance, &[("x-user-id", "anna")]);
        assert_eq!(decided(request).sent("x-ab-variant"), ["new"], "the last good one serves");
        assert_eq!((proxy.value(HASH), proxy.value(REJECTED)), (hash, 0));
    }
    assert!(proxy.log(Level::Error).is_empty());
    let log = proxy.log(Level::Warning);
    let line = "the configuration is empty: the last good one stays in force";
    assert_eq!(log.iter().filter(|it| *it == line).count(), 2, "{log:?}");
}

#[test]
fn before_the_first_good_configuration_an_empty_one_passes_requests() {
    let proxy = Proxy::new(&file(&json!({})));
    let mut instance = proxy.plugin("other", "");
    instance.tick();
    let request = proxy.open_by(&instance, &[("x-user-id", "anna")]);
    assert!(decided(request).sent("x-ab-variant").is_empty());
    assert_eq!(proxy.value("ab_test_config_hash{plugin=\"other\"}"), 0);
    assert_eq!(proxy.value("ab_test_config_rejected_total{plugin=\"other\"}"), 0);
    assert!(proxy.log(Level::Warning).iter().all(|line| !line.contains("in force")));
}

fn decided(mut request: Open) -> Open {
    request.decide();
    request
}

/// A proxy tries a configuration in an instance that never ticks.
#[test]
fn the_hash_is_published_on_the_first_tick() {
    let mut proxy = Proxy::new(&file(&json!({})));
    assert_eq!(proxy.value(HASH), 0);
    proxy.run(TICK);
    assert_ne!(proxy.value(HASH), 0);
}

#[test]
fn notices_of_a_configuration_are_logged() {
    let proxy = Proxy::new(&file(&json!({"unit": [{"body": "/user"}]})));
    let log = proxy.log(Level::Warning);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("experiments[0].unit[0].body: "), "{log:?}");
    // Once for all workers.
    let other = Proxy::on(&proxy.host, &file(&json!({"unit": [{"body": "/user"}]})));
    assert_eq!(other.log(Level::Warning).len(), 1);
    assert_eq!(Proxy::new(&file(&json!({}))).log(Level::Warning), [""; 0]);
    // Where requests can wait, the file needs nothing else.
    let host = host(&["SIDETRACK_WAIT_FOR_BODIES"]);
    let proxy = Proxy::on(&host, &file(&json!({"unit": [{"body": "/user"}]})));
    assert_eq!(proxy.log(Level::Warning), [""; 0]);
}

#[test]
fn hidden_series_are_reported() {
    let host = host(&[]);
    host.0.hides_series.set(true);
    let mut proxy = Proxy::on(&host, &file(&json!({})));
    proxy.run(10 * TICK);
    let log = proxy.log(Level::Error);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("a stats matcher excludes fake.*"), "{log:?}");
}

#[test]
fn a_missing_store_is_reported_and_requests_are_served() {
    let host = host(&[]);
    host.0.has_no_store.set(true);
    let proxy = Proxy::on(&host, &file(&json!({})));
    assert!(proxy.log(Level::Warning)[0].contains("shared data is unavailable"));
    assert_eq!(proxy.send("anna", 200).sent("x-ab-variant"), ["new"]);
}
