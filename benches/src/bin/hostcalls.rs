//! What crosses the border of the VM for one request: `hostcalls MODULE FILE[:VARIABLE]…` prints, for each experiment
//! file, how often a request makes the filter call its host, how often the host enters the VM, what the module computes
//! for a request and for a tick, and the memory in it. The variables, separated by `:`, are set for the VM.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrack_tests::fake_host::{Module, Proxy, Vm};

/// What Envoy calls for a GET with an answer of one piece, where the module exports it.
const CALLBACKS: [&str; 7] = [
    "context_create",
    "request_headers",
    "response_headers",
    "response_body",
    "log",
    "done",
    "delete",
];

/// Calls whose answer the host puts into memory that it asks the VM for: an entry more each.
const ALLOCATING: [&str; 3] =
    ["proxy_get_header_map_pairs", "proxy_get_header_map_value", "proxy_get_property"];

/// Enough that what happens rarely shows as a fraction.
const REQUESTS: u32 = 100;

/// How often Envoy ticks in a second.
const TICKS: u64 = 10;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let module = arguments.next().context("usage: hostcalls MODULE FILE…")?;
    let module = Module::from_file(Path::new(&module))?;
    let exports = module.exports();
    let exported = |name: &&str| exports.contains(&format!("proxy_on_{name}"));
    let callbacks: Vec<&str> = CALLBACKS.into_iter().filter(exported).collect();
    for file in arguments {
        let (file, variables) = file.split_once(':').unwrap_or((&*file, ""));
        let Costs { calls, request, tick, busy_tick } =
            costs(&module, &std::fs::read(file)?, variables)?;
        let of = |name: &&str| calls.get(name).copied().unwrap_or_default();
        let allocations: f64 = ALLOCATING.iter().map(of).sum();
        println!("{file}");
        println!("  host calls: {:.2}", calls.values().sum::<f64>());
        for (name, count) in &calls {
            println!("    {count:5.2} {name}");
        }
        println!(
            "  entries: {} callbacks ({}), {allocations:.2} allocations",
            callbacks.len(),
            callbacks.join(", ")
        );
        println!(
            "  wasm instructions: {request} per request, {tick} per tick without requests, {busy_tick} per tick in a second \
             after {REQUESTS} requests"
        );
    }
    memory(&module)?;
    flat(&module)
}

/// What a file makes the module do.
struct Costs {
    /// Host calls per request, by name.
    calls: BTreeMap<&'static str, f64>,
    /// Wasm instructions.
    request: u64,
    tick: u64,
    busy_tick: u64,
}

fn costs(module: &Module, file: &[u8], variables: &str) -> Result<Costs> {
    let proxy = Proxy::new(module);
    for name in variables.split(':').filter(|name| !name.is_empty()) {
        proxy.set_environment(name, "1");
    }
    let vm = configured(&proxy, file)?;
    // The first requests and ticks also grow tables.
    (0..REQUESTS).try_for_each(|user| request(&vm, user))?;
    ticks(&vm)?;
    let (before, fuel) = (proxy.host_calls(), proxy.fuel_used());
    (0..REQUESTS).try_for_each(|user| request(&vm, user))?;
    let count = |(name, after): (&'static str, u64)| {
        let more = u32::try_from(after - before.get(name).copied().unwrap_or_default())
            .unwrap_or(u32::MAX);
        (more > 0).then(|| (name, f64::from(more) / f64::from(REQUESTS)))
    };
    let calls = proxy.host_calls().into_iter().filter_map(count).collect();
    let requests = proxy.fuel_used() - fuel;
    ticks(&vm)?;
    let busy = proxy.fuel_used() - fuel - requests;
    ticks(&vm)?;
    let idle = proxy.fuel_used() - fuel - requests - busy;
    Ok(Costs {
        calls,
        request: requests / u64::from(REQUESTS),
        tick: idle / TICKS,
        busy_tick: busy / TICKS,
    })
}

/// A second.
fn ticks(vm: &Vm) -> Result<()> {
    for _ in 0..TICKS {
        vm.tick()?;
    }
    Ok(())
}

fn request(vm: &Vm, user: u32) -> Result<()> {
    let stream = vm.stream();
    let unit = format!("user-{user:06}");
    let headers = [
        (":authority", "predictor.example.com"),
        (":path", "/v2/models/forecast/infer"),
        (":method", "GET"),
        ("user-agent", "bench/1"),
        ("accept", "application/json"),
        ("x-user-id", unit.as_str()),
    ];
    stream.request_headers(headers, true)?;
    stream.set_number(&["upstream", "request_attempt_count"], 1);
    stream.response_headers([(":status", "200")], false)?;
    stream.response_body(b"{}", true)?;
    stream.finish()?;
    ensure!(stream.request_header("x-ab-variant").is_some(), "the filter did not decide");
    Ok(())
}

