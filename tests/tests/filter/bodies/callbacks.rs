//! Bodies callback by callback, under the fake host.

use serde_json::json;
use sidetrack::decide::Missing;
use sidetrack::plan::Plan;
use sidetrack_tests::fake_host::{Action, HeaderMap, Module, Proxy, Status, Vm};

use super::{LIMIT, PATH, WAITS, file, question, user_of_new};

/// A worker of a proxy with these environment variables.
fn worker(environment: &[(&str, &str)]) -> (Proxy, Vm, Plan) {
    let proxy = Proxy::new(Module::sidetrack());
    environment.iter().for_each(|(name, value)| proxy.set_environment(name, value));
    let vm = proxy.start_vm().unwrap();
    let text = file().to_string();
    assert!(vm.configure(&text).unwrap(), "{}", proxy.log_text());
    (proxy, vm, sidetrack::config::parse_json(text.as_bytes()).unwrap())
}

fn head(length: impl std::fmt::Display) -> HeaderMap {
    let length = length.to_string();
    [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "models.test"),
        ("content-length", &length),
    ]
    .into()
}

/// Requests without a unit, once the worker has published them.
fn missing(proxy: &Proxy, vm: &Vm) -> u64 {
    vm.tick().unwrap();
    let of = |reason: &Missing| {
        let reason = reason.as_str();
        let name = format!("experiment=.=bodies;.;reason=.={reason};.;ab_test_missing_unit_total");
        proxy.counter(&name).unwrap()
    };
    Missing::ALL.iter().map(of).sum()
}

fn told(stream: &sidetrack_tests::fake_host::Stream) -> Option<String> {
    stream.request_header("x-ab-variant").map(|name| String::from_utf8(name).unwrap())
}

#[test]
fn where_envoy_does_not_let_it_wait_nothing_is_held() {
    for environment in [&[][..], &[("SIDETRACK_WAIT_FOR_BODIES", "")], &[("SIDETRACK_WAIT", "1")]] {
        let (proxy, vm, plan) = worker(environment);
        let body = question(&user_of_new(&plan));
        let stream = vm.stream();
        assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Continue);
        assert_eq!(told(&stream).as_deref(), Some("old"));
        assert_eq!(missing(&proxy, &vm), 1);
        for (piece, end) in [(&body[..9], false), (&body[9..], true)] {
            assert_eq!(stream.request_body(piece, end).unwrap(), Action::Continue);
        }
        assert_eq!(stream.forwarded_body(), body.as_bytes());
        assert!(stream.route_cache_clears() > 0);
    }
}

#[test]
fn where_envoy_lets_it_wait_the_last_piece_decides() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!((told(&stream), stream.route_cache_clears()), (None, 0));
    for piece in body.as_bytes()[..body.len() - 1].chunks(7) {
        assert_eq!(stream.request_body(piece, false).unwrap(), Action::Pause);
        assert_eq!(told(&stream), None);
    }
    assert_eq!(stream.request_body(&body[body.len() - 1..], true).unwrap(), Action::Continue);
    assert_eq!((told(&stream).as_deref(), stream.route_cache_clears() > 0), (Some("new"), true));
    assert_eq!(stream.forwarded_body(), body.as_bytes());
    assert_eq!(missing(&proxy, &vm), 0);
    stream.response_headers([(":status", "200")], true).unwrap();
    stream.finish().unwrap();
    vm.tick().unwrap();
    assert_eq!(
        proxy.counter(
            "experiment=.=bodies;.;model_name=.=new;.;status=.=success;.;ab_test_requests_total"
        ),
        Some(1)
    );
}

#[test]
fn callbacks_out_of_turn_do_nothing() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue, "before the headers");
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    let headers = stream.request();
    let calls = proxy.host_calls();
    for end in [true, false, true] {
        assert_eq!(stream.request_body(question("somebody else"), end).unwrap(), Action::Continue);
    }
    assert_eq!(proxy.host_calls(), calls, "the filter did something");
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert!(stream.request() == headers);
    assert_eq!(told(&stream).as_deref(), Some("new"));
    // Nor where nothing was held.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(0), true).unwrap(), Action::Continue);
    let calls = proxy.host_calls();
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(proxy.host_calls(), calls, "the filter did something");
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
}

#[test]
fn trailers_end_the_body() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body, false).unwrap(), Action::Pause);
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("new"));
    // No body came at all.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_trailers([("x-checksum", "1")]).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    assert_eq!(missing(&proxy, &vm), 1);
}

#[test]
fn lengths_that_lie_or_say_nothing() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    for length in ["0", "-1", "abc", "", "1e2", "4097", "99999999999999999999999", "5,5"] {
        let stream = vm.stream();
        assert_eq!(
            stream.request_headers(head(length), false).unwrap(),
            Action::Continue,
            "{length}"
        );
        assert_eq!(told(&stream).as_deref(), Some("old"), "{length}");
        assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue, "{length}");
    }
    let before = missing(&proxy, &vm);
    // More comes than was announced, and more than is read: it is let go at once.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body("x".repeat(LIMIT + 1), false).unwrap(), Action::Continue);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!((told(&stream).as_deref(), stream.route_cache_clears() > 0), (Some("old"), true));
    // Less comes, or nothing can be read.
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(10), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body("", true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    proxy.fault("proxy_get_buffer_bytes", Status::InternalFailure);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    assert_eq!(stream.forwarded_body(), body.as_bytes());
    assert_eq!(missing(&proxy, &vm), before + 3);
}

/// The newest configuration decides a request that has waited for its body.
#[test]
fn a_held_request_gets_the_newest_configuration_and_may_end_early() {
    let (proxy, vm, plan) = worker(&[WAITS]);
    let body = question(&user_of_new(&plan));
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    let mut disabled = file();
    disabled["experiments"][0]["enabled"] = json!(false);
    assert!(vm.configure(disabled.to_string()).unwrap());
    assert_eq!(vm.roots(), 2);
    assert_eq!(stream.request_body(&body, true).unwrap(), Action::Continue);
    assert_eq!(told(&stream).as_deref(), Some("old"));
    stream.finish().unwrap();
    assert_eq!(vm.roots(), 1);

    assert!(vm.configure(file().to_string()).unwrap());
    let before = proxy.metrics();
    let stream = vm.stream();
    assert_eq!(stream.request_headers(head(body.len()), false).unwrap(), Action::Pause);
    assert_eq!(stream.request_body(&body[..9], false).unwrap(), Action::Pause);
    stream.finish().unwrap();
    assert_eq!(proxy.metrics(), before, "a request that was never decided was counted");
}
