//! Completion scripts and manual pages.

use super::*;

#[test]
fn each_shell_gets_a_script_that_completes_subcommands_and_options() {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef sidetrack"), ("fish", "complete -c sidetrack")]
    {
        let output = run(&["completions", shell], b"");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        for word in [sign, "analyze", "fail-on-swap"] {
            assert!(stdout(&output).contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(code(&run(&["completions", "tcsh"], b"")), 2);
}

#[test]
fn a_subcommand_has_a_manual_page_of_its_own() {
    let page = run(&["man", "render", "envoy"], b"");
    assert!(stdout(&page).contains(".TH sidetrack-render-envoy 1"), "{}", stdout(&page));
    assert!(stdout(&page).contains("failover\\-buffer"), "{}", stdout(&page));
    let unknown = run(&["man", "render", "nginx"], b"");
    assert_eq!((code(&unknown), stdout(&unknown)), (1, ""));
    assert!(stderr(&unknown).contains("unknown subcommand \"nginx\"; expected one of: envoy"));
}

#[test]
fn all_manual_pages_are_written_to_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["man", "--out", folder.path().to_str().unwrap()], b"");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for page in ["sidetrack.1", "sidetrack-check.1", "sidetrack-analyze-run.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidetrack"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
}
