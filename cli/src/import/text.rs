//! The text of a generated experiment file.

use sidetrack::config;

use crate::fault::Fault;

/// Checks the file like `sidetrack check`. The values of options are checked only here.
pub(super) fn checked(text: &str) -> anyhow::Result<()> {
    let node = crate::yaml::parse(text).map_err(anyhow::Error::msg)?;
    let problems = config::parse(&node).err();
    problems.map_or(Ok(()), |problems| {
        Err(Fault(format!("the generated file would be invalid: {problems}")).into())
    })
}

/// As a YAML scalar, in quotes unless all parsers read it as text.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let lower = text.to_ascii_lowercase();
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && lower != "n"
        && !WORDS.contains(&lower.as_str());
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A source of the unit, as `--unit` names it: `KIND:NAME`.
pub(super) fn unit(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((kind @ ("header" | "cookie" | "query" | "body"), name)) if !name.is_empty() => {
            Ok((kind.to_owned(), name.to_owned()))
        }
        _ => Err("expected header:NAME, cookie:NAME, query:NAME or body:/POINTER".to_owned()),
    }
}
