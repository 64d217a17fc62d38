//! Breakers as the proxies' metrics have them, beside what exposures show.

use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidetrack_store::{BreakerReading, BreakerState, BreakersFrom};

use crate::served::{Request, Served};

const VALID: Duration = Duration::from_secs(60);

fn reading(proxy: &str, state: BreakerState, trips: u64) -> BreakerReading {
    BreakerReading {
        proxy: proxy.to_owned(),
        experiment: "forecast".to_owned(),
        variant: "fancy".to_owned(),
        state,
        trips,
    }
}

fn log(served: &Served) -> Vec<Value> {
    let log = served.read("/v1/experiments/forecast/log");
    let all = log["log"].as_array().unwrap().iter();
    all.filter(|entry| entry["kind"] == "breaker").cloned().collect()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn without_metrics_the_state_is_inferred_from_exposures() {
    let served = Served::new();
    served.expose(&[Request { reason: "breaker_open", ..Request::new("a", "u") }]);
    let live = served.store.live("forecast").unwrap();
    assert_eq!(live.breakers_from, BreakersFrom::Inferred);
    assert_eq!(live.breakers["fancy"], BreakerState::Open);
    assert!(live.proxies.is_empty());
    let log = log(&served);
    assert_eq!(
        (log.len(), &log[0]["from"], &log[0]["trips"]),
        (1, &"inferred".into(), &Value::Null)
    );
}

#[test]
fn with_metrics_the_state_and_its_history_are_exact() {
    let served = Served::new();
    // Exposures of this minute and of an earlier hour say open; the proxies say closed.
    for (id, time) in [("a", now()), ("b", now() - 3_600_000)] {
        served.expose(&[Request { time, reason: "breaker_open", ..Request::new(id, "u") }]);
    }
    let observe = |readings: &[BreakerReading]| {
        served.store.observe_breakers(readings, VALID).unwrap();
        serde_json::to_value(served.store.live("forecast").unwrap()).unwrap()
    };
    let live = observe(&[reading("one", BreakerState::Closed, 4)]);
    assert_eq!(live["breakers_from"], "exact", "{live}");
    assert_eq!(live["breakers"], json!({"fancy": "closed"}), "{live}");
    let inferred: Vec<Value> = log(&served);
    assert_eq!(inferred.len(), 1, "only that of the earlier hour: {inferred:?}");

    let live =
        observe(&[reading("one", BreakerState::Closed, 4), reading("two", BreakerState::Open, 1)]);
    assert_eq!(live["breakers"], json!({"fancy": "open"}), "{live}");
    assert_eq!(live["proxies"]["fancy"], json!({"closed": 1, "half_open": 0, "open": 1}), "{live}");
    observe(&[reading("one", BreakerState::Closed, 6), reading("two", BreakerState::HalfOpen, 1)]);
    observe(&[reading("one", BreakerState::Closed, 6), reading("two", BreakerState::Closed, 1)]);
    // Of an experiment that no file has.
    let stranger =
        BreakerReading { experiment: "other".into(), ..reading("one", BreakerState::Open, 9) };
    observe(&[stranger, reading("one", BreakerState::Closed, 6)]);

    let log = log(&served);
    let found: Vec<[&Value; 3]> =
        log.iter().map(|entry| ["state", "from", "trips"].map(|name| &entry[name])).collect();
    let (open, half, exact, inferred) =
        (json!("open"), json!("half_open"), json!("exact"), json!("inferred"));
    assert_eq!(
        found,
        [[&open, &inferred, &Value::Null], [&open, &exact, &json!(1)], [&half, &exact, &json!(2)],],
        "{log:#?}"
    );
    // An entry lasts until the next one begins.
    assert!(log[1]["until"].as_str() >= log[2]["time"].as_str(), "{log:#?}");
    assert_eq!(log[1]["proxies"]["open"], 1, "{log:#?}");
    assert_eq!(log[1]["requests"], 1, "{log:#?}");
    // It is there after a restart, while the state is unknown until the next reading.
    let folder = served.stop();
    let served = Served::on(
        folder,
        &[crate::served::EXPERIMENT],
        Default::default(),
        sidetrack_store::Access::local(),
    );
    assert_eq!(self::log(&served).len(), 3);
    assert_eq!(served.store.live("forecast").unwrap().breakers_from, BreakersFrom::Inferred);
}

#[test]
fn a_source_is_asked_again_and_again_and_its_failures_are_reported() {
    let served = Served::new();
    let answer = Arc::new(Mutex::new(Ok(vec![reading("one", BreakerState::Open, 1)])));
    let source = Arc::clone(&answer);
    let every = Duration::from_millis(20);
    let watch = served.store.watch_breakers(every, move || {
        source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    });
    let watch = watch.unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < end, "not within 20 s: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let live = || served.store.live("forecast").unwrap();
    until("open", &|| live().breakers.get("fancy") == Some(&BreakerState::Open));
    until("no problem", &|| watch.problem().is_none());
    *answer.lock().unwrap() = Ok(vec![reading("one", BreakerState::HalfOpen, 1)]);
    until("half open", &|| live().breakers.get("fancy") == Some(&BreakerState::HalfOpen));
    *answer.lock().unwrap() = Err("connection refused".to_owned());
    until("unknown", &|| live().breakers_from == BreakersFrom::Inferred);
    until("reported", &|| watch.problem().as_deref() == Some("connection refused"));
    *answer.lock().unwrap() = Ok(vec![reading("one", BreakerState::Closed, 1)]);
    until("known again", &|| live().breakers_from == BreakersFrom::Exact);
    until("no problem any more", &|| watch.problem().is_none());
    // A watch that is dropped holds nothing back: the store can be opened again.
    drop(watch);
    served.stop();
}
