//! The fake host against small modules in the text format, one per behavior.

use std::time::Duration;

use super::{Action, HeaderMap, Module, Proxy, Reply, Status};

/// A module with memory, a bump allocator and all imports used below; `body` adds data and
/// callbacks. Memory: host calls' out slots at 0, 4, 8, …; text from 1024; the heap from 8192.
fn proxy(body: &str) -> Proxy {
    let wat = format!(
        r#"(module
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
          (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
          (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
          (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
          (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
          (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
          (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
          (import "env" "proxy_get_metric" (func $metric (param i32 i32) (result i32)))
          (import "env" "proxy_get_shared_data" (func $data (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_shared_data" (func $set_data (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_call_foreign_function"
            (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_send_local_response"
            (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_http_call"
            (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (memory (export "memory") 2)
          (global $heap (mut i32) (i32.const 8192))
          (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (local.get $size))))
          (func (export "proxy_abi_version_0_2_1"))
          {body})"#
    );
    Proxy::new(&Module::compile(wat).unwrap())
}

/// The status that the probe under test left in a header, digit by digit.
fn statuses(headers: &HeaderMap) -> String {
    headers.text("s").unwrap_or_default()
}

/// Appends the status of a call, as a digit, to the text at 2048 whose length is at 2040.
const NOTE: &str = r#"
  (func $note (param $status i32)
    (i32.store8 (i32.add (i32.const 2048) (i32.load (i32.const 2040)))
                (i32.add (local.get $status) (i32.const 48)))
    (i32.store (i32.const 2040) (i32.add (i32.load (i32.const 2040)) (i32.const 1))))
  (data (i32.const 1024) "s")
  (func $show (param $map i32)
    (drop (call $replace (local.get $map) (i32.const 1024) (i32.const 1)
                         (i32.const 2048) (i32.load (i32.const 2040)))))
"#;

#[test]
fn headers_follow_envoy() {
    let proxy = proxy(
        r#"(data (i32.const 1024) "X-OneTwoX-Addgone")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $replace (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 1029) (i32.const 3)))
          (drop (call $add (i32.const 0) (i32.const 1032) (i32.const 5) (i32.const 1029) (i32.const 3)))
          (drop (call $remove (i32.const 0) (i32.const 1037) (i32.const 4)))
          (drop (call $get (i32.const 0) (i32.const 1032) (i32.const 5) (i32.const 0) (i32.const 4)))
          (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (drop (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)))
          (drop (call $set_pairs (i32.const 0) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (i32.const 0))"#,
    );
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    let stream = vm.stream();
    let sent = [
        ("x-one", "a"),
        ("Gone", "1"),
        ("x-add", "first"),
        ("X-One", "b"),
        ("raw", "z"),
        ("gone", "2"),
    ];
    assert_eq!(stream.request_headers(sent, true).unwrap(), Action::Continue);
    let got = stream.request();
    let expected: HeaderMap =
        [("x-one", "Two"), ("x-add", "first"), ("raw", "z"), ("x-add", "Two")].into();
    assert_eq!(got, expected);
    assert_eq!(proxy.log().first().unwrap().text, "first");
    assert_eq!(proxy.host_calls().get("proxy_get_header_map_pairs"), Some(&1));
    assert!(proxy.fuel_used() > 0);
}

#[test]
fn maps_and_properties_depend_on_the_phase() {
    // Asks, in each phase, for a request header, a response header and `response.code`.
    let proxy = proxy(&format!(
        r#"{NOTE}
        (data (i32.const 1030) ":path:statusresponse\00code")
        (func $ask
          (call $note (call $get (i32.const 0) (i32.const 1030) (i32.const 5) (i32.const 0) (i32.const 4)))
          (call $note (call $get (i32.const 2) (i32.const 1035) (i32.const 7) (i32.const 0) (i32.const 4)))
          (call $note (call $property (i32.const 1042) (i32.const 13) (i32.const 0) (i32.const 4))))
        (func $tell (drop (call $log (i32.const 2) (i32.const 2048) (i32.load (i32.const 2040))))
          (i32.store (i32.const 2040) (i32.const 0)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          call $ask call $tell i32.const 0)
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          call $ask call $tell i32.const 0)
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
          call $ask call $tell i32.const 0)
        (func (export "proxy_on_log") (param i32) call $ask call $tell)
        (func (export "proxy_on_done") (param i32) (result i32) call $ask call $tell i32.const 1)"#
    ));
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    let stream = vm.stream();
    stream.request_headers([(":path", "/")], true).unwrap();
    stream.response_headers([(":status", "200")], false).unwrap();
    stream.response_body("abc", true).unwrap();
    stream.finish().unwrap();
    vm.get_replied("/", [("a", "b")], Reply::Abort).unwrap();
    let told: Vec<_> = proxy.log().into_iter().map(|line| line.text).collect();
    assert_eq!(told, ["021", "200", "220", "000", "220", "021", "011", "221"]);
    assert_eq!(stream.returned_body(), b"abc");
}

#[test]
fn properties_are_derived_set_and_written() {
    let proxy = proxy(
        r#"(data (i32.const 1024) "request\00pathx-mineplugin_name")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $property (i32.const 1024) (i32.const 12) (i32.const 0) (i32.const 4)))
          (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (drop (call $set_property (i32.const 1036) (i32.const 6)
                                    (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (drop (call $property (i32.const 1036) (i32.const 6) (i32.const 0) (i32.const 4)))
          (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (drop (call $property (i32.const 1042) (i32.const 11) (i32.const 0) (i32.const 4)))
          (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
          (i32.const 0))"#,
    );
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    let stream = vm.stream();
    stream.request_headers([(":path", "/chat")], true).unwrap();
    let told: Vec<_> = proxy.log().into_iter().map(|line| line.text).collect();
    assert_eq!(told, ["/chat", "/chat", "sidetrack"]);
    assert_eq!(stream.filter_state(&["x-mine"]).unwrap(), b"/chat");
}

/// Counts requests in a counter, keeps a gauge and a histogram, and notes the statuses of what is
/// not allowed.
const METRICS: &str = r#"
  (data (i32.const 1030) "requestsstatems")
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $define (i32.const 0) (i32.const 1030) (i32.const 8) (i32.const 100)))
    (drop (call $define (i32.const 1) (i32.const 1038) (i32.const 5) (i32.const 104)))
    (drop (call $define (i32.const 2) (i32.const 1043) (i32.const 2) (i32.const 108)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.store (i32.const 2040) (i32.const 0))
    (call $note (call $increment (i32.load (i32.const 100)) (i64.const 1)))
    (call $note (call $increment (i32.load (i32.const 100)) (i64.const 0)))
    (call $note (call $increment (i32.load (i32.const 100)) (i64.const -1)))
    (call $note (call $record (i32.load (i32.const 100)) (i64.const 10)))
    (call $note (call $increment (i32.load (i32.const 104)) (i64.const -2)))
    (call $note (call $record (i32.load (i32.const 108)) (i64.const 7)))
    (call $note (call $metric (i32.load (i32.const 108)) (i32.const 120)))
    (call $note (call $metric (i32.const 4000) (i32.const 120)))
    (call $note (call $metric (i32.load (i32.const 104)) (i32.const 120)))
    (call $note (i32.wrap_i64 (i64.load (i32.const 120))))
    (call $show (i32.const 0))
    (i32.const 0))"#;

#[test]
fn metrics_belong_to_the_process() {
    let proxy = proxy(&format!("{NOTE}{METRICS}"));
    proxy.set_gauge("state", 9);
    let workers = [proxy.start_vm().unwrap(), proxy.start_vm().unwrap()];
    for vm in &workers {
        assert!(vm.configure("").unwrap());
    }
    let seen = workers.each_ref().map(|vm| statuses(&vm.get("/", [("a", "b")]).unwrap().request));
    assert_eq!(seen, ["0220002107", "0220002105"]);
    assert_eq!(proxy.counter("requests"), Some(22));
    assert_eq!(proxy.gauge("state"), Some(5));
    assert_eq!(proxy.histogram("ms"), Some(vec![7, 7]));
    assert_eq!(proxy.metrics().len(), 3);
}

#[test]
fn hidden_metrics_read_zero() {
    let proxy = proxy(&format!("{NOTE}{METRICS}"));
    proxy.set_gauge("state", 9);
    proxy.hide_metrics("s");
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    assert_eq!(statuses(&vm.get("/", [("a", "b")]).unwrap().request), "0220002100");
    assert_eq!(proxy.gauge("state"), None);
    assert_eq!(proxy.counter("requests"), Some(11));
}

#[test]
fn shared_data_compares_before_it_swaps() {
    let proxy = proxy(&format!(
        r#"{NOTE}
        (data (i32.const 1030) "keyonetwo")
        (func $put (param $value i32) (param $cas i32)
          (call $note (call $set_data (i32.const 1030) (i32.const 3) (local.get $value) (i32.const 3)
                                      (local.get $cas))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $note (call $data (i32.const 1030) (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 8)))
          (call $put (i32.const 1033) (i32.const 77))
          (call $note (call $data (i32.const 1030) (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 8)))
          (call $put (i32.const 1036) (i32.load (i32.const 8)))
          (call $put (i32.const 1033) (i32.load (i32.const 8)))
          (call $show (i32.const 0))
          (i32.const 0))"#
    ));
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    assert_eq!(statuses(&vm.get("/", [("a", "b")]).unwrap().request), "10008");
    assert_eq!(proxy.shared_data("key").unwrap(), b"two");
}

#[test]
fn clock_and_entropy_are_the_tests_own() {
    let proxy = proxy(
        r#"(func (export "proxy_on_tick") (param i32)
          (drop (call $now (i32.const 0)))
          (drop (call $random (i32.const 8) (i32.const 3)))
          (drop (call $log (i32.const 2) (i32.const 0) (i32.const 11))))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $tick (i32.const 250)))
          (i32.const 1))"#,
    );
    proxy.set_now(u64::from_le_bytes(*b"hour 00\0"));
    proxy.advance(Duration::from_nanos(1));
    proxy.push_entropy(b"dice");
    let vm = proxy.start_vm().unwrap();
    vm.tick().unwrap();
    assert!(vm.configure("").unwrap());
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(250)));
    vm.tick().unwrap();
    assert_eq!(proxy.log_text(), "[vm 1] Info iour 00\0dic\n");
}

#[test]
fn foreign_functions_count_and_can_be_missing() {
    let proxy = proxy(&format!(
        r#"{NOTE}
        (data (i32.const 1030) "clear_route_cache")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.store (i32.const 2040) (i32.const 0))
          (call $note (call $foreign (i32.const 1030) (i32.const 17) (i32.const 0) (i32.const 0)
                                     (i32.const 0) (i32.const 4)))
          (call $show (i32.const 0))
          (i32.const 0))"#
    ));
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    // Showing the status changes a header, which also clears the route.
    let now = vm.get("/", [("a", "b")]).unwrap();
    assert_eq!((statuses(&now.request).as_str(), now.route_cache_clears), ("0", 2));
    proxy.set_foreign("clear_route_cache", None);
    let old = vm.get("/", [("a", "b")]).unwrap();
    assert_eq!((statuses(&old.request).as_str(), old.route_cache_clears), ("1", 1));
}

#[test]
fn faults_take_the_place_of_a_call() {
    let proxy = proxy(&format!("{NOTE}{METRICS}"));
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    proxy.fault_times("proxy_increment_metric", Status::InternalFailure, 2);
    // 10 is written as the digit after '9'.
    assert!(statuses(&vm.get("/", [("a", "b")]).unwrap().request).starts_with("::20"));
    proxy.fault("proxy_replace_header_map_value", Status::BadArgument);
    assert_eq!(vm.get("/", [("a", "b")]).unwrap().request_header("s"), None);
    proxy.clear_faults();
    assert!(vm.get("/", [("a", "b")]).unwrap().request_header("s").is_some());
}

#[test]
fn a_trap_kills_the_vm_and_nothing_else() {
    let body = METRICS.replace("(call $show (i32.const 0))", "unreachable");
    let proxy = proxy(&format!("{NOTE}{body}"));
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    let dead = vm.get("/", [("a", "b")]).unwrap_err();
    assert!(
        dead.0.contains("proxy_on_request_headers") && dead.0.contains("unreachable"),
        "{dead}"
    );
    assert!(vm.is_dead());
    assert_eq!(vm.tick(), Ok(()), "nothing ticks here");
    assert_eq!(vm.get("/", [("a", "b")]).unwrap_err(), dead);
    assert_eq!(proxy.counter("requests"), Some(11));
    let next = proxy.start_vm().unwrap();
    assert!(next.configure("").unwrap());
    assert!(proxy.log_text().contains("VM 1 died"));
}

#[test]
fn endless_loops_and_absent_functions_trap() {
    let endless = proxy(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (loop br 0) i32.const 1)"#,
    );
    endless.set_fuel_limit(10_000);
    let dead = endless.start_vm().unwrap().configure("").unwrap_err();
    assert!(dead.0.contains("fuel"), "{dead}");

    let absent = proxy(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (call $http_call (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                           (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"#,
    );
    let dead = absent.start_vm().unwrap().configure("").unwrap_err();
    assert!(dead.0.contains("proxy_http_call"), "{dead}");
}

#[test]
fn a_refused_configuration_leaves_the_old_one_serving() {
    // Logs root and stream ids as digits; refuses a configuration that starts with "n".
    let proxy = proxy(
        r#"(func $say (param $what i32) (param $id i32)
          (i32.store8 (i32.const 512) (local.get $what))
          (i32.store8 (i32.const 513) (i32.add (local.get $id) (i32.const 48)))
          (drop (call $log (i32.const 2) (i32.const 512) (i32.const 2))))
        (func (export "proxy_on_context_create") (param $id i32) (param $root i32)
          (if (local.get $root) (then (call $say (i32.const 115) (local.get $root)))))
        (func (export "proxy_on_vm_start") (param $id i32) (param i32) (result i32)
          (call $say (i32.const 118) (local.get $id)) (i32.const 1))
        (func (export "proxy_on_configure") (param $id i32) (param $len i32) (result i32)
          (drop (call $buffer (i32.const 7) (i32.const 0) (local.get $len) (i32.const 0) (i32.const 4)))
          (i32.ne (i32.load8_u (i32.load (i32.const 0))) (i32.const 110)))
        (func (export "proxy_on_delete") (param $id i32) (call $say (i32.const 100) (local.get $id)))"#,
    );
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("yes").unwrap());
    assert!(!vm.configure("no").unwrap());
    let slow = vm.stream();
    slow.request_headers([(":path", "/")], true).unwrap();
    assert!(vm.configure("yes again").unwrap());
    vm.get("/", [("a", "b")]).unwrap();
    assert_eq!(vm.roots(), 2, "the old root serves its last stream");
    slow.finish().unwrap();
    assert_eq!(vm.roots(), 1);
    let told: Vec<_> = proxy.log().into_iter().map(|line| line.text).collect();
    assert_eq!(told, ["v1", "d2", "s1", "s4", "d5", "d3", "d1"]);
}

#[test]
fn local_responses_stop_the_request() {
    let proxy = proxy(
        r#"(data (i32.const 1024) "whyno")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $answer (i32.const 429) (i32.const 1024) (i32.const 3) (i32.const 1027) (i32.const 2)
                        (i32.const 0) (i32.const 0) (i32.const -1)))"#,
    );
    let vm = proxy.start_vm().unwrap();
    assert!(vm.configure("").unwrap());
    let exchange = vm.get("/", [("a", "b")]).unwrap();
    let local = exchange.local_response.clone().unwrap();
    assert_eq!((exchange.action, local.status, local.body), (Action::Pause, 429, b"no".to_vec()));
    assert_eq!(exchange.response_header(":status").unwrap(), "429");
}

#[test]
fn modules_that_envoy_would_refuse_do_not_load() {
    let Err(error) = Module::compile("(module)") else { panic!("it loaded") };
    assert!(error.to_string().contains("proxy_abi_version_0_2_1"));
    let odd =
        r#"(module (import "env" "proxy_sing" (func)) (func (export "proxy_abi_version_0_2_1")))"#;
    let Err(error) = Module::compile(odd) else { panic!("it loaded") };
    assert!(format!("{error:?}").contains("proxy_sing"), "{error:?}");
}
