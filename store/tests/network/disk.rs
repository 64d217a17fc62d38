//! A disk that is really full: a small file system in memory, which only root can make.

use std::path::Path;
use std::process::Command;

use sidetrack_store::{Access, Limits, Store};
use tempfile::TempDir;

use crate::served::{Answer, CSV, EXPERIMENT, Request, Served, catalog};

/// A file system of a limited size on a folder, until it is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None` if this process may not make one.
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        mount(folder.path(), &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .then(|| Self(folder))
    }

    fn resize(&self, size: &str) {
        assert!(mount(self.0.path(), &["-o", &format!("remount,size={size}")]), "cannot remount");
    }
}

fn mount(path: &Path, options: &[&str]) -> bool {
    let output = Command::new("mount").args(options).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

/// Stores rows until the disk is full; returns the answer that says so. Accepted rows are added to the count.
fn fill(served: &Served, round: &str, acknowledged: &mut usize) -> Answer {
    for number in 0..1000 {
        let rows = (0..50).map(|row| format!("{round}-{number}-{row},1\n"));
        let rows = rows.fold("request_id,a\n".to_owned(), |rows, row| rows + &row);
        let answer = served.post("/v1/outcomes", CSV, rows);
        if answer.status != 200 {
            return answer;
        }
        *acknowledged += 50;
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_the_store_recovers() {
    let Some(disk) = Disk::new("2m") else {
        println!(
            "skipped: only root can mount a small disk; --max-size is tested in cli/tests/store"
        );
        return;
    };
    let folder = tempfile::tempdir_in(disk.0.path()).unwrap();
    let served = Served::on(folder, &[EXPERIMENT], Limits::default(), Access::local());
    let stored =
        |served: &Served| usize::try_from(served.store.info().unwrap().request_outcomes).unwrap();
    let mut acknowledged = 0;
    let refused = fill(&served, "one", &mut acknowledged);
    assert_eq!((refused.status, refused.kind.as_str()), (503, "application/problem+json"));
    assert!(refused.text.contains("the disk or the store is full"), "{refused:?}");
    assert!(acknowledged > 1000, "{acknowledged}");
    assert_eq!(served.get("/readyz").status, 503);
    assert_eq!(stored(&served), acknowledged, "what is there can be read");

    // With more space, it goes on by itself.
    disk.resize("4m");
    served.put("/v1/outcomes", CSV, "request_id,a\nmore,1\n");
    assert_eq!(served.get("/readyz").status, 200);
    served.expose(&[Request::new("a", "u")]);
    acknowledged += 1;

    // A store that was closed on a full disk has everything when it is opened again.
    fill(&served, "two", &mut acknowledged);
    let folder = served.stop();
    disk.resize("16m");
    let served = Served::on(folder, &[EXPERIMENT], Limits::default(), Access::local());
    assert_eq!(stored(&served), acknowledged);
    assert_eq!(served.store.info().unwrap().trials[0].exposures, 1);
    served.put("/v1/outcomes", CSV, "request_id,a\nlate,1\n");
    drop(served.stop());
}

#[test]
fn a_folder_with_other_files_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "all of it").unwrap();
    let open = || Store::open(folder.path(), catalog(&[EXPERIMENT]), Limits::default());
    let error = open().unwrap_err();
    assert!(error.to_string().contains("is no store"), "{error}");
    assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // One that is empty becomes one.
    std::fs::remove_file(folder.path().join("thesis.txt")).unwrap();
    drop(open().unwrap());
    assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
}
