//! Pieces of CEL expressions.

use std::fmt;

/// Text as a CEL literal.
pub(super) fn text(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

/// A list of texts as a CEL literal.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let literals: Vec<String> = texts.into_iter().map(text).collect();
    format!("[{}]", literals.join(", "))
}

/// Any value, as a person reads it: text in quotes.
pub(super) fn shown(value: &str) -> String {
    format!("(type({value}) == string ? strings.quote({value}) : '%s'.format([{value}]))")
}

/// A time span in milliseconds, of a text that has the pattern of one.
pub(super) fn millis(span: &str) -> String {
    // "ms" would match both "m" and "s".
    let plain = format!("{span}.replace('ms', 'u')");
    let unit = |letter: char, size: u64| {
        format!(
            "{plain}.findAll('[0-9]+{letter}').map(n, int(n.replace('{letter}', '')) * {size}).sum()"
        )
    };
    let units = [('u', 1), ('s', 1000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    format!("({})", units.map(|(letter, size)| unit(letter, size)).join(" + "))
}

/// A size in bytes, of a text that has the pattern of one.
pub(super) fn bytes(size: &str) -> String {
    let plain = format!("{size}.replace('KiB', 'K').replace('MiB', 'M')");
    let unit = |letter: char, size: u64| {
        format!(
            "{plain}.findAll('[0-9]+{letter}').map(n, int(n.replace('{letter}', '')) * {size}).sum()"
        )
    };
    format!("({})", [('B', 1), ('K', 1 << 10), ('M', 1 << 20)].map(|(l, s)| unit(l, s)).join(" + "))
}

/// A place in the experiment file, some of whose steps are known only to the expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Text(String),
    /// An expression for a text.
    Computed(String),
}

impl Place {
    /// The value behind a known key.
    pub(super) fn key(&self, key: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        self.with(Step::Text(format!("{dot}{key}")))
    }

    /// The entry of a list; `index` is an expression for its number.
    pub(super) fn item(&self, index: &str) -> Self {
        self.with(Step::Text("[".to_owned()))
            .with(Step::Computed(format!("string({index})")))
            .with(Step::Text("]".to_owned()))
    }

    /// The value behind a key that an expression computes.
    pub(super) fn computed(&self, key: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        let plain = format!(
            "({key}.matches('^[^\\\\s\"\\\\[\\\\]]{{1,63}}$') ? {key} : strings.quote({key}))"
        );
        self.with(Step::Text(dot.to_owned())).with(Step::Computed(plain))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        match (steps.last_mut(), step) {
            (Some(Step::Text(text)), Step::Text(more)) => text.push_str(&more),
            (_, step) => steps.push(step),
        }
        Self(steps)
    }

    /// An expression for a problem here: the place and what follows it, as one line.
    pub(super) fn problem(&self, says: &[Says<'_>]) -> String {
        let mut line = self.clone();
        for says in says {
            line = line.with(match says {
                Says::Text(text) => Step::Text((*text).to_owned()),
                Says::Computed(expression) => Step::Computed((*expression).to_owned()),
            });
        }
        line.with(Step::Text("\n".to_owned())).to_string()
    }
}

/// What a problem says about its place.
pub(super) enum Says<'a> {
    Text(&'a str),
    /// An expression for a text.
    Computed(&'a str),
}

/// The expression for the text.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            let plus = if i > 0 { " + " } else { "" };
            match step {
                Step::Text(literal) => write!(f, "{plus}{}", text(literal))?,
                Step::Computed(expression) => write!(f, "{plus}{expression}")?,
            }
        }
        Ok(())
    }
}
