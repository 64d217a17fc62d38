//! Good and bad files in any order, on workers that start and crash: the newest good file is in force, and nothing
//! is refused.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on may stop")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use sidetrack::config;
use sidetrack_tests::fake_host::{Module, Proxy, Stream, Vm};

use super::{FORECAST, forecast_with, get};

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(usize),
    /// The file that is published already.
    Again,
    /// A request begins on the first worker and does not end.
    Begin,
    /// All of those requests end.
    End,
    NewWorker,
    Crash,
    CrashAll,
}

/// All users on the old model, all on the new one, and two files that are bad.
fn texts() -> [String; 4] {
    let weight = |percent: u32| {
        let variants = json!([
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": percent},
        ]);
        forecast_with(json!({"variants": variants})).to_string()
    };
    [weight(0), weight(100), weight(130), "{".to_owned()]
}

/// An Envoy as far as a plugin can see it: it tries each text once, in a VM of its own, and then gives it to its workers.
struct Envoy {
    proxy: Proxy,
    texts: [String; 4],
    tried: BTreeSet<usize>,
    workers: Vec<Vm>,
    current: usize,
    streams: Vec<Stream>,
}

impl Envoy {
    fn start(first: usize) -> Self {
        let proxy = Proxy::new(Module::sidetrack());
        let workers = (0..2).map(|_| proxy.start_vm().unwrap()).collect();
        let mut envoy = Self {
            proxy,
            texts: texts(),
            tried: BTreeSet::new(),
            workers,
            current: first,
            streams: Vec::new(),
        };
        envoy.publish(first);
        envoy
    }

    fn publish(&mut self, text: usize) {
        self.current = text;
        if self.tried.insert(text) {
            self.configure(&self.proxy.start_vm().unwrap());
        }
        self.workers.iter().for_each(|worker| self.configure(worker));
    }

    fn configure(&self, vm: &Vm) {
        let text = &self.texts[self.current];
        assert!(vm.configure(text).unwrap(), "refused: {text}\n{}", self.proxy.log_text());
    }

    fn new_vm(&self) -> Vm {
        let vm = self.proxy.start_vm().unwrap();
        self.configure(&vm);
        vm
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Publish(text) => self.publish(text),
            Step::Again => self.publish(self.current),
            Step::Begin => {
                let stream = self.workers[0].stream();
                stream.request_headers([(":path", FORECAST), ("x-user-id", "1")], true).unwrap();
                self.streams.push(stream);
            }
            Step::End => self.streams.drain(..).for_each(|stream| {
                stream.response_headers([(":status", "200")], true).unwrap();
                stream.finish().unwrap();
            }),
            Step::NewWorker => self.workers.push(self.new_vm()),
            Step::Crash => {
                self.streams.clear();
                self.workers[0] = self.new_vm();
            }
            Step::CrashAll => {
                self.streams.clear();
                self.workers = self.workers.iter().map(|_| self.new_vm()).collect();
            }
        }
    }

    fn check(&self, newest_good: Option<usize>, rejected: u64) {
        let served = newest_good.map(|text| ["old", "new"][text]);
        for worker in &self.workers {
            worker.tick().unwrap();
            let exchange = get(worker, "1");
            assert_eq!(exchange.request_header("x-ab-variant").as_deref(), served);
            assert_eq!(exchange.response_header("x-ab-variant").as_deref(), served);
        }
        let hash = newest_good.map_or(0, |text| {
            config::parse_json(self.texts[text].as_bytes()).unwrap().hash.first_32_bits()
        });
        let proxy = &self.proxy;
        let gauge = proxy.gauge("plugin=.=sidetrack;.;ab_test_config_hash");
        assert_eq!(gauge, Some(hash.into()), "the hash in force");
        let count = proxy.counter("plugin=.=sidetrack;.;ab_test_config_rejected_total");
        assert_eq!(count, Some(rejected), "rejected files\n{}", proxy.log_text());
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..4).prop_map(Step::Publish),
        1 => Just(Step::Again),
        1 => Just(Step::Begin),
        1 => Just(Step::End),
        1 => Just(Step::NewWorker),
        1 => Just(Step::Crash),
        1 => Just(Step::CrashAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn any_order_of_files_ends_in_the_newest_good_one(
        first in 0_usize..4,
        steps in prop::collection::vec(any_step(), 1..10),
    ) {
        let is_good = |text: usize| text < 2;
        let mut envoy = Envoy::start(first);
        let (mut newest_good, mut rejected) = (Some(first).filter(|&text| is_good(text)), 0);
        rejected += u64::from(!is_good(first));
        envoy.check(newest_good, rejected);
        for step in steps {
            if let Step::Publish(text) = step {
                rejected += u64::from(!is_good(text) && text != envoy.current);
                newest_good = Some(text).filter(|&text| is_good(text)).or(newest_good);
            }
            envoy.play(step);
            envoy.check(newest_good, rejected);
        }
    }
}

/// The count and the log name each problem of a file once, however many workers there are.
#[test]
fn a_bad_file_is_reported_once() {
    let mut envoy = Envoy::start(0);
    envoy.publish(2);
    let log = envoy.proxy.log_text();
    assert_eq!(log.matches("configuration rejected").count(), 1, "{log}");
    assert_eq!(log.matches("the last good configuration stays in force").count(), 1, "{log}");
}

/// Plugins of one proxy share its data, each under its own name.
#[test]
fn a_plugin_falls_back_on_its_own_file() {
    let proxy = Proxy::new(Module::sidetrack());
    let [old, new, bad, _] = texts();
    let configure = |plugin: &str, text: &str| {
        proxy.set_property(&["plugin_name"], plugin);
        let vm = proxy.start_vm().unwrap();
        assert!(vm.configure(text).unwrap());
        get(&vm, "1").request_header("x-ab-variant")
    };
    assert_eq!(configure("one", &old).as_deref(), Some("old"));
    assert_eq!(configure("two", &new).as_deref(), Some("new"));
    assert_eq!(configure("one", &bad).as_deref(), Some("old"));
    assert_eq!(configure("two", &bad).as_deref(), Some("new"));
    assert_eq!(configure("three", &bad), None);
}
