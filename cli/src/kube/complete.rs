//! Completions for kubectl, which runs `kubectl_complete-sidetrack` with the words after `kubectl sidetrack`.
//!
//! The answer is a word per line and, on the last line, a directive of kubectl's completion library: 0 adds file names,
//! 4 does not.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};

use crate::out::Out;

const WITH_FILES: &str = ":0";
const WITHOUT_FILES: &str = ":4";

/// Answers for the words of the process.
pub(crate) fn complete(out: &mut Out) -> anyhow::Result<ExitCode> {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut root = super::command();
    root.build();
    let (candidates, directive) = candidates(&root, &words);
    for (word, help) in candidates {
        let tab = if help.is_empty() { "" } else { "\t" };
        writeln!(out, "{word}{tab}{help}")?;
    }
    writeln!(out, "{directive}")?;
    Ok(ExitCode::SUCCESS)
}

/// The candidates for the last word, each with its help, and the directive.
fn candidates(root: &Command, words: &[String]) -> (Vec<(String, String)>, &'static str) {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", [].as_slice()),
    };
    let mut command = root;
    let mut open: Option<&Arg> = None;
    for word in before {
        if open.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            open = option(command, word).filter(|arg| takes_value(arg) && !word.contains('='));
        } else if let Some(sub) = command.find_subcommand(word) {
            command = sub;
        }
    }
    let first_line = |help: Option<&clap::builder::StyledStr>| {
        help.map(|help| help.to_string().lines().next().unwrap_or_default().to_owned())
            .unwrap_or_default()
    };
    if let Some(arg) = open {
        let values = arg.get_possible_values();
        let values: Vec<_> = values
            .iter()
            .map(|value| (value.get_name().to_owned(), first_line(value.get_help())))
            .filter(|(value, _)| value.starts_with(last))
            .collect();
        return (values, if is_file(arg) { WITH_FILES } else { WITHOUT_FILES });
    }
    if last.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| {
            let flag = format!("--{}", arg.get_long()?);
            flag.starts_with(last).then(|| (flag, first_line(arg.get_help())))
        });
        return (flags.collect(), WITHOUT_FILES);
    }
    let subs: Vec<_> = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help" && sub.get_name().starts_with(last))
        .map(|sub| (sub.get_name().to_owned(), first_line(sub.get_about())))
        .collect();
    let takes_file = command.get_positionals().any(is_file);
    (subs, if takes_file { WITH_FILES } else { WITHOUT_FILES })
}

/// The option that a word names.
fn option<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or(word);
    command.get_arguments().find(|arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg
            .get_short()
            .is_some_and(|short| name.strip_prefix('-') == Some(short.to_string().as_str())),
    })
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn is_file(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(words: &[&str]) -> (Vec<String>, &'static str) {
        let mut root = crate::kube::command();
        root.build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (found, directive) = candidates(&root, &words);
        (found.into_iter().map(|(word, _)| word).collect(), directive)
    }

    #[test]
    fn subcommands_options_and_files_are_completed() {
        assert_eq!(completed(&[""]).0, ["status", "check", "explain", "plan"]);
        assert_eq!(completed(&["-n", "x", "pl"]).0, ["plan"]);
        assert_eq!(completed(&["explain", "--bre"]).0, ["--breaker"]);
        assert!(completed(&["explain", "--"]).0.contains(&"--context".to_owned()));
        assert_eq!(completed(&["plan", ""]), (vec![], WITH_FILES));
        assert_eq!(completed(&["explain", "--body", ""]), (vec![], WITH_FILES));
        assert_eq!(completed(&["status", ""]), (vec![], WITHOUT_FILES));
        assert_eq!(completed(&["explain", "--namespace", ""]), (vec![], WITHOUT_FILES));
    }
}
