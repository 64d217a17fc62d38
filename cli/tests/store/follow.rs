//! Access logs that grow, are rotated and are followed again after a restart.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use crate::server::{Folder, Server};
use crate::traffic::{EXPERIMENT, NAME, START, Traffic, labels, log};
use crate::verdict::{CSV, same, verdict};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn until(server: &Server, requests: u64) {
    server.until("/v1/experiments", |all| all["experiments"][0]["live"]["requests"] == requests);
}

#[test]
fn a_log_is_followed_through_rotations_and_restarts_without_loss_or_repeats() {
    let folder = Folder::new(EXPERIMENT);
    let lines = Traffic::new(EXPERIMENT, START).lines(3000);
    let path = folder.path().join("live/access.log");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let follow = ["--follow", "live/access.log"];
    let server = folder.serve(&follow);
    // The file comes later, and a line comes in two parts.
    let text = log(&lines[..1000]);
    let (head, tail) = text.split_at(text.len() - 100);
    append(&path, head);
    until(&server, 999);
    append(&path, tail);
    until(&server, 1000);
    // Rotation: the writer still has the old file for a moment.
    let old = path.with_extension("log.1");
    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    std::fs::rename(&path, &old).unwrap();
    writer.write_all(log(&lines[1000..1200]).as_bytes()).unwrap();
    append(&path, &log(&lines[1200..1500]));
    until(&server, 1500);
    server.kill();
    // While nobody follows: more lines, and two rotations.
    append(&path, &log(&lines[1500..1700]));
    std::fs::rename(&old, path.with_extension("log.2")).unwrap();
    std::fs::rename(&path, path.with_extension("log.1")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    append(&path, &log(&lines[1700..2000]));
    let server = folder.serve(&follow);
    until(&server, 2000);
    // The log is copied and truncated.
    std::fs::copy(&path, path.with_extension("log.copy")).unwrap();
    std::fs::write(&path, "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    append(&path, &log(&lines[2000..]));
    append(&path, "{\"experiment\": \"forecast\", \"time\": \"today\"}\nnot JSON\n");
    until(&server, 3000);
    let repeated = server.metric("sidetrack_store_exposures_total{result=\"repeated\"}");
    assert_eq!(repeated, 0, "nothing was read twice");
    server.until(&format!("/v1/experiments/{NAME}"), |_| {
        server.metric("sidetrack_store_exposures_total{result=\"malformed\"}") == 2
    });
    server.post("/v1/outcomes", CSV, labels(&lines));
    folder.write("access.log", log(&lines));
    folder.write("labels.csv", labels(&lines));
    same(&verdict(&server), &folder.analysis(&["--outcomes", "labels.csv"]));
    server.stop();
}
