//! A random walk of good, bad, truncated, empty and repeated files, of listeners that come and go, and of
//! restarts, under load: no request fails, and the newest good file is in force.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use sidetrack::config;
use sidetrack_lab::{Load, LoadOptions, Request};

use super::stand::size;
use crate::dynamic::{Source, Stand, text};
use crate::scenarios::FORECAST;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A file with this weight, in percent.
    Good(u32),
    /// A weight above 100 percent.
    Bad(u32),
    /// The first bytes of a good file.
    Truncated(usize),
    /// No configuration.
    Empty,
    /// The whole file of the filter is empty, as the output of a failed command is.
    Unreadable,
    /// The file that is published already.
    Same,
    /// An earlier file, good or bad.
    Earlier(usize),
    /// A bad file, and at once a good one.
    BadThenGood(u32, u32),
    /// Another listener opens, or closes.
    Neighbor,
    Restart,
}

/// Random numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.0 >> 33).unwrap() % limit
    }

    fn step(&mut self) -> Step {
        let (kind, number) = (self.below(22), self.below(1000));
        // Either all users or none, so that one request shows the file in force.
        let weight = 100 * (number % 2);
        match kind {
            0..5 => Step::Good(weight),
            5..8 => Step::Bad(101 + number % 3),
            8..10 => Step::Truncated(number as usize),
            10 => Step::Same,
            11..14 => Step::Earlier(number as usize),
            14..16 => Step::BadThenGood(101 + number % 3, weight),
            16..19 => Step::Neighbor,
            19 => Step::Empty,
            20 => Step::Unreadable,
            _ => Step::Restart,
        }
    }
}

/// Files whose texts differ, although the weights are few.
fn good(weight: u32, number: usize) -> String {
    text(weight).replace("forecast-1", &format!("salt-{number}"))
}

struct Walk {
    stand: Stand,
    neighbor: bool,
    published: Vec<String>,
    /// The newest good file that this process has been given.
    newest: Option<String>,
    is_unreadable: bool,
    load: Load,
    failures: Arc<Mutex<Vec<String>>>,
}

fn start_load(stand: &Stand, failures: &Arc<Mutex<Vec<String>>>) -> Load {
    let request = |n: u64| Request::get(FORECAST).header("x-user-id", (n % 1000).to_string());
    let mut options = LoadOptions::new(stand.addr, 200.0, request);
    options.connections = 8;
    let failures = Arc::clone(failures);
    options.on_answer = Arc::new(move |n, _, answer| {
        let complaint = match answer {
            Ok(answer) if answer.status == 200 => return,
            Ok(answer) => format!("request {n}: {}", answer.status),
            Err(error) => format!("request {n}: {error:#}"),
        };
        failures.lock().unwrap().push(complaint);
    });
    Load::run(options).unwrap()
}

fn is_good(text: &str) -> bool {
    config::parse_json(text.as_bytes()).is_ok()
}

impl Walk {
    async fn start(source: Source, first: String) -> Self {
        let stand = Stand::start(source, first.clone()).await;
        let failures = Arc::default();
        let load = start_load(&stand, &failures);
        let newest = Some(first.clone()).filter(|text| is_good(text));
        Self {
            stand,
            neighbor: false,
            published: vec![first],
            newest,
            is_unreadable: false,
            load,
            failures,
        }
    }

    async fn publish(&mut self, text: String) {
        self.stand.publish(text.clone()).await;
        self.is_unreadable = false;
        if is_good(&text) {
            self.newest = Some(text.clone());
        }
        self.published.push(text);
    }

    async fn play(mut self, step: Step) -> Self {
        let number = self.published.len();
        match step {
            Step::Good(weight) => self.publish(good(weight, number)).await,
            Step::Bad(weight) => self.publish(good(weight, number)).await,
            Step::Truncated(length) => {
                let whole = good(100, number);
                let text = whole[..length % (whole.len() - 1) + 1].to_owned();
                self.publish(text).await;
            }
            Step::Empty => self.publish(String::new()).await,
            Step::Unreadable if self.stand.source == Source::Watched => {
                self.stand.set_file(Some(""));
                self.is_unreadable = true;
            }
            Step::Unreadable => {}
            Step::Same => self.publish(self.published[number - 1].clone()).await,
            Step::Earlier(index) => self.publish(self.published[index % number].clone()).await,
            Step::BadThenGood(bad, weight) => {
                self.publish(good(bad, number)).await;
                self.publish(good(weight, number + 1)).await;
            }
            Step::Neighbor => {
                self.neighbor = !self.neighbor;
                self.stand.set_neighbor(self.neighbor);
            }
            Step::Restart => {
                self.load.stop().await;
                self.stand = self.stand.restart().await;
                self.load = start_load(&self.stand, &self.failures);
                let read = self.published.last().filter(|_| !self.is_unreadable);
                self.newest = read.filter(|text| is_good(text)).cloned();
            }
        }
        self
    }

    /// The newest good file is in force at every listener.
    async fn check(&self) {
        let variant = self
            .newest
            .as_ref()
            .map(|text| if text.contains("\"weight\":100") { "new" } else { "old" });
        let listeners: &[&str] =
            if self.neighbor { &["predictors", "neighbor"] } else { &["predictors"] };
        for listener in listeners {
            self.stand.expect(listener, variant, self.newest.as_deref()).await;
        }
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} requests failed: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
    }
}

async fn walk(source: Source, seed: u64) {
    let (mut dice, mut steps) = (Dice(seed), Vec::new());
    let first = [good(100, 0), good(101, 0)][dice.below(2) as usize].clone();
    let mut walk = Walk::start(source, first).await;
    let said = Told { source, seed, steps: &mut steps };
    walk.check().await;
    for _ in 0..size(40, 200) {
        let step = dice.step();
        said.steps.push(step);
        walk = walk.play(step).await;
        walk.check().await;
    }
    let totals = walk.load.stop().await;
    println!("{source:?}, seed {seed}: {totals:?} since the last restart");
    let stats = walk.stand.envoy.stats("update_rejected$|lds.*rejected").await.unwrap();
    assert!(stats.values().all(|count| *count == 0), "{stats:?}");
    assert_eq!(walk.stand.metric("ab_test_plugin_shared").await, Some(0.0));
    walk.stand.envoy.stop().await.unwrap();
}

/// Prints the steps of a walk that fails.
struct Told<'a> {
    source: Source,
    seed: u64,
    steps: &'a mut Vec<Step>,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{:?}, seed {}, failed at the end of {:?}",
                self.source, self.seed, self.steps
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_from_a_directory_in_any_order() {
    walk(Source::Watched, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_inside_listeners_in_any_order() {
    walk(Source::Listener, 2).await;
}
