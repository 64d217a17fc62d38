//! Readers learn of changes, and of nothing else.

use std::time::Duration;

use crate::crowd::{Crowd, FORECAST};
use crate::served::{Served, WAIT};

const EVENTS: &str = "/experiments/forecast/events";

fn version(served: &Served) -> String {
    let page = served.get("/experiments/forecast");
    page.header("etag").unwrap().trim_matches('"').to_owned()
}

#[test]
fn a_new_exposure_and_a_new_file_arrive_as_events() {
    let served = Served::new(&[FORECAST]);
    let seen = version(&served);
    let mut events = served.events(&format!("{EVENTS}?seen={seen}"), &[]);
    for part in [
        "200 ok",
        "content-type: text/event-stream",
        "content-security-policy",
        "x-accel-buffering: no",
    ] {
        assert!(events.head.contains(part), "{}", events.head);
    }
    assert!(events.is_quiet_for(Duration::from_millis(700)), "an event without a change");
    let mut crowd = Crowd::new(FORECAST);
    served.expose(&crowd.lines(50));
    let first = events.next().expect("no event after an exposure");
    assert_ne!(first, seen);
    // The id is the version of the page, which has the change.
    assert_eq!(version(&served), first);
    assert!(served.get("/experiments/forecast").text.contains("50 requests are stored"));
    served.replace(&[&FORECAST.replace("\"weight\": 40", "\"weight\": 60")]);
    let second = events.next().expect("no event after a new file");
    assert_ne!(second, first);
    // Transitions: a breaker opens.
    let mut lines = crowd.lines(50);
    crate::crowd::divert(&mut lines, "fancy", "plain");
    served.expose(&lines);
    let third = events.next().expect("no event after a transition");
    assert!(served.get("/experiments/forecast").text.contains("breaker of fancy: open"));
    assert_eq!(version(&served), third);
}

#[test]
fn a_reader_who_comes_back_gets_an_event_only_if_something_changed() {
    let served = Served::new(&[FORECAST]);
    let seen = version(&served);
    served.expose(&Crowd::new(FORECAST).lines(50));
    let mut late = served.events(&format!("{EVENTS}?seen={seen}"), &[]);
    let now = late.next().expect("it missed the change");
    assert_ne!(now, seen);
    // The browser says itself what it saw last; the address is that of the first time.
    let again = served.events(&format!("{EVENTS}?seen={seen}"), &[("last-event-id", &now)]);
    let mut again = again;
    assert!(again.is_quiet_for(Duration::from_millis(900)), "it knew that");
}

#[test]
fn repeats_change_nothing() {
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(50);
    served.expose(&lines);
    let seen = served.until("/experiments/forecast", "50 requests");
    let seen = seen.header("etag").unwrap().trim_matches('"').to_owned();
    let mut events = served.events(&format!("{EVENTS}?seen={seen}"), &[]);
    served.expose(&lines);
    assert!(events.is_quiet_for(Duration::from_secs(4)), "an event although nothing is new");
}

#[test]
fn a_stop_of_the_server_ends_the_streams_at_once() {
    let mut served = Served::new(&[FORECAST]);
    let mut all = [EVENTS, "/events"].map(|path| served.events(path, &[]));
    let took = served.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    for events in &mut all {
        assert_eq!(events.next(), None);
    }
}

#[test]
fn the_index_has_events_of_all_experiments() {
    let other = FORECAST.replace("forecast", "churn").replace("\"one\"", "\"two\"");
    let served = Served::new(&[FORECAST, &other]);
    let mut events = served.events("/events", &[]);
    served.expose(&Crowd::new(&other).lines(20));
    assert!(events.next().is_some());
    let unknown = served.get("/experiments/other/events");
    assert_eq!(unknown.status, 404, "{unknown:?}");
}

#[test]
fn the_number_of_streams_is_bounded() {
    let served = Served::new(&[FORECAST]);
    let mut streams: Vec<_> = (0..256).map(|_| served.events(EVENTS, &[])).collect();
    let refused = served.get(EVENTS);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("15")), "{refused:?}");
    // Pages and rows are served nevertheless.
    assert_eq!(served.get("/experiments/forecast").status, 200);
    served.expose(&Crowd::new(FORECAST).lines(20));
    for events in &mut streams {
        assert!(events.next().is_some());
    }
    // A place becomes free with its reader.
    streams.pop();
    let end = std::time::Instant::now() + WAIT;
    while served.events(EVENTS, &[]).head.contains("503") {
        assert!(std::time::Instant::now() < end, "no place becomes free");
        std::thread::sleep(Duration::from_millis(50));
    }
}
