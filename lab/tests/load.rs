//! The load keeps its rate, whatever the server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sidetrack_lab::{Behavior, Load, LoadOptions, ModelStub, Request};

#[tokio::test]
async fn keeps_a_rate_of_1500_per_second() {
    let stub = ModelStub::start("a").await.unwrap();
    stub.record(false);
    let answers = Arc::new(AtomicU64::new(0));
    let mut options = LoadOptions::new(stub.addr(), 1500.0, |n| Request::get(format!("/{n}")));
    options.duration = Some(Duration::from_secs(2));
    let counted = Arc::clone(&answers);
    options.on_answer = Arc::new(move |n, request, answer| {
        assert_eq!(request.path, format!("/{n}"));
        counted.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
    });
    let begun = Instant::now();
    let totals = Load::run(options).unwrap().finish().await;
    let took = begun.elapsed();
    assert_eq!((totals.done, totals.status(200), totals.errors), (3000, 3000, 0), "{totals:?}");
    assert_eq!((stub.count(), answers.load(Ordering::Relaxed)), (3000, 3000));
    assert!(took < Duration::from_millis(4000), "{took:?}, {totals:?}");
}

#[tokio::test]
async fn stops_when_told_and_counts_by_status() {
    let stub = ModelStub::start("a").await.unwrap();
    stub.set(Behavior::ErrorEvery(2));
    let load = Load::run(LoadOptions::new(stub.addr(), 200.0, |_| Request::get("/"))).unwrap();
    while load.totals().done < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let totals = load.stop().await;
    assert!(totals.status(200).abs_diff(totals.status(500)) <= 1, "{totals:?}");
    assert_eq!(totals.done, stub.count());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(totals.done, stub.count());
}

#[tokio::test]
async fn a_slow_server_makes_requests_late_but_not_many_at_once() {
    let stub = ModelStub::start("a").await.unwrap();
    stub.set(Behavior::Delay(Duration::from_millis(200)));
    let mut options = LoadOptions::new(stub.addr(), 100.0, |_| Request::get("/"));
    options.connections = 2;
    let begun = Instant::now();
    let load = Load::run(options).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while load.totals().late == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Two connections at 200 ms each carry 10 requests a second, not 100.
    let most = 2 * (begun.elapsed().as_millis() / 200 + 1);
    assert!(u128::from(stub.count()) <= most, "{} of {most}", stub.count());
    let totals = load.stop().await;
    assert!(totals.late > 0, "{totals:?}");
}

#[tokio::test]
async fn refusals_are_errors() {
    let stub = ModelStub::start("a").await.unwrap();
    stub.refuse().await;
    let mut options = LoadOptions::new(stub.addr(), 100.0, |_| Request::get("/"));
    options.duration = Some(Duration::from_millis(100));
    let totals = Load::run(options.clone()).unwrap().finish().await;
    assert_eq!((totals.done, totals.errors), (10, 10));
    options.rate_per_second = 0.0;
    assert!(Load::run(options).is_err());
}
