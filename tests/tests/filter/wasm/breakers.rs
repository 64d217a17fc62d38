//! Breakers of two VMs of one proxy, over the host's shared data.

use std::time::Duration;

use serde_json::{Value, json};
use sidetrack_tests::fake_host::{Module, Proxy, Reply, Status, Vm};

use super::{get, vm};
use crate::scenarios::{FORECAST, forecast_with};

const TICK: Duration = Duration::from_millis(100);

/// A proxy and two users, one of each variant.
struct Stand {
    proxy: Proxy,
    old: String,
    new: String,
}

impl Stand {
    fn new() -> Self {
        let scratch = vm(&Proxy::new(Module::sidetrack()), &file(&json!({})));
        let user = |variant| {
            let mut users = (0..1000).map(|n| format!("user-{n}"));
            users.find(|user| served(&scratch, user) == variant).unwrap()
        };
        Self { old: user("old"), new: user("new"), proxy: Proxy::new(Module::sidetrack()) }
    }

    /// Lets a tenth of a second pass, with a tick of each of these VMs.
    fn tick(&self, vms: &[&Vm]) {
        self.proxy.advance(TICK);
        vms.iter().for_each(|vm| vm.tick().unwrap());
    }

    fn openings(&self) -> usize {
        self.proxy.log_text().matches("the breaker opens").count()
    }
}

fn file(breaker: &Value) -> Value {
    forecast_with(json!({"breaker": breaker}))
}

fn served(vm: &Vm, user: &str) -> String {
    get(vm, user).request_header("x-ab-variant").unwrap()
}

fn fail(vm: &Vm, user: &str, times: usize) {
    for _ in 0..times {
        vm.get_replied(FORECAST, [("x-user-id", user)], Reply::status(503)).unwrap();
    }
}

#[test]
fn an_idle_vm_follows_each_transition_on_its_next_tick() {
    let stand = Stand::new();
    let [busy, idle] = [(); 2].map(|()| vm(&stand.proxy, &file(&json!({}))));
    stand.tick(&[&busy, &idle]);
    fail(&busy, &stand.new, 5);
    // It has nothing to share and nothing to wait for: only the announcement makes it read the
    // record.
    stand.tick(&[&idle]);
    assert_eq!(served(&idle, &stand.new), "old", "{}", stand.proxy.log_text());
    for _ in 0..600 {
        stand.tick(&[&busy, &idle]);
        (0..40).for_each(|user| drop(get(&busy, &format!("user-{user}"))));
        if stand.proxy.log_text().contains("is closed") {
            break;
        }
    }
    let log = stand.proxy.log_text();
    for line in [": 5 percent", ": 25 percent", ": 100 percent", "is closed"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    // It closed on the busy VM's tick, or on the idle one's.
    stand.tick(&[&busy, &idle]);
    assert_eq!([&busy, &idle].map(|vm| served(vm, &stand.new)), ["new", "new"]);
    assert_eq!(stand.openings(), 1);
}

#[test]
fn a_lost_race_is_retried_within_the_callback() {
    let stand = Stand::new();
    let [one, other] = [(); 2].map(|()| vm(&stand.proxy, &file(&json!({}))));
    fail(&one, &stand.new, 4);
    stand.proxy.fault_times("proxy_set_shared_data", Status::CasMismatch, 1);
    fail(&one, &stand.new, 1);
    assert_eq!(stand.openings(), 1, "{}", stand.proxy.log_text());
    stand.tick(&[&other]);
    assert_eq!([&one, &other].map(|vm| served(vm, &stand.new)), ["old", "old"]);
}

#[test]
fn a_vm_whose_shared_data_fails_opens_alone() {
    let stand = Stand::new();
    let [one, other] = [(); 2].map(|()| vm(&stand.proxy, &file(&json!({}))));
    stand.proxy.fault("proxy_set_shared_data", Status::InternalFailure);
    fail(&one, &stand.new, 5);
    stand.tick(&[&other]);
    assert_eq!([&one, &other].map(|vm| served(vm, &stand.new)), ["old", "new"]);
    assert_eq!(stand.openings(), 1, "{}", stand.proxy.log_text());
}

#[test]
fn a_reload_keeps_an_open_breaker() {
    let stand = Stand::new();
    let one = vm(&stand.proxy, &file(&json!({})));
    fail(&one, &stand.new, 5);
    // Another window is another file, but the same breaker.
    let changed = file(&json!({"window": "60s"})).to_string();
    assert!(one.configure(&changed).unwrap());
    assert_eq!(served(&one, &stand.new), "old", "{}", stand.proxy.log_text());
    // A VM that Envoy starts in place of one that crashed.
    let other = vm(&stand.proxy, &file(&json!({})));
    assert_eq!(served(&other, &stand.new), "old");
    let gauge = "experiment=.=forecast-ab;.;model_name=.=new;.;ab_test_breaker_state";
    assert_eq!(stand.proxy.gauge(gauge), Some(2));
    // It stays open for the rest of its time.
    (0..260).for_each(|_| stand.tick(&[&one, &other]));
    assert_eq!(served(&one, &stand.new), "old");
    assert!(!stand.proxy.log_text().contains("half-open"), "{}", stand.proxy.log_text());
    (0..80).for_each(|_| stand.tick(&[&one, &other]));
    assert!(stand.proxy.log_text().contains("half-open: 5 percent"), "{}", stand.proxy.log_text());
}

#[test]
fn a_fault_of_both_variants_on_different_vms_opens_nothing() {
    let rates = file(&json!({"consecutive_errors": 0}));
    for (baseline_fails, openings) in [(true, 0), (false, 1)] {
        let stand = Stand::new();
        let [one, other] = [(); 2].map(|()| vm(&stand.proxy, &rates));
        for _ in 0..20 {
            for _ in 0..5 {
                match baseline_fails {
                    true => fail(&one, &stand.old, 1),
                    false => drop(get(&one, &stand.old)),
                }
                fail(&other, &stand.new, 1);
            }
            stand.tick(&[&one, &other]);
        }
        assert_eq!(stand.openings(), openings, "{}", stand.proxy.log_text());
        let variant = if openings == 0 { "new" } else { "old" };
        assert_eq!([&one, &other].map(|vm| served(vm, &stand.new)), [variant; 2]);
    }
}
