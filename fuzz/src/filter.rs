//! The built module on the fake host, which behaves as no host should: calls that fail, header blocks that lie,
//! callbacks out of order and twice, configurations in between, strangers' bytes in shared data, a clock that goes back.
//!
//! Nothing may trap, answer a caller itself, or grow without bound; and when the host is itself again, the filter is
//! too. What a host never does is left out: it calls no context that it has deleted.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use sidetrack::names::{plugin, shared};
use sidetrack_tests::fake_host::{Action, HeaderMap, Module, Proxy, Reply, Status, Stream, Vm};

/// Linear memory may not grow above this, whatever happens.
const MOST_MEMORY: usize = 32 << 20;

/// Configurations that go in by number; some are bad.
const CONFIGURATIONS: &[&str] = &[
    r#"{"experiments": [{"name": "e", "unit": [{"header": "x-user-id"}, {"cookie": "sid"}, {"query": "u"}],
        "baseline": "old", "variants": [{"name": "old", "cluster": "old"}, {"name": "new", "cluster": "new", "weight": 50,
        "request_headers": {"x-model-version": "2"}, "response_headers": {"x-served": "new"}}],
        "breaker": {"consecutive_errors": 2, "min_requests": 1, "confidence": 0, "open_for": "1s",
        "slow": {"over": "10ms", "rate": 5}}}], "settings": {"debug": "allowed"}}"#,
    r#"{"experiments": [{"name": "e", "unit": [{"body": "/u"}], "baseline": "old", "mirror": {"cluster": "m"},
        "variants": [{"name": "old"}, {"name": "new", "weight": 100}], "overrides": {"header": "x-ab-force"}}]}"#,
    r#"{"experiments": [{"name": "f", "unit": [{"cookie": "sid", "mint": {"max_age": "1d"}}], "baseline": "old",
        "variants": [{"name": "old", "cluster": "old"}, {"name": "new", "cluster": "new"}],
        "rollout": {"start": "2026-01-01T00:00:00Z", "phases": [{"name": "a", "for": "1h", "weights": {"new": 5}},
        {"name": "b", "weights": {"new": 100}}]}, "layer": {"name": "l", "from": 0, "to": 50}},
        {"name": "g", "assignment": "request_random", "unit": [{"header": "x-user-id"}], "baseline": "old",
        "variants": [{"name": "old", "cluster": "old"}, {"name": "new", "cluster": "new", "weight": 50}],
        "layer": {"name": "l", "from": 50, "to": 100}}]}"#,
    r#"{"experiments": []}"#,
    "failures",
    "",
    r#"{"experiments": [{"name": 7}]}"#,
    "{{{",
];

/// Every call that the module makes, or could.
const CALLS: &[&str] = &[
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_add_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_metric",
    "proxy_call_foreign_function",
    "proxy_set_tick_period_milliseconds",
    "proxy_log",
    "random_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
];

/// Those that hand over bytes.
const TELLING: &[&str] = &[
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_get_shared_data",
];

const STATUSES: &[Status] = &[
    Status::NotFound,
    Status::BadArgument,
    Status::SerializationFailure,
    Status::ParseFailure,
    Status::InvalidMemoryAccess,
    Status::Empty,
    Status::CasMismatch,
    Status::InternalFailure,
    Status::Unimplemented,
];

/// Every key that the module keeps in shared data, with the names of the fake host and of the configurations above.
fn shared_keys() -> [String; 6] {
    [
        shared::GENERATION.to_owned(),
        format!("{}{}", shared::CONFIGURATIONS, plugin::NAME),
        format!("{}{}", shared::LAST_GOOD, plugin::NAME),
        format!("{}e.old", shared::BREAKER),
        format!("{}e.new", shared::BREAKER),
        format!("{}f.new", shared::BREAKER),
    ]
}

const NAMES: &[&str] = &[
    ":path",
    ":authority",
    ":method",
    "x-user-id",
    "cookie",
    "content-length",
    "content-type",
    "content-encoding",
    "x-ab-force",
    "x-ab-debug",
    "x-ab-token",
    "x-ab-cluster",
    "x-ab-experiment",
    ":status",
    "grpc-status",
];

const VALUES: &[&str] = &[
    "/?u=1",
    "/%?u=%&u",
    "GET",
    "models.test",
    "8",
    "99999999999999999999",
    "application/grpc",
    "application/json",
    "sid=1; sid",
    "new",
    "200",
    "503",
    "x",
];

const PROPERTIES: &[&[&str]] = &[
    &["response", "code"],
    &["response", "flags"],
    &["response", "grpc_status"],
    &["upstream", "request_attempt_count"],
    &["xds", "route_name"],
    &["plugin_name"],
];

/// One input. Returns how often each edge of the first worker's code was taken, when the module counts.
pub fn run(data: &[u8]) -> Vec<u8> {
    let proxy = Proxy::new(Module::sidetrack());
    // Far more than any callback needs; an endless loop ends here and is a trap.
    proxy.set_fuel_limit(400_000_000);
    let mut input = Unstructured::new(data);
    if input.ratio(1, 2).unwrap_or_default() {
        proxy.set_environment("SIDETRACK_WAIT_FOR_BODIES", "1");
    }
    let workers: Vec<Vm> = (0..2).map(|_| proxy.start_vm().expect("a worker")).collect();
    let mut house = House { proxy, workers, streams: Vec::new() };
    for worker in &house.workers {
        alive(worker.configure(CONFIGURATIONS[0]));
    }
    // One worker has the access logger for failures, the other checks every request.
    alive(house.workers[0].log_failures("failures"));
    while house.step(&mut input).unwrap_or(false) {}
    house.settle();
    house.workers[0].edge_counters()
}

