//! The filter's own headers: a model cannot set them, and plugins of one prefix do not remove each
//! other's.

use serde_json::{Value, json};
use sidetrack_proxy::host::Level;
use sidetrack_proxy::instance::Instance;
use sidetrack_proxy::stream::{Action, Stream};

use crate::fake::{Call, Fake, values};
use crate::proxy::{Proxy, file, host, with_settings};

const OWN: [&str; 13] = [
    "x-ab-experiment",
    "x-ab-variant",
    "x-ab-assigned",
    "x-ab-phase",
    "x-ab-cluster",
    "x-ab-mirror",
    "x-ab-force",
    "x-ab-token",
    "x-ab-debug",
    "x-ab-reason",
    "x-ab-bucket",
    "x-ab-breaker",
    "x-ab-config",
];

fn forge(call: &Call) {
    let forged = OWN.map(|name| (name.to_owned(), "forged".to_owned()));
    call.response.borrow_mut().extend(forged);
}

fn is_forged(call: &Call) -> bool {
    call.response.borrow().iter().any(|(_, value)| value == "forged")
}

#[test]
fn the_filters_headers_that_a_model_sends_are_removed() {
    let outside = json!({"match": {"path": {"prefix": "/elsewhere"}}});
    let quiet = json!({"response_headers": false, "debug": "allowed"});
    let files = [
        file(&json!({})),
        file(&outside),
        file(&json!({"unit": [{"header": "x-none"}], "missing_unit": "skip"})),
        with_settings(file(&json!({})), &quiet),
        with_settings(file(&json!({})), &json!({"debug": "allowed"})),
        json!({"experiments": []}),
    ];
    for text in &files {
        let proxy = Proxy::new(text);
        for debug in ["", "1"] {
            let mut request = proxy.open(&[("x-user-id", "anna"), ("x-ab-debug", debug)]);
            request.decide();
            request.call.response.borrow_mut().push(("x-abc".into(), "the model's".into()));
            forge(&request.call);
            request.respond(200);
            assert!(!is_forged(&request.call), "{:?} with {text}", request.call.response);
            assert_eq!(request.received("x-abc"), ["the model's"]);
        }
    }
    // Another prefix, and an override header of another name.
    let named = file(&json!({"overrides": {"header": "x-test-me"}}));
    let proxy = Proxy::new(&with_settings(named, &json!({"header_prefix": "x-trial-"})));
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    for name in ["x-trial-reason", "x-test-me", "x-ab-reason"] {
        request.call.response.borrow_mut().push((name.to_owned(), "forged".to_owned()));
    }
    request.respond(200);
    assert_eq!(request.received("x-ab-reason"), ["forged"], "not the filter's");
    assert!(request.received("x-trial-reason").is_empty());
    assert!(request.received("x-test-me").is_empty());
}

/// Reading the response's headers costs more than the rest of the response.
#[test]
fn where_routes_remove_them_the_filter_does_not_look() {
    let proxy = Proxy::on(&host(&["SIDETRACK_ROUTES_CLEAN"]), &file(&json!({})));
    let mut request = proxy.open(&[("x-user-id", "anna")]);
    request.decide();
    request.call.response.borrow_mut().push(("x-ab-reason".to_owned(), "forged".to_owned()));
    request.respond(200);
    assert_eq!(request.received("x-ab-reason"), ["forged"]);
}

/// An experiment of this name for requests to this path.
fn on_path(name: &str, path: &str) -> Value {
    let mut file = file(&json!({"match": {"path": {"prefix": path}}}));
    file["experiments"][0]["name"] = json!(name);
    file
}

/// A chain of two plugins, the first of which is nearer to the client, and a worker that ticks.
fn chain(proxy: &Proxy, files: [&Value; 2]) -> [Instance<Fake>; 2] {
    let mut plugins = [("outer", files[0]), ("inner", files[1])]
        .map(|(name, file)| proxy.plugin(name, &file.to_string()));
    for _ in 0..11 {
        plugins.iter_mut().for_each(Instance::tick);
    }
    plugins
}

