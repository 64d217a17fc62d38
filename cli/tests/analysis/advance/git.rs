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