struct House {
    proxy: Proxy,
    workers: Vec<Vm>,
    streams: Vec<Stream>,
}

impl House {
    /// Does what the input says next; `false` at its end.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<bool> {
        if input.is_empty() {
            return Ok(false);
        }
        let worker = &self.workers[usize::from(input.ratio(1, 4)?)];
        match input.int_in_range(0..=19)? {
            0 => alive(worker.configure(CONFIGURATIONS[input.choose_index(CONFIGURATIONS.len())?])),
            1 => alive(worker.configure(input.arbitrary::<&[u8]>()?)),
            2 | 3 => alive(worker.tick()),
            4 => self.proxy.advance(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            5 => self.proxy.set_now(input.arbitrary()?),
            6 => {
                let (call, status) = (*input.choose(CALLS)?, *input.choose(STATUSES)?);
                self.proxy.fault_times(call, status, input.int_in_range(1..=9)?);
            }
            7 => self.proxy.lie(input.choose(TELLING)?, lie(input)?),
            8 => self.proxy.set_shared_data(input.choose(&shared_keys())?, input.arbitrary()?),
            9 => self.proxy.clear_faults(),
            10 => {
                let known = [None, Some(Status::Ok), Some(Status::InternalFailure)];
                self.proxy.set_foreign("clear_route_cache", *input.choose(&known)?);
            }
            11 if input.ratio(1, 8)? => self.proxy.hide_metrics(""),
            11 | 12 if self.streams.len() < 8 => self.streams.push(worker.stream()),
            _ if !self.streams.is_empty() => {
                let stream = input.choose_index(self.streams.len())?;
                self.of_stream(stream, input)?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn of_stream(&mut self, index: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let stream = &self.streams[index];
        match input.int_in_range(0..=9)? {
            0 | 1 => alive(stream.request_headers(headers(input)?, input.arbitrary()?)),
            2 => alive(stream.request_body(input.arbitrary::<&[u8]>()?, input.arbitrary()?)),
            3 => alive(stream.request_trailers(headers(input)?)),
            4 | 5 => alive(stream.response_headers(headers(input)?, input.arbitrary()?)),
            6 => alive(stream.response_body(input.arbitrary::<&[u8]>()?, input.arbitrary()?)),
            7 => alive(stream.response_trailers(headers(input)?)),
            8 => stream.set_property(input.choose(PROPERTIES)?, input.arbitrary::<&[u8]>()?),
            _ => {
                let stream = self.streams.swap_remove(index);
                ended(&stream);
            }
        }
        Ok(())
    }

    /// The host is itself again, and so is the filter.
    fn settle(&self) {
        self.proxy.clear_faults();
        self.proxy.set_foreign("clear_route_cache", Some(Status::Ok));
        self.streams.iter().for_each(ended);
        for worker in &self.workers {
            alive(worker.tick());
            alive(worker.configure(CONFIGURATIONS[0]));
            assert!(worker.memory_bytes() <= MOST_MEMORY, "{} bytes", worker.memory_bytes());
            assert_eq!(worker.roots(), 1, "configurations that nobody uses stay");
            for user in ["1", "2", "3"] {
                let spoofed =
                    [("x-user-id", user), ("x-ab-cluster", "mine"), ("x-ab-force", "mine")];
                let exchange = worker.get("/", spoofed).unwrap_or_else(|dead| panic!("{dead}"));
                assert_eq!(exchange.action, Action::Continue);
                assert_eq!(exchange.request.all("x-ab-variant").len(), 1);
                let clusters = exchange.request.all("x-ab-cluster");
                assert!(clusters == [b"old"] || clusters == [b"new"], "{clusters:?}");
                assert!(exchange.request.all("x-ab-force").is_empty());
            }
            alive(worker.get_replied("/", [("x-user-id", "1")], Reply::Abort));
        }
    }
}

fn ended(stream: &Stream) {
    assert!(stream.local_response().is_none(), "the filter answered itself");
    assert!(!stream.was_closed(), "the filter reset a stream");
    alive(stream.finish());
}

fn alive<T>(outcome: std::result::Result<T, sidetrack_tests::fake_host::Dead>) {
    if let Err(dead) = outcome {
        panic!("{dead}");
    }
}

fn headers(input: &mut Unstructured<'_>) -> Result<HeaderMap> {
    let mut map = HeaderMap::default();
    for _ in 0..input.int_in_range(0..=6)? {
        let name = *input.choose(NAMES)?;
        match input.ratio(3, 4)? {
            true => map.add(name, input.choose(VALUES)?),
            false => map.add(name, input.arbitrary::<&[u8]>()?),
        }
    }
    Ok(map)
}

/// Bytes where the filter expects others: any, or a header block whose numbers are not true.
fn lie(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if input.ratio(1, 2)? {
        return input.arbitrary();
    }
    let mut block = Vec::new();
    for _ in 0..input.int_in_range(1..=7)? {
        let number = match input.int_in_range(0..=2)? {
            0 => u32::MAX,
            1 => input.int_in_range(0..=16)?,
            _ => input.arbitrary()?,
        };
        block.extend(number.to_le_bytes());
    }
    block.extend_from_slice(input.arbitrary::<&[u8]>()?);
    Ok(block)
}