/// A request of `anna` through a chain.
fn through(plugins: &[Instance<Fake>; 2]) -> Call {
    let call = Call::default();
    let headers =
        [(":method", "GET"), (":authority", "m"), (":path", "/infer"), ("x-user-id", "anna")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    call.request.borrow_mut().extend(headers);
    let mut streams: Vec<Stream<Call>> =
        (1..).zip(plugins).map(|(number, it)| Stream::new(number, it.runtime())).collect();
    for stream in &mut streams {
        assert_eq!(stream.request_headers(&call, true), Action::Continue);
    }
    forge(&call);
    call.code.set(200);
    streams.iter_mut().rev().for_each(|stream| stream.response_headers(&call, true));
    streams.iter_mut().for_each(|stream| stream.log(&call));
    streams.iter_mut().for_each(|stream| stream.delete(&call));
    call
}

#[test]
fn of_two_plugins_with_one_prefix_the_first_that_takes_a_request_decides_it() {
    for (paths, decides) in
        [(["/infer", "/infer"], "outer"), (["/", "/none"], "outer"), (["/none", "/"], "inner")]
    {
        let proxy = Proxy::new(&json!({"experiments": []}));
        let [outer, inner] = [("outer", paths[0]), ("inner", paths[1])].map(|(n, p)| on_path(n, p));
        let mut plugins = chain(&proxy, [&outer, &inner]);
        let call = through(&plugins);
        for headers in [&call.request, &call.response] {
            assert_eq!(values(headers, "x-ab-experiment"), [decides], "{paths:?}");
            assert_eq!(values(headers, "x-ab-variant"), ["new"], "{paths:?}");
        }
        plugins.iter_mut().for_each(Instance::tick);
        let requests = |experiment: &str| {
            proxy.value(&format!(
                "ab_test_requests_total{{experiment={experiment:?},model_name=\"new\",\
                 status=\"success\"}}"
            ))
        };
        for plugin in ["outer", "inner"] {
            assert_eq!(requests(plugin), u64::from(plugin == decides), "{paths:?}");
        }
        let yielded = proxy.value("ab_test_yielded_total{plugin=\"inner\"}");
        assert_eq!(yielded, u64::from(decides == "outer"), "{paths:?}");
        assert!(!is_forged(&call), "{paths:?}");
    }
}

#[test]
fn plugins_with_one_prefix_are_reported_once() {
    let proxy = Proxy::new(&json!({"experiments": []}));
    let [mut one, mut two] = chain(&proxy, [&on_path("a", "/a"), &on_path("b", "/b")]);
    let log = proxy.log(Level::Warning);
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("the same header prefix x-ab- as outer"), "{log:?}");
    let shared = |plugin: &str| proxy.value(&format!("ab_test_prefix_shared{{plugin={plugin:?}}}"));
    assert_eq!([shared("outer"), shared("inner")], [1, 1]);
    // One of them gets a prefix of its own.
    let other = with_settings(on_path("b", "/b"), &json!({"header_prefix": "x-b-"}));
    two.load("inner", other.to_string().as_bytes());
    (0..11).for_each(|_| [&mut one, &mut two].into_iter().for_each(Instance::tick));
    assert_eq!([shared("outer"), shared("inner")], [0, 0]);
    assert_eq!(proxy.log(Level::Warning).len(), 1);
}

/// A client that knows the filter's headers cannot make a plugin pass its request.
#[test]
fn a_clients_headers_do_not_make_a_plugin_yield() {
    let proxy = Proxy::new(&json!({"experiments": []}));
    let [outer, _inner] = chain(&proxy, [&on_path("a", "/"), &on_path("b", "/none")]);
    let call = Call::default();
    let headers = [(":path", "/infer"), ("x-user-id", "anna"), ("x-ab-variant", "old")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    call.request.borrow_mut().extend(headers);
    Stream::new(1, outer.runtime()).request_headers(&call, true);
    assert_eq!(values(&call.request, "x-ab-variant"), ["new"]);
    assert_eq!(proxy.value("ab_test_yielded_total{plugin=\"outer\"}"), 0);
}

/// Envoy sends a redirected request through the filter again, with the headers of the first pass.
#[test]
fn internal_redirects_are_reported_once() {
    let proxy = Proxy::new(&file(&json!({})));
    let reports = || {
        let log = proxy.log(Level::Warning);
        log.iter().filter(|line| line.contains("internal_redirect_policy")).count()
    };
    let original = ("x-envoy-original-url", "http://models.test/infer");
    proxy.open(&[("x-user-id", "anna"), original]).decide();
    proxy.open(&[("x-user-id", "anna"), ("x-ab-variant", "new")]).decide();
    assert_eq!(reports(), 0);
    for _ in 0..2 {
        let request = proxy.send("anna", 302);
        request.call.request.borrow_mut().push((original.0.into(), original.1.into()));
        let mut again = proxy.open(&[]);
        again.call.request.swap(&request.call.request);
        again.decide();
        assert_eq!(again.sent("x-ab-variant"), ["new"]);
        assert_eq!(reports(), 1);
    }
}
