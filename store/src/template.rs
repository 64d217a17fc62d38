//! The templates of all HTML. Everything is escaped unless this crate made it as HTML, an undefined variable is an error,
//! and block tags leave no blank lines.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use crate::report::escaped;

/// Each template with its name; they include and extend each other.
const TEMPLATES: [(&str, &str); 16] = [
    ("report.css", include_str!("../assets/report.css")),
    ("report.html", include_str!("../templates/report.html")),
    ("cards.html", include_str!("../templates/cards.html")),
    ("plots.html", include_str!("../templates/plots.html")),
    ("quality.html", include_str!("../templates/quality.html")),
    ("checks.html", include_str!("../templates/checks.html")),
    ("metrics.html", include_str!("../templates/metrics.html")),
    ("segments.html", include_str!("../templates/segments.html")),
    ("exploratory.html", include_str!("../templates/exploratory.html")),
    ("methods.html", include_str!("../templates/methods.html")),
    ("page.html", include_str!("../templates/page.html")),
    ("index.html", include_str!("../templates/index.html")),
    ("experiment.html", include_str!("../templates/experiment.html")),
    ("live.html", include_str!("../templates/live.html")),
    ("history.html", include_str!("../templates/history.html")),
    ("problem.html", include_str!("../templates/problem.html")),
];

/// Renders one of the templates.
pub(crate) fn render(name: &str, context: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("moment", |text: &str| Value::from_safe_string(moment(text)));
    environment.add_filter("marked", |text: &str| Value::from_safe_string(marked(text)));
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    environment.get_template(name)?.render(context)
}

/// Converts data for a template.
pub(crate) fn value(data: &impl Serialize) -> Result<Value, Error> {
    let converted = serde_json::to_value(data).and_then(serde_json::from_value);
    converted.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// `2026-11-23T09:00:00Z` as an element that says it in a form for people.
pub(crate) fn moment(text: &str) -> String {
    let parts = text.get(..10).zip(text.get(11..19)).filter(|_| text.is_ascii());
    let text = escaped(text);
    match parts {
        Some((date, clock)) => {
            format!(r#"<time datetime="{text}">{} {} UTC</time>"#, escaped(date), escaped(clock))
        }
        None => text,
    }
}

/// Text with `code` between backticks.
fn marked(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escaped).collect();
    // An odd number of backticks is no markup.
    if parts.len().is_multiple_of(2) {
        return parts.join("`");
    }
    let part = |(at, part): (usize, String)| {
        if at % 2 == 1 { format!("<code>{part}</code>") } else { part }
    };
    parts.into_iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_between_backticks() {
        assert_eq!(marked("use `--allow <x>` now"), "use <code>--allow &lt;x&gt;</code> now");
        assert_eq!(marked("`a` and `b`"), "<code>a</code> and <code>b</code>");
        assert_eq!(marked("it`s <b>"), "it`s &lt;b&gt;");
    }

    #[test]
    fn a_moment_is_for_people_and_machines() {
        assert_eq!(
            moment("2026-11-23T09:00:00.250Z"),
            r#"<time datetime="2026-11-23T09:00:00.250Z">2026-11-23 09:00:00 UTC</time>"#
        );
        assert_eq!(moment("<b>"), "&lt;b&gt;");
    }
}
