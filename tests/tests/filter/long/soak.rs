//! Memory under a million requests: Envoy's as the kernel counts it, Envoy's as its allocator counts it, and the
//! module's own in the fake host, where every page is seen.

use std::process::Command;

use serde_json::Value;
use sidetrack_lab::Load;
use sidetrack_tests::fake_host::{HeaderMap, Module, Proxy, Reply};
use sidetrack_tests::world::{World, run};

use super::flat::{Curve, KIB};
use super::stand::{Answers, bad_file, file, no_crash, served, size, stage, under_load, unharmed};

/// Where memory is read, evenly over the run. The first quarter is for caches to fill.
const POINTS: u64 = 20;

/// What a process holds, in KiB.
fn resident(pid: u32) -> u64 {
    // Linux says so itself; elsewhere `ps` is part of the system.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    if let Some(kib) = line {
        return kib.trim().parse().expect("a number of KiB");
    }
    let output =
        Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().expect("ps");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of KiB")
}

/// What Envoy's allocator has given away, in KiB.
async fn allocated(world: &World) -> u64 {
    let page: Value =
        serde_json::from_str(&world.real().envoy.admin_get("/memory").await.unwrap()).unwrap();
    page["allocated"].as_str().unwrap().parse::<u64>().unwrap() / KIB
}

async fn soak(workers: u32, requests: u64) {
    run(stage().with_workers(workers), move |stage| async move {
        let world = under_load(&stage, &file(50)).await;
        let answers = Answers::default();
        let load = Load::run(answers.load(&world, served)).unwrap();
        let mut curve = Curve::new(["resident", "allocated"]);
        for point in 1..=POINTS {
            answers.reach(requests * point / POINTS).await;
            let pid = world.real().envoy.pid();
            curve.point(answers.count(), [resident(pid), allocated(&world).await]);
        }
        let totals = load.stop().await;
        println!("{workers} workers, {} requests, KiB:\n{curve}", totals.done);
        answers.none_was_bad();
        assert!(totals.done >= requests && totals.errors == 0, "{totals:?}");
        unharmed(&world).await;
        no_crash(&world);
        // A byte for each request would be 1 MiB in the long run. What the kernel counts, moves by itself.
        curve.is_flat(0, 6 * 1024);
        curve.is_flat(1, 1024);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_requests_and_one_worker() {
    soak(1, size(3_000, 200_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_requests_and_two_workers() {
    soak(2, size(8_000, 1_000_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_requests_and_four_workers() {
    soak(4, size(3_000, 200_000)).await;
}

/// The module's linear memory never shrinks, so it must have stopped growing early: each page is 64 KiB.
#[test]
fn the_modules_own_memory_is_flat() {
    let requests = size(8_000, 200_000);
    let proxy = Proxy::new(Module::sidetrack());
    let worker = proxy.start_vm().unwrap();
    assert!(worker.configure(file(50).to_string()).unwrap(), "{}", proxy.log_text());
    let mut curve = Curve::new(["linear memory"]);
    for n in 0..requests {
        let user = (n % 5_000).to_string();
        let headers: HeaderMap = match n % 4 {
            0 => [("cookie", format!("{}sid={user}", "a=b; ".repeat(50)))].into(),
            1 => [("x-user-id", user), ("x-ab-variant", "forged".repeat(20))].into(),
            _ => [("x-user-id", user)].into(),
        };
        let reply = match n % 97 {
            0 => Reply::Abort,
            1 => Reply::status(503),
            _ => Reply::status(200),
        };
        worker.get_replied("/?user=%41%", headers, reply).unwrap();
        if n % 500 == 0 {
            worker.tick().unwrap();
        }
        if n % (requests / 20) == 0 {
            proxy.clear_log();
            curve.point(n, [u64::try_from(worker.memory_bytes()).unwrap() / KIB]);
        }
    }
    println!("{requests} requests, KiB:\n{curve}");
    curve.is_flat(0, 0);
}

/// Each update makes a new configuration in the VM, and the old one must go.
#[test]
fn the_modules_memory_is_flat_under_updates() {
    let updates = size(200, 5_000_u64);
    let proxy = Proxy::new(Module::sidetrack());
    let worker = proxy.start_vm().unwrap();
    let mut curve = Curve::new(["linear memory"]);
    for n in 0..updates {
        let (good, weight) = (n % 5 != 4, 10 + u32::try_from(n % 50).unwrap());
        let text = if good { file(weight) } else { bad_file(weight) }.to_string();
        // A stream keeps the configuration that it began with.
        let stream = worker.stream();
        if n > 0 {
            stream.request_headers([(":path", "/"), ("x-user-id", "1")], true).unwrap();
        }
        // A bad file is not refused either: the last good one stays in force.
        assert!(worker.configure(text).unwrap(), "{}", proxy.log_text());
        if n > 0 {
            stream.finish().unwrap();
        }
        assert_eq!(worker.roots(), 1);
        if n % (updates / 20) == 0 {
            proxy.clear_log();
            curve.point(n, [u64::try_from(worker.memory_bytes()).unwrap() / KIB]);
        }
    }
    println!("{updates} updates, KiB:\n{curve}");
    curve.is_flat(0, 0);
}
