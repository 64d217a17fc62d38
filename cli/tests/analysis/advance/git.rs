//! `--apply git`: what is committed, pushed and refused.

use std::path::Path;
use std::process::Command;

use super::{FILE, Test, bad, good};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A test whose file is committed and pushed to a bare repository.
fn committed(test: Test) -> Test {
    let at = test.folder.path();
    git(at, &["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
    git(at, &["init", "--quiet", "-b", "main"]);
    git(at, &["config", "user.name", "robot"]);
    git(at, &["config", "user.email", "robot@example.com"]);
    test.folder.write("other.txt", "one");
    git(at, &["add", "experiment.yaml", "other.txt"]);
    git(at, &["commit", "--quiet", "-m", "start"]);
    git(at, &["remote", "add", "origin", "./remote.git"]);
    git(at, &["push", "--quiet", "-u", "origin", "main"]);
    test
}

#[test]
fn git_commits_the_file_alone_with_the_reason_and_pushes() {
    let test = committed(good());
    let at = test.folder.path();
    // What else is staged stays staged.
    test.folder.write("staged.txt", "two");
    git(at, &["add", "staged.txt"]);
    let (code, answer) = test.json(&["--apply", "git"]);
    assert_eq!(code, 0, "{answer}");
    let head = git(at, &["rev-parse", "HEAD"]);
    assert_eq!(answer["commit"], head.trim());
    let message = git(at, &["log", "-1", "--format=%an%n%B"]);
    assert!(
        message.starts_with("robot\nforecast: raise fancy from 5 % to 15 %\n\n- the step at"),
        "{message}"
    );
    assert_eq!(git(at, &["show", "--name-only", "--format=", "HEAD"]).trim(), "experiment.yaml");
    assert_eq!(git(at, &["diff", "--cached", "--name-only"]).trim(), "staged.txt");
    assert_ne!(git(&at.join("remote.git"), &["rev-parse", "main"]), head, "not pushed unless told");
    git(at, &["reset", "--quiet"]);
    let committed = git(at, &["log", "-1", "--format=%(trailers:key=Decided-by,valueonly)"]);
    assert_eq!(committed.trim(), "sidetrack advance");
    // A hold pushes what is left over.
    let (code, answer) = test.json(&["--apply", "git", "--push"]);
    assert_eq!(code, 4, "{answer}");
    assert_eq!(git(&at.join("remote.git"), &["rev-parse", "main"]), head);
}

#[test]
fn git_pushes_a_rollback_and_takes_over_what_others_pushed() {
    let test = committed(bad());
    let at = test.folder.path();
    git(at, &["clone", "--quiet", "remote.git", "colleague"]);
    let colleague = at.join("colleague");
    std::fs::write(colleague.join("other.txt"), "two").unwrap();
    git(&colleague, &["commit", "--quiet", "-am", "theirs"]);
    git(&colleague, &["push", "--quiet"]);
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert_eq!(code, 3, "{text}{error}");
    let log = git(&at.join("remote.git"), &["log", "--format=%s", "main"]);
    assert_eq!(log, "forecast: roll fancy back from 5 % to 0 %\ntheirs\nstart\n");
    let pushed = git(&at.join("remote.git"), &["show", "main:experiment.yaml"]);
    assert!(pushed.contains("weight: 0 ") && pushed.contains("# sidetrack advance: "), "{pushed}");
}

#[test]
fn git_refuses_a_dirty_or_foreign_file_and_undoes_a_failed_commit() {
    let test = good();
    let (code, _, error) = test.with_logs(&["--apply", "git"]);
    assert!(code == 1 && error.contains("not tracked"), "{error}");
    let test = committed(test);
    let dirty = FILE.replace("# Which", "# Hm, which");
    test.folder.write("experiment.yaml", &dirty);
    let (code, _, error) = test.with_logs(&["--apply", "git"]);
    assert!(code == 1 && error.contains("not committed; nothing was written"), "{error}");
    assert_eq!(test.file(), dirty);
    test.folder.write("experiment.yaml", FILE);
    let hook = test.folder.write(".git/hooks/pre-commit", "#!/bin/sh\necho no >&2\nexit 1\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(hook, mode).unwrap();
    let (code, _, error) = test.with_logs(&["--apply", "git"]);
    assert!(code == 2 && error.contains("the file is as before"), "{error}");
    assert_eq!(test.file(), FILE);
}

#[test]
fn a_push_that_failed_is_made_up_for_by_the_next_run() {
    let test = committed(good());
    let (at, remote) = (test.folder.path(), test.folder.path().join("remote.git"));
    let pushed = || git(&remote, &["log", "--format=%s", "main"]);
    let hook = test.folder.write(".git/hooks/pre-push", "#!/bin/sh\nexit 1\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).unwrap();
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert_eq!(code, 2, "{text}{error}");
    assert!(error.contains("not pushed yet; the next run"), "{error}");
    assert_eq!(pushed(), "start\n");
    std::fs::remove_file(&hook).unwrap();
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert_eq!(code, 4, "{text}{error}");
    assert_eq!(pushed(), "forecast: raise fancy from 5 % to 15 %\nstart\n");
    assert_eq!(git(at, &["status", "--porcelain", "--untracked-files=no"]), "");
}

/// Commits this file in a clone of a colleague, and pushes it.
fn push_theirs(test: &Test, edit: impl FnOnce(&str) -> String) {
    let at = test.folder.path();
    git(at, &["clone", "--quiet", "remote.git", "colleague"]);
    let file = at.join("colleague/experiment.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, edit(&text)).unwrap();
    git(&at.join("colleague"), &["commit", "--quiet", "-am", "theirs"]);
    git(&at.join("colleague"), &["push", "--quiet"]);
}

#[test]
fn a_decision_that_conflicts_with_what_others_pushed_is_made_again() {
    let test = committed(good());
    let at = test.folder.path();
    // Committed, and not pushed.
    assert_eq!(test.with_logs(&["--apply", "git"]).0, 0);
    push_theirs(&test, |text| text.replace("weight: 5  ", "weight: 0  "));
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert_eq!(code, 4, "{text}{error}");
    assert!(text.contains("stopped by hand"), "{text}");
    assert_eq!(git(at, &["log", "--format=%s"]), "theirs\nstart\n");
    assert_eq!(test.file(), super::at_weight("0"));
}

#[test]
fn a_commit_of_a_person_is_never_dropped() {
    let test = committed(good());
    let at = test.folder.path();
    test.folder.write("experiment.yaml", super::at_weight("7"));
    git(at, &["commit", "--quiet", "-am", "mine"]);
    push_theirs(&test, |text| text.replace("weight: 5  ", "weight: 0  "));
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert_eq!(code, 2, "{text}{error}");
    assert!(error.contains("git pull"), "{error}");
    assert_eq!(git(at, &["log", "--format=%s"]), "mine\nstart\n");
    assert_eq!(test.file(), super::at_weight("7"));
    // No rebase is left over.
    assert!(!at.join(".git/rebase-merge").exists());
}

#[test]
fn a_rollback_refuses_a_file_with_unsaved_edits() {
    let test = committed(bad());
    let dirty = FILE.replace("# Which", "# Hm, which");
    test.folder.write("experiment.yaml", &dirty);
    let (code, text, error) = test.with_logs(&["--apply", "git"]);
    assert!(code == 1 && error.contains("not committed; nothing was written"), "{text}{error}");
    assert_eq!(test.file(), dirty);
    // Into the file alone, it goes: nothing of the edit is lost.
    assert_eq!(test.with_logs(&[]).0, 3);
    assert!(test.file().starts_with("# Hm, which") && test.file().contains("weight: 0 "));
}

/// A hook of Git, as a script.
fn hook(test: &Test, name: &str, script: &str) {
    let hook = test.folder.write(&format!(".git/hooks/{name}"), format!("#!/bin/sh\n{script}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(hook, mode).unwrap();
}

#[test]
fn a_rollback_is_kept_while_the_remote_is_away() {
    let test = committed(bad());
    let at = test.folder.path();
    hook(&test, "pre-push", "exit 1");
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert!(code == 2 && error.contains("not pushed yet"), "{text}{error}");
    std::fs::remove_file(at.join(".git/hooks/pre-push")).unwrap();
    std::fs::rename(at.join("remote.git"), at.join("away.git")).unwrap();
    let (code, text, error) = test.with_logs(&["--apply", "git", "--push"]);
    assert!(code == 2 && error.contains("git pull"), "{text}{error}");
    assert!(test.file().contains("weight: 0 "), "{}", test.file());
    std::fs::rename(at.join("away.git"), at.join("remote.git")).unwrap();
    test.with_logs(&["--apply", "git", "--push"]);
    let pushed = git(&at.join("remote.git"), &["show", "main:experiment.yaml"]);
    assert!(pushed.contains("weight: 0 "), "{pushed}");
}

#[test]
fn a_lock_that_git_left_behind_leaves_the_file_as_before_and_is_named() {
    let test = committed(bad());
    let lock = test.folder.write(".git/index.lock", "");
    for _ in 0..2 {
        let (code, text, error) = test.with_logs(&["--apply", "git"]);
        assert!(code == 2 && error.contains("nothing was committed"), "{text}{error}");
        assert!(error.contains("index.lock") && !error.contains("checkout"), "{error}");
        assert_eq!(test.file(), FILE);
        assert!(!test.folder.path().join(".git/sidetrack-change").exists());
    }
    std::fs::remove_file(lock).unwrap();
    assert_eq!(test.with_logs(&["--apply", "git"]).0, 3);
}

/// Evidence whose reading takes so long that a person does something meanwhile.
fn slow_evidence(meanwhile: impl FnOnce() + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (_stream, _) = listener.accept().unwrap();
        meanwhile();
    });
    url
}

#[test]
fn an_edit_of_a_person_during_the_decision_is_not_undone() {
    let stopped = FILE.replace("    salt: s\n", "    salt: s\n    enabled: false\n");
    // Into the file.
    let test = bad();
    let (path, text) = (test.folder.path().join("experiment.yaml"), stopped.clone());
    let url = slow_evidence(move || std::fs::write(path, text).unwrap());
    let (code, text, error) = test.with_logs(&["--prometheus", &url]);
    assert!(code == 2 && error.contains("changed while the decision was made"), "{text}{error}");
    assert_eq!(test.file(), stopped);
    // Into a repository, where the person commits.
    let test = committed(bad());
    let (at, text) = (test.folder.path().to_owned(), stopped.clone());
    let url = slow_evidence(move || {
        std::fs::write(at.join("experiment.yaml"), text).unwrap();
        git(&at, &["commit", "--quiet", "-am", "mine"]);
    });
    let (code, text, error) = test.with_logs(&["--apply", "git", "--prometheus", &url]);
    assert!(code == 2 && error.contains("changed while the decision was made"), "{text}{error}");
    assert_eq!(test.file(), stopped);
    assert_eq!(git(test.folder.path(), &["log", "--format=%s"]), "mine\nstart\n");
    assert!(!test.folder.path().join(".git/sidetrack-change").exists());
}

/// Several at once: a second scheduler, or a person beside it. All decide about the same file, and one change is made.
#[test]
fn of_several_at_once_one_writes_and_the_others_say_that_the_file_changed() {
    const RUNS: usize = 4;
    for more in [&[][..], &["--apply", "git"]] {
        let test = if more.is_empty() { bad() } else { committed(bad()) };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // None has its evidence before all have read the file.
        let all = std::thread::spawn(move || {
            (0..RUNS).map(|_| listener.accept().unwrap()).collect::<Vec<_>>()
        });
        let arguments = [more, &["--prometheus", &url]].concat();
        let ended: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> =
                (0..RUNS).map(|_| scope.spawn(|| test.with_logs(&arguments))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        drop(all.join().unwrap());
        let codes: Vec<i32> = ended.iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 3).count(), 1, "{more:?}: {ended:?}");
        for (_, text, error) in ended.iter().filter(|(code, ..)| *code != 3) {
            assert!(error.contains("changed while the decision was made"), "{text}{error}");
            assert!(error.contains("run the command again"), "{text}{error}");
        }
        let file = test.file();
        assert_eq!(file.matches("was rolled back at").count(), 1, "{file}");
        assert!(file.contains("weight: 0 "), "{file}");
    }
}
