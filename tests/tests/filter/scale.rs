//! The cost of a request with one experiment and with a thousand, and that the index does not
//! change any decision.
//!
//! Costs are instructions and host calls of the shipped module, over whole requests: the same on
//! every machine and in every run, so limits on them do not depend on time.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use core::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::decide::{Gate, Outcome, Step, Trace, World, decide};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;
use sidetrack::request::{Body, Request};
use sidetrack_tests::fake_host::{HeaderMap, Module, Proxy, Reply, Vm};

// ---- The price of a request
// ------------------------------------------------------------------------------------

/// How many experiments.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];

/// How the experiments are distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    HostAndPath,
    Path,
    /// The index does not know headers, so every experiment is asked.
    Header,
}

impl By {
    /// The condition of an experiment.
    fn conditions(self, number: usize) -> Value {
        match self {
            Self::HostAndPath => {
                json!({"hosts": [host(number)], "path": {"prefix": "/v2/models/forecast"}})
            }
            Self::Path => {
                json!({"hosts": ["models.example.com"], "path": {"prefix": path(number)}})
            }
            Self::Header => json!({"headers": [{"name": "x-tenant", "exact": tenant(number)}]}),
        }
    }

    /// A request that takes part in that experiment.
    fn request(self, number: usize) -> HeaderMap {
        let plain = "models.example.com".to_owned();
        let host = if self == Self::HostAndPath { host(number) } else { plain };
        let path = if self == Self::Path { path(number) } else { "/v2/models/forecast".to_owned() };
        [
            (":method".to_owned(), "POST".to_owned()),
            (":scheme".to_owned(), "http".to_owned()),
            (":authority".to_owned(), host),
            (":path".to_owned(), format!("{path}/infer")),
            ("x-tenant".to_owned(), tenant(number)),
            ("x-user-id".to_owned(), "user-4711".to_owned()),
        ]
        .into()
    }
}

fn host(number: usize) -> String {
    format!("model-{number:04}.example.com")
}

fn path(number: usize) -> String {
    format!("/v2/models/model-{number:04}")
}

fn tenant(number: usize) -> String {
    format!("tenant-{number:04}")
}

/// A proxy with a worker and so many experiments.
fn experiments(by: By, size: usize) -> (Proxy, Vm) {
    let experiment = |number| {
        json!({
            "name": format!("experiment-{number:04}"),
            // Everybody is in the same bucket of every experiment.
            "salt": "scale-1",
            "match": by.conditions(number),
            "unit": [{"header": "x-user-id"}],
            "baseline": "old",
            "variants": [
                {"name": "old", "cluster": "old-cluster"},
                {"name": "new", "cluster": "new-cluster", "weight": 30},
            ],
        })
    };
    let experiments: Vec<Value> = (0..size).map(experiment).collect();
    let proxy = Proxy::new(Module::sidetrack());
    // As `render envoy` announces what its routes do.
    proxy.set_environment("SIDETRACK_ROUTES_CLEAN", "1");
    let worker = proxy.start_vm().unwrap();
    let accepted = worker.configure(json!({ "experiments": experiments }).to_string()).unwrap();
    assert!(accepted, "{}", proxy.log_text());
    (proxy, worker)
}

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price {
    instructions: u64,
    host_calls: u64,
}

/// The mean price of whole requests: one for each of ten experiments from the first to the last.
fn price(by: By, size: usize) -> Price {
    let (proxy, worker) = experiments(by, size);
    let send = |number: usize| {
        let exchange = worker.exchange(by.request(number), Reply::status(200)).unwrap();
        let name = exchange.request_header("x-ab-experiment");
        assert_eq!(name, Some(format!("experiment-{number:04}")), "{by:?} {size}");
    };
    let numbers: Vec<usize> = (0..10).map(|tenth| (size - 1) * tenth / 9).collect();
    // The allocator's first requests are dearer.
    numbers.iter().for_each(|&number| send(number));
    let calls = || proxy.host_calls().values().sum::<u64>();
    let before = (proxy.fuel_used(), calls());
    numbers.iter().for_each(|&number| send(number));
    Price {
        instructions: (proxy.fuel_used() - before.0) / 10,
        host_calls: (calls() - before.1) / 10,
    }
}

