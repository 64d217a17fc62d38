//! A follower that is killed after each of its steps: the next round completes what it began, once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::trial::{self, Trial};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Passes requests on to the registry, and kills the follower after a certain write.
struct Killer {
    uri: String,
    pid: Arc<AtomicU32>,
    writes: Arc<AtomicUsize>,
    /// The method and path of the last write.
    last: Arc<Mutex<String>>,
}

fn kill(pid: u32) {
    Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
}

/// The head and the body of a message.
fn message(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
        let line = head.lines().last().unwrap().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut all = head.into_bytes();
    reader.take(length).read_to_end(&mut all).unwrap();
    all
}

impl Killer {
    fn after(write: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let killer = Self {
            uri: format!("http://{}", listener.local_addr().unwrap()),
            pid: Arc::default(),
            writes: Arc::default(),
            last: Arc::default(),
        };
        let (pid, writes) = (Arc::clone(&killer.pid), Arc::clone(&killer.writes));
        let last = Arc::clone(&killer.last);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = message(&stream);
                if asked.is_empty() {
                    continue;
                }
                let text = String::from_utf8_lossy(&asked);
                let first = text.lines().next().unwrap_or_default().to_owned();
                let is_write = !first.starts_with("GET ") && !first.contains("runs/search");
                // One request a connection, so the end of the answer is the end of the stream.
                let asked = text.replacen("\r\n", "\r\nconnection: close\r\n", 1).into_bytes();
                let upstream = server().uri.strip_prefix("http://").unwrap();
                let mut upstream = TcpStream::connect(upstream).unwrap();
                upstream.write_all(&asked).unwrap();
                let mut answer = Vec::new();
                upstream.read_to_end(&mut answer).unwrap();
                if is_write {
                    last.lock().unwrap().clone_from(&first);
                    if writes.fetch_add(1, Ordering::SeqCst) + 1 == write {
                        let end = Instant::now() + PATIENCE;
                        while pid.load(Ordering::SeqCst) == 0 {
                            assert!(Instant::now() < end, "the follower has no id");
                            std::thread::yield_now();
                        }
                        kill(pid.load(Ordering::SeqCst));
                        continue;
                    }
                }
                stream.write_all(&answer).ok();
            }
        });
        killer
    }

    /// Whether the round was killed.
    fn round(&self, trial: &Trial) -> bool {
        let mut command = trial.command(&trial.clone(), &["--promote"]);
        let child = command.env("MLFLOW_TRACKING_URI", &self.uri).spawn().unwrap();
        self.pid.store(child.id(), Ordering::SeqCst);
        let output = child.wait_with_output().unwrap();
        output.status.code().is_none()
    }
}

/// A fresh model whose test is about to end.
fn about_to_end(kind: &str, at: usize, change: fn(&mut Value)) -> Trial {
    let name: &'static str = Box::leak(format!("follow-{kind}-{at}").into_boxed_str());
    let trial = Trial::new(name, &["2"]);
    trial.round(0);
    if kind == "promote" {
        trial.evidence(5, |_| {});
        trial.round(0);
        trial.evidence(30, change);
    } else {
        trial.evidence(5, change);
    }
    trial
}

/// Rounds until nothing is left to do.
fn settle(trial: &Trial) {
    for _ in 0..4 {
        let ran = trial.run(&["--promote", "--json"]);
        assert!([0, 3, 4].contains(&ran.code), "{}{}", ran.stdout, ran.stderr);
        if ran.stdout.contains("\"idle\"") {
            return;
        }
    }
    panic!("it does not end: {}", trial.model.state());
}

/// The registry, the repository and the runs are as after an undisturbed end.
fn is_complete(trial: &Trial, kind: &str, commits: usize, killed: &str) {
    let (run, id) = trial.run_of_the_test();
    assert_eq!(run["info"]["status"], "FINISHED", "{killed}");
    assert_eq!(trial.log().lines().count(), commits, "{killed}: {}", trial.log());
    let state = trial.model.state();
    if kind == "promote" {
        assert_eq!(state, trial.promoted_state(&id), "{killed}");
    } else {
        for part in
            ["2:ab_test.result=rolled_back", "2:ab_test.trial=", "2:ab_test.reason=accuracy"]
        {
            assert!(state.contains(part), "{killed}: no {part} in {state}");
        }
        assert!(state.contains(&format!("2:ab_test.run_id={id}")), "{killed}: {state}");
        assert!(!state.contains("ab_test_candidate"), "{killed}: {state}");
    }
    let metrics = run["data"]["metrics"].as_array().unwrap();
    assert!(metrics.iter().any(|it| it["key"] == "srm/p_value"), "{killed}: {metrics:?}");
}

/// Kills it after each write from the first to the last; there must be more than the fewest.
fn killed_after_each_write(
    kind: &str,
    change: fn(&mut Value),
    commits: usize,
    (first, fewest): (usize, usize),
) {
    for write in first.. {
        let trial = about_to_end(kind, write, change);
        let killer = Killer::after(write);
        let was_killed = killer.round(&trial);
        let last = killer.last.lock().unwrap().clone();
        if !was_killed {
            assert!(write > fewest, "only {write} writes");
            return;
        }
        settle(&trial);
        is_complete(&trial, kind, commits, &format!("killed after write {write}, {last}"));
    }
}

#[test]
fn a_promotion_survives_a_kill_after_each_write_to_the_registry() {
    killed_after_each_write("promote", trial::wins, 4, (1, 12));
}

#[test]
fn a_rollback_survives_a_kill_after_each_write_to_the_registry() {
    // The run is written as before a promotion.
    killed_after_each_write("rollback", trial::harms, 3, (7, 10));
}

/// Installs a hook that kills the follower, and then lets Git go on or fail.
fn deadly(clone: &Path, hook: &str, code: i32) {
    let path = clone.join(".git/hooks").join(hook);
    let script = format!(
        "#!/bin/sh\nrm \"$0\"\necho $PPID > .git/git.pid\nkill -9 $(cut -d' ' -f4 /proc/$PPID/stat)\nexit {code}\n"
    );
    std::fs::write(&path, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
}

#[test]
fn a_kill_while_git_works_is_survived() {
    let hooks = [
        ("pre-commit", 0),
        ("pre-commit", 1),
        ("post-commit", 0),
        ("pre-push", 0),
        ("pre-push", 1),
    ];
    for (at, (hook, code)) in hooks.into_iter().enumerate() {
        let trial = about_to_end("git", at, trial::harms);
        deadly(&trial.clone(), hook, code);
        let round = trial.command(&trial.clone(), &["--promote"]).output().unwrap();
        assert_eq!(round.status.code(), None, "{hook} {code}: {round:?}");
        // Git is not killed with it.
        let pid = std::fs::read_to_string(trial.clone().join(".git/git.pid")).unwrap();
        let end = Instant::now() + PATIENCE;
        while Path::new("/proc").join(pid.trim()).exists() {
            assert!(Instant::now() < end, "git does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        settle(&trial);
        is_complete(&trial, "git", 3, &format!("{hook} {code}"));
    }
    // The first file of all: nothing is tracked yet.
    let trial = Trial::new("follow-git-first", &["2"]);
    deadly(&trial.clone(), "pre-commit", 1);
    let round = trial.command(&trial.clone(), &["--promote"]).output().unwrap();
    assert_eq!(round.status.code(), None, "{round:?}");
    assert_eq!(trial.round(0)["action"], "begin");
}
