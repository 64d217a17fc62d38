//! Response times, as Prometheus reads them: exact counts in-process, and on a real Envoy.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::time::Duration;

use crate::scenarios::{FORECAST, by, experiment, forecast, forecast_with, user_of};
use serde_json::json;
use sidetrack_lab as lab;
use sidetrack_tests::fake_host::{Module, Proxy, Vm};
use sidetrack_tests::world::{Kind, Stage, World, run};

const BOUNDS: [&str; 12] =
    ["0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "+Inf"];

fn labels(variant: &str) -> String {
    format!("experiment=.=forecast-ab;.;model_name=.={variant};.;")
}

/// The cumulative buckets of a variant in the order of their bounds, the count and the sum.
fn times(proxy: &Proxy, variant: &str) -> ([u64; 12], u64, u64) {
    let of = |le: &str, metric: &str| {
        let name = format!("{}{le}ab_test_response_time_seconds_{metric}", labels(variant));
        proxy.counter(&name).unwrap_or_else(|| panic!("no {name}"))
    };
    (BOUNDS.map(|le| of(&format!("le=.={le};.;"), "bucket")), of("", "count"), of("", "sum"))
}

/// A request of a user of the baseline that is answered after so long.
fn answered_after(proxy: &Proxy, vm: &Vm, time: Duration, more: &[(&str, &str)]) {
    let stream = vm.stream();
    let mut headers =
        vec![(":method", "GET"), (":path", FORECAST), (":authority", "a"), ("x-user-id", "1")];
    headers.extend(more);
    stream.request_headers(headers, true).unwrap();
    proxy.advance(time);
    stream.response_headers([(":status", "200")], true).unwrap();
    // What follows the headers takes its time too, and does not count.
    proxy.advance(Duration::from_secs(3));
    stream.finish().unwrap();
}

fn a_second_of_ticks(vm: &Vm) {
    (0..10).for_each(|_| vm.tick().unwrap());
}

fn vm(proxy: &Proxy, file: &serde_json::Value) -> Vm {
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure(file.to_string()).unwrap(), "{}", proxy.log_text());
    vm
}

#[test]
fn every_bucket_is_there_from_load_on_and_they_are_cumulative() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    for variant in ["old", "new"] {
        assert_eq!(times(&proxy, variant), ([0; 12], 0, 0));
    }
    // Each bound belongs to its bucket, and a nanosecond more to the next.
    let nanosecond = Duration::from_nanos(1);
    for millis in [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] {
        answered_after(&proxy, &worker, Duration::from_millis(millis), &[]);
        answered_after(&proxy, &worker, Duration::from_millis(millis) + nanosecond, &[]);
    }
    a_second_of_ticks(&worker);
    let (buckets, count, sum) = times(&proxy, "old");
    assert_eq!(buckets, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 22]);
    assert_eq!(count, 22);
    // Twice 18.885 s, to the nearest second.
    assert_eq!(sum, 38);
    assert_eq!(times(&proxy, "new"), ([0; 12], 0, 0));
}

#[test]
fn the_sum_is_never_further_off_than_half_a_second() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    let mut truth = Duration::ZERO;
    for n in 0_u32..300 {
        let time = Duration::from_micros(u64::from(n * 7919 % 1_300_000));
        answered_after(&proxy, &worker, time, &[]);
        truth += time;
        if n % 7 == 0 {
            a_second_of_ticks(&worker);
            let (_, count, sum) = times(&proxy, "old");
            assert_eq!(count, u64::from(n + 1));
            let off = truth.abs_diff(Duration::from_secs(sum));
            assert!(off <= Duration::from_millis(500), "{truth:?} published as {sum}");
        }
    }
    assert!(truth > Duration::from_secs(20), "{truth:?}");
}

