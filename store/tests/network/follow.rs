//! A follower as its owner sees it: in which file it is, and its end.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::served::{Request, START, Served};

/// More than is read at once.
const LINES: i64 = 20_000;

fn line(number: i64) -> String {
    let id = format!("r-{number}");
    let request = Request { time: START + number.cast_unsigned(), ..Request::new(&id, "u") };
    let fields = request.fields().into_iter().map(|(name, text)| (name.to_owned(), text.into()));
    format!("{}\n", serde_json::Value::Object(fields.collect()))
}

#[test]
fn it_is_in_a_new_file_when_all_lines_before_are_stored_and_ends_after_the_last() {
    let served = Served::new();
    let folder = tempfile::tempdir().unwrap();
    let (log, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let mut text = String::new();
    (0..LINES).for_each(|number| write!(text, "{}", line(number)).unwrap());
    fs::write(&log, text).unwrap();
    let first = fs::metadata(&log).unwrap();
    let follower = served.store.follow(&log).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let until_in = |file: &fs::Metadata| {
        while !follower.is_in(file) {
            assert!(Instant::now() < end, "{:?}", follower.problem());
        }
    };
    until_in(&first);
    // Rotated while it reads.
    fs::rename(&log, &old).unwrap();
    fs::write(&log, line(LINES)).unwrap();
    until_in(&fs::metadata(&log).unwrap());
    let stored = || served.store.live("forecast").unwrap().requests;
    assert!(stored() >= LINES, "{}", stored());
    // What its writer adds at the end is stored as well.
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    let rest: String = (LINES + 1..2 * LINES).map(line).collect();
    std::io::Write::write_all(&mut file, rest.as_bytes()).unwrap();
    follower.finish().unwrap();
    assert_eq!(stored(), 2 * LINES);
}

/// A log that was followed to its end, and its copy or next file.
struct Log {
    served: Served,
    folder: tempfile::TempDir,
    written: i64,
}

impl Log {
    /// With 100 lines that are stored.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Self { served: Served::new(), folder, written: 0 };
        let lines = log.lines(100);
        fs::write(log.path(""), lines).unwrap();
        log.follow();
        log
    }

    fn path(&self, end: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("access.log{end}"))
    }

    fn lines(&mut self, number: i64) -> String {
        self.written += number;
        (self.written - number..self.written).map(line).collect()
    }

    fn append(&mut self, number: i64) {
        let lines = self.lines(number);
        let mut file = fs::OpenOptions::new().append(true).open(self.path("")).unwrap();
        std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    }

    /// What is written so far is stored, all of it once.
    fn follow(&self) {
        self.served.store.follow(self.path("")).unwrap().finish().unwrap();
        assert_eq!(self.served.store.live("forecast").unwrap().requests, self.written);
    }
}

#[test]
fn a_log_that_was_copied_and_truncated_and_grew_past_the_position_is_read_whole() {
    let mut log = Log::new();
    log.append(100);
    fs::copy(log.path(""), log.path(".1")).unwrap();
    let lines = log.lines(300);
    fs::write(log.path(""), lines).unwrap();
    log.follow();
}

#[test]
fn another_file_with_the_same_inode_is_read_from_its_beginning() {
    let mut log = Log::new();
    let lines = log.lines(300);
    fs::write(log.path(""), lines).unwrap();
    log.follow();
}

#[test]
fn a_plain_file_between_a_compressed_one_and_the_log_is_read() {
    let mut log = Log::new();
    fs::rename(log.path(""), log.path(".2.gz")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let lines = log.lines(50);
    fs::write(log.path(".1"), lines).unwrap();
    let lines = log.lines(50);
    fs::write(log.path(""), lines).unwrap();
    log.follow();
}

#[test]
fn a_log_that_is_copied_and_truncated_while_it_is_followed_loses_nothing() {
    let mut log = Log::new();
    let follower = log.served.store.follow(log.path("")).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    for round in 0..3 {
        log.append(50);
        fs::copy(log.path(""), log.path(&format!(".{round}"))).unwrap();
        let lines = log.lines(200 + 100 * round);
        fs::write(log.path(""), lines).unwrap();
        while log.served.store.live("forecast").unwrap().requests < log.written {
            assert!(Instant::now() < end, "round {round}: {:?}", follower.problem());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    follower.finish().unwrap();
    assert_eq!(log.served.store.live("forecast").unwrap().requests, log.written);
}