/// The most that a request may cost: with breaker, metrics, response times and headers both ways,
/// and without an access logger for failures.
const BUDGET: Price = Price { instructions: 13_600, host_calls: 9 };

#[test]
fn a_request_stays_within_its_budget() {
    let price = price(By::HostAndPath, 1);
    println!("{price:?}");
    assert!(price.host_calls <= BUDGET.host_calls, "{price:?}");
    assert!(price.instructions <= BUDGET.instructions, "{price:?}");
}

/// Each read of a value costs as much as ten other host calls.
#[test]
fn a_second_without_requests_reads_one_version_per_tick_and_each_record_once() {
    const TICK: Duration = Duration::from_millis(100);
    let (proxy, worker) = experiments(By::HostAndPath, 1);
    let tick = || {
        proxy.advance(TICK);
        worker.tick().unwrap();
    };
    let reads = || proxy.host_calls().get("proxy_get_shared_data").copied().unwrap_or_default();
    // It comes into force, and publishes all gauges twice.
    (0..30).for_each(|_| tick());
    let before = reads();
    (0..10).for_each(|_| tick());
    // The versions, the configuration in force, and the candidate's breaker.
    assert_eq!(reads() - before, 10 + 2);
}

#[test]
fn a_request_costs_the_same_with_a_thousand_experiments() {
    let prices = |by| SIZES.map(|size| price(by, size));
    let rows = [By::HostAndPath, By::Path, By::Header].map(|by| (by, prices(by)));
    println!("instructions of the module per request, all callbacks (host calls)");
    print!("{:>14}", "experiments");
    SIZES.iter().for_each(|size| print!("{size:>16}"));
    println!("{:>16}", "1000 : 1");
    for (by, prices) in &rows {
        print!("{:>14}", format!("{by:?}"));
        prices.iter().for_each(|p| print!("{:>11} ({:>2})", p.instructions, p.host_calls));
        let hundredths = prices[3].instructions * 100 / prices[0].instructions;
        println!("{:>13}.{:02}", hundredths / 100, hundredths % 100);
    }
    for (by, [one, .., thousand]) in rows {
        assert_eq!(one.host_calls, thousand.host_calls, "{by:?}");
        if by != By::Header {
            assert!(
                thousand.instructions * 10 <= one.instructions * 11,
                "{by:?}: {one:?}, {thousand:?}"
            );
        }
    }
}

// ---- The price of a file
// ---------------------------------------------------------------------------------------

/// What it takes to read a configuration of so many of something, good or bad.
fn reading(file: &str) -> u64 {
    let proxy = Proxy::new(Module::sidetrack());
    let worker = proxy.start_vm().unwrap();
    let before = proxy.fuel_used();
    worker.configure(file).unwrap();
    proxy.fuel_used() - before
}

/// Ten times the file, ten times the work: nothing in it makes Envoy's main thread stand still.
#[test]
fn a_large_file_costs_in_proportion_to_its_size() {
    let users = |size: usize| {
        (0..size).map(|n| format!("\"user-{n}\": \"new\"")).collect::<Vec<_>>().join(",")
    };
    let with = |more: &str| {
        format!(
            r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "x-user-id"}}], "baseline": "old",
            "variants": [{{"name": "old"}}, {{"name": "new", "weight": 30}}], {more}}}]}}"#
        )
    };
    let overrides = |size| with(&format!("\"overrides\": {{\"units\": {{{}}}}}", users(size)));
    let unknown_keys = |size| with(&users(size));
    let long_key = |size| with(&format!("\"{}\": 1", "missing_unit".repeat(size)));
    let wrong_word = |size| with(&format!("\"missing_unit\": \"{}\"", "baseline".repeat(size)));
    type File<'a> = &'a dyn Fn(usize) -> String;
    let files: [(&str, File<'_>); 4] = [
        ("overrides", &overrides),
        ("unknown keys", &unknown_keys),
        ("a long key", &long_key),
        ("a long word", &wrong_word),
    ];
    for (what, file) in files {
        let (small, large) = (reading(&file(300)), reading(&file(3_000)));
        println!("{what:>14}: {small} instructions, {large} for ten times as much");
        assert!(large <= small * 20, "{what}: {small}, {large}");
    }
}