/// What the module computes for a request, as the configuration grows: wasm instructions over all callbacks, and calls of
/// the host.
fn flat(module: &Module) -> Result<()> {
    println!("\n| configuration | wasm instructions per request | of the first | host calls |");
    println!("| --- | ---: | ---: | ---: |");
    for (what, sizes) in [("experiments by host and path", [1, 1000]), ("variants", [2, 50])] {
        let mut first = None;
        for size in sizes {
            let (experiments, variants) = if what == "variants" { (1, size) } else { (size, 2) };
            let (price, calls) = price(module, experiments, variants)?;
            let hundredths = price * 100 / *first.get_or_insert(price);
            println!(
                "| {size} {what} | {price} | {}.{:02} | {calls} |",
                hundredths / 100,
                hundredths % 100
            );
            ensure!(hundredths <= 110, "the goal is at most 1.10 of the first");
        }
    }
    Ok(())
}

/// Of a request for the last experiment, the mean: wasm instructions and host calls.
fn price(module: &Module, experiments: u32, variants: u32) -> Result<(u64, u64)> {
    let name = |number: u32| format!("v{number:02}");
    let names: Vec<Value> = (0..variants)
        .map(|number| match number {
            0 => serde_json::json!({"name": name(0)}),
            _ => serde_json::json!({"name": name(number), "weight": 1}),
        })
        .collect();
    let experiment = |number: u32| -> Value {
        serde_json::json!({
            "name": format!("experiment-{number:04}"),
            "match": {"hosts": [format!("host-{number:04}.example.com")], "path": {"prefix": format!("/v2/{number:04}/")}},
            "unit": [{"header": "x-user-id"}],
            "baseline": name(0),
            "variants": names,
        })
    };
    let all: Vec<Value> = (0..experiments).map(experiment).collect();
    let proxy = Proxy::new(module);
    proxy.set_fuel_limit(u64::MAX);
    let vm = configured(&proxy, serde_json::json!({ "experiments": all }).to_string().as_bytes())?;
    let all_calls = || proxy.host_calls().values().sum::<u64>();
    let (fuel, calls) = (proxy.fuel_used(), all_calls());
    for user in 0..REQUESTS {
        let stream = vm.stream();
        let (host, path) = (
            format!("host-{:04}.example.com", experiments - 1),
            format!("/v2/{:04}/infer", experiments - 1),
        );
        let unit = format!("user-{user:06}");
        let headers = [
            (":authority", host.as_str()),
            (":path", &path),
            (":method", "GET"),
            ("x-user-id", &unit),
        ];
        stream.request_headers(headers, true)?;
        stream.response_headers([(":status", "200")], true)?;
        stream.finish()?;
        ensure!(stream.request_header("x-ab-variant").is_some(), "the filter did not decide");
    }
    let requests = u64::from(REQUESTS);
    Ok(((proxy.fuel_used() - fuel) / requests, (all_calls() - calls) / requests))
}

/// What a thousand experiments take in the VM.
fn memory(module: &Module) -> Result<()> {
    const EXPERIMENTS: u32 = 1000;
    let experiment = |number: u32| -> Value {
        serde_json::json!({
            "name": format!("experiment-{number}"),
            "match": {"path": {"prefix": format!("/v2/models/forecast-{number}/")}},
            "unit": [{"header": "x-user-id"}],
            "baseline": "stable",
            "variants": [{"name": "stable"}, {"name": "candidate", "weight": 30}],
        })
    };
    let file = |count| {
        let all: Vec<_> = (0..count).map(experiment).collect();
        serde_json::json!({ "experiments": all }).to_string()
    };
    let load = |count| -> Result<(usize, u64)> {
        let proxy = Proxy::new(module);
        proxy.set_fuel_limit(u64::MAX);
        let vm = configured(&proxy, file(count).as_bytes())?;
        Ok((vm.memory_bytes(), proxy.fuel_used()))
    };
    let (few, many) = (load(1)?, load(EXPERIMENTS)?);
    println!(
        "memory of the VM: {} KiB with one experiment, {} KiB with {EXPERIMENTS}",
        few.0 / 1024,
        many.0 / 1024
    );
    println!("wasm instructions to load {EXPERIMENTS} experiments: {} million", many.1 / 1_000_000);
    Ok(())
}

fn configured(proxy: &Proxy, file: &[u8]) -> Result<Vm> {
    let vm = proxy.start_vm()?;
    let good = vm.configure(file)?;
    ensure!(good, "the filter refused the configuration: {}", proxy.log_text());
    Ok(vm)
}