#[test]
fn only_what_counts_as_a_request_is_timed() {
    let proxy = Proxy::new(Module::sidetrack());
    let overrides = json!({"overrides": {"header": "x-ab-force"}});
    let worker = vm(&proxy, &forecast_with(overrides));
    let short = Duration::from_millis(1);
    answered_after(&proxy, &worker, short, &[("x-ab-force", "old")]);
    // Nobody was there to be answered.
    let stream = worker.stream();
    let headers =
        [(":method", "GET"), (":path", FORECAST), (":authority", "a"), ("x-user-id", "1")];
    stream.request_headers(headers, true).unwrap();
    stream.finish().unwrap();
    a_second_of_ticks(&worker);
    assert_eq!(times(&proxy, "old"), ([0; 12], 0, 0));
    // A clock that steps back makes an answer fast, and nothing worse.
    let stream = worker.stream();
    stream.request_headers(headers, true).unwrap();
    proxy.set_now(proxy.now() - 5_000_000_000);
    stream.response_headers([(":status", "200")], true).unwrap();
    stream.finish().unwrap();
    a_second_of_ticks(&worker);
    assert_eq!(times(&proxy, "old"), ([1; 12], 1, 0));
}

/// Unpublished counts are published when a configuration is released, and if Envoy provides no
/// ticks.
#[test]
fn no_count_is_lost_with_its_configuration_or_for_want_of_ticks() {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = vm(&proxy, &forecast());
    let success = format!("{}status=.=success;.;ab_test_requests_total", labels("old"));
    answered_after(&proxy, &worker, Duration::from_millis(700), &[]);
    assert_eq!(
        (proxy.counter(&success), times(&proxy, "old").1),
        (Some(0), 0),
        "told before the tick"
    );
    let mut other = experiment();
    other["name"] = json!("another");
    assert!(worker.configure(json!({"experiments": [other]}).to_string()).unwrap());
    assert_eq!(worker.roots(), 1);
    assert_eq!(
        (proxy.counter(&success), times(&proxy, "old").1, times(&proxy, "old").2),
        (Some(1), 1, 1)
    );

    let proxy = Proxy::new(Module::sidetrack());
    let status = sidetrack_tests::fake_host::Status::Unimplemented;
    proxy.fault("proxy_set_tick_period_milliseconds", status);
    let worker = vm(&proxy, &forecast());
    answered_after(&proxy, &worker, Duration::from_millis(1), &[]);
    assert_eq!((proxy.counter(&success), times(&proxy, "old").1), (Some(1), 1));
}

/// As Prometheus computes `histogram_quantile`, from what Envoy prints.
async fn quantile(world: &World, variant: &str, q: f64) -> f64 {
    let mut buckets = Vec::new();
    for le in BOUNDS {
        let labels = [("model_name", variant), ("le", le)];
        let count = world.metric("ab_test_response_time_seconds_bucket", &labels).await.expect(le);
        buckets.push((le.replace("+Inf", "inf").parse::<f64>().unwrap(), count as f64));
    }
    let all = buckets.last().unwrap().1;
    let rank = q * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank).unwrap();
    let (from, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (to, upto) = buckets[at];
    from + (to - from) * (rank - below) / (upto - below)
}

#[tokio::test]
async fn a_slow_model_shows_in_envoys_own_statistics() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = stage.start(&forecast_with(json!({"breaker": {"mode": "disabled"}}))).await;
        let slow = Duration::from_millis(600);
        world.real().stubs["new-cluster"].set(lab::Behavior::Delay(slow));
        let (fast_user, slow_user) = (user_of(&world, "old"), user_of(&world, "new"));
        for _ in 0..5 {
            world.send(by(&slow_user)).await;
            world.send(by(&fast_user)).await;
        }
        for variant in ["old", "new"] {
            world
                .expect_metric("ab_test_response_time_seconds_count", &[("model_name", variant)], 5)
                .await;
        }
        let median = quantile(&world, "new", 0.5).await;
        assert!((0.5..2.0).contains(&median), "a model that takes 0.6 s has a median of {median}");
        // Half a second for each of two workers.
        let sum = world
            .metric("ab_test_response_time_seconds_sum", &[("model_name", "new")])
            .await
            .unwrap();
        assert!(sum >= 2, "5 answers of 0.6 s and more make {sum} s");
    })
    .await;
}