// ---- The index changes nothing
// ---------------------------------------------------------------------------------

/// Hosts as a file may write them.
const HOSTS: &[&str] =
    &["a.example.com", "b.A.example.com", "*.example.com", "*.a.example.com", "*.com", "[::1]"];

/// Hosts as a client may send them.
const AUTHORITIES: &[&str] = &[
    "a.example.com",
    "A.Example.COM:8080",
    "b.a.example.com",
    "example.com",
    ".example.com",
    "x..com",
    "com",
    "a.example.com.",
    "[::1]:80",
    "[::1]",
    "",
    ":80",
];

const PATHS: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "/b"];

/// A part of the file that may be left out.
fn maybe<T: Strategy<Value = Value>>(part: T) -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.4, part)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::hash_set(select(words), 1..=2).prop_map(|words| json!(Vec::from_iter(words)))
}

fn path_rule() -> impl Strategy<Value = Value> {
    (select(&["exact", "prefix"][..]), select(PATHS)).prop_map(|(rule, path)| json!({rule: path}))
}

fn header_rule() -> impl Strategy<Value = Value> {
    select(vec![
        json!([{"name": "x-tenant", "exact": "acme"}]),
        json!([{"name": "x-tenant", "prefix": "a"}]),
        json!([{"name": "x-tenant", "present": true}]),
        json!([{"name": "x-tenant", "present": false}]),
    ])
}

fn units() -> impl Strategy<Value = Value> {
    select(vec![
        json!([{"header": "x-user-id"}]),
        json!([{"header": "x-user-id"}, {"body": "/u"}]),
        json!([{"body": "/u"}, {"query": "u"}]),
        json!([{"query": "u"}, {"cookie": "sid"}]),
        json!([{"header": "x-user-id"}, {"cookie": "sid", "mint": {"max_age": "1d"}}]),
    ])
}

/// The file's experiments: few words, so that they often match the same request and each other's
/// slots.
fn files() -> impl Strategy<Value = Value> {
    let conditions = (
        maybe(some_of(HOSTS)),
        maybe(path_rule()),
        maybe(some_of(&["GET", "POST"])),
        maybe(header_rule()),
    );
    let behaviour = (
        units(),
        select(&["baseline", "random", "skip"][..]),
        prop::bool::weighted(0.9),
        prop::option::of(select(&["one", "two"][..])),
        1..=100_u32,
    );
    prop::collection::vec((conditions, behaviour), 0..=20).prop_map(|all| {
        let experiment = |(number, ((hosts, path, methods, headers), behaviour))| {
            let (units, missing_unit, enabled, layer, weight): (
                Value,
                &str,
                bool,
                Option<&str>,
                u32,
            ) = behaviour;
            let mut experiment = json!({
                "name": format!("experiment-{number}"), "unit": units, "missing_unit": missing_unit,
                "enabled": enabled, "baseline": "old", "match": {},
                "variants": [{"name": "old"}, {"name": "new", "weight": weight}],
            });
            let parts =
                [("hosts", hosts), ("path", path), ("methods", methods), ("headers", headers)];
            for (key, part) in parts {
                if let Some(part) = part {
                    experiment["match"][key] = part;
                }
            }
            if let Some(name) = layer {
                // Of its twenty slots each takes its own.
                experiment["layer"] =
                    json!({"name": name, "from": number * 5, "to": number * 5 + 5});
            }
            experiment
        };
        json!({"experiments": all.into_iter().enumerate().map(experiment).collect::<Vec<_>>()})
    })
}

