//! Templates for the texts that the command writes.
//!
//! All templates have the same rules. An undefined variable is an error, block tags leave no blank lines,
//! and two filters put values into YAML: `quote` (double quotes, as in JSON) and `yaml` (a scalar or a
//! tree).

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use crate::yaml;

/// An environment without templates.
///
/// # Errors
///
/// Delimiters that the engine rejects; these are the default ones.
pub(crate) fn environment() -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("quote", quote);
    environment.add_filter("yaml", |value: &Value| {
        let text = yaml::write(value)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()));
        text.map(|text| text.trim_end().to_owned())
    });
    Ok(environment)
}

/// Renders one of these plain-text templates. Templates may include each other by name.
///
/// # Errors
///
/// A template that does not parse, or that uses an undefined variable.
pub(crate) fn render(
    templates: &[(&'static str, &'static str)],
    name: &str,
    context: &impl Serialize,
) -> anyhow::Result<String> {
    let mut environment = environment()?;
    for (name, text) in templates {
        environment.add_template(name, text)?;
    }
    Ok(environment.get_template(name)?.render(value(context)?)?)
}

/// Converts data for a template.
pub(crate) fn value(data: &impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::from_value(serde_json::to_value(data)?)?)
}

/// Text in double quotes, valid in JSON, YAML and PromQL.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(text: &'static str) -> Result<String, Error> {
        let mut environment = environment().unwrap();
        environment.add_template("it", text).unwrap();
        environment
            .get_template("it")
            .unwrap()
            .render(value(&json!({"a": "<\"on\">", "on": "on"})).unwrap())
    }

    #[test]
    fn an_undefined_value_is_an_error_and_not_an_empty_text() {
        assert!(rendered("{{ b }}").is_err());
        assert!(rendered("{% if b %}{% endif %}").is_err());
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(rendered("{{ a|quote }}").unwrap(), r#""<\"on\">""#);
        assert_eq!(rendered("{{ on|yaml }}").unwrap(), "\"on\"");
        assert_eq!(rendered("{{ a }}").unwrap(), "<\"on\">");
    }
}