/// A request, and what has come of its body.
#[derive(Clone, Debug)]
struct Asked {
    headers: Vec<(&'static str, String)>,
    body: Body<'static>,
}

impl Request for Asked {
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    fn body(&self) -> Body<'_> {
        self.body
    }
}

fn requests() -> impl Strategy<Value = Asked> {
    let path = (select(PATHS), select(&["", "", "/", "/x", "?u=7", "#f"][..]))
        .prop_map(|(path, more)| format!("{path}{more}"));
    let own = |words: &'static [&'static str]| {
        prop::option::of(select(words).prop_map(ToOwned::to_owned))
    };
    let body =
        select(vec![Body::Absent, Body::Pending, Body::Whole(b"{\"u\": 7}"), Body::Whole(b"{}")]);
    let headers = (
        own(AUTHORITIES),
        prop::option::weighted(0.98, path),
        own(&["GET", "POST"]),
        own(&["acme", "a", "b", ""]),
        prop::option::of((0..50_u32).prop_map(|user| user.to_string())),
        own(&["sid=1", "sid=2", "other=1"]),
    );
    (headers, body).prop_map(|((authority, path, method, tenant, user, cookie), body)| {
        let names = [":authority", ":path", ":method", "x-tenant", "x-user-id", "cookie"];
        let values = [authority, path, method, tenant, user, cookie];
        let headers = names
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        Asked { headers, body }
    })
}

/// What is decided, and how much chance it took.
fn outcome<'p>(plan: &'p Plan, request: &Asked, trace: &mut impl Trace<'p>) -> (Outcome, u64) {
    let mut draws = 0_u64;
    let entropy = || {
        draws += 1;
        draws.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let mut world = World { now: Timestamp::new(0), entropy, gate: &|_, _| Gate::Closed };
    let outcome = decide(plan, request, &mut world, trace);
    (outcome, draws)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Whoever explains asks every experiment in turn; whoever only decides asks those that the
    /// index names.
    #[test]
    fn the_index_and_asking_everyone_decide_the_same(
        file in files(), requests in prop::collection::vec(requests(), 20),
    ) {
        let plan = config::parse_json(file.to_string().as_bytes()).unwrap_or_else(|p| panic!("{p}\n{file}"));
        for request in &requests {
            let mut steps: Vec<Step<'_>> = Vec::new();
            let by_asking = outcome(&plan, request, &mut steps);
            prop_assert_eq!(outcome(&plan, request, &mut ()), by_asking, "{:?}\n{:?}\n{}", request, steps, file);
        }
    }
}

/// The property above is about something: with its words, every kind of outcome occurs, and often.
#[test]
fn random_plans_and_requests_meet() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (files, requests) = (files(), prop::collection::vec(requests(), 20));
    // Unmatched, skipped, waiting for the body, decided by the first experiment, by a later one.
    let mut seen = [0_u32; 5];
    for _ in 0..200 {
        let file = files.new_tree(&mut runner).unwrap().current();
        let plan = config::parse_json(file.to_string().as_bytes()).unwrap();
        for request in requests.new_tree(&mut runner).unwrap().current() {
            let kind = match outcome(&plan, &request, &mut ()).0 {
                Outcome::Unmatched | Outcome::Unread(..) => 0,
                Outcome::Skipped(..) => 1,
                Outcome::NeedsBody(_) => 2,
                Outcome::Decided(decision) => {
                    if decision.experiment.index() == 0 {
                        3
                    } else {
                        4
                    }
                }
            };
            seen[kind] += 1;
        }
    }
    assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
}
