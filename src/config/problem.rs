//! What is wrong with an experiment file, said so that a stranger can mend it.

use core::fmt;

use super::node::quoted;

/// One mistake: where, which kind, what was found and is allowed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as `experiments[0].variants[1].weight`; empty for the file as a whole.
    pub path: String,
    /// Which kind, stable: a heading of `docs/problems.md`.
    pub code: Code,
    /// What was found and what is allowed.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        write!(f, "{path}: {} [{}]", self.message, self.code)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

/// Everything wrong with a file; never empty inside an `Err`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(crate) fn push(
        &mut self,
        path: &Path<'_>,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Problem {
            path: path.to_string(),
            code,
            message: message.into(),
            hint: hint.into(),
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

/// A place in the file, as a chain of steps on the stack: text is made only for a problem.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => {
                if !matches!(parent, Self::Root) {
                    write!(f, "{parent}.")?;
                }
                // A key that the user made up may hold spaces or line breaks, or go on for ever.
                let plain = |c: char| {
                    !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '[' | ']')
                };
                let bare = !key.is_empty() && key.len() <= 63 && key.chars().all(plain);
                if bare { f.write_str(key) } else { f.write_str(&quoted(key)) }
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// The kinds of problems. The text of a code never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[doc = $doc])* $variant,)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it is printed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// The text is neither JSON nor YAML.
    Syntax = "syntax",
    /// A key that the schema does not have.
    UnknownKey = "unknown-key",
    /// The same key twice in one group.
    DuplicateKey = "duplicate-key",
    /// A key that must be there is not.
    MissingKey = "missing-key",
    /// Text where a number belongs, and the like.
    WrongType = "wrong-type",
    /// None of the words or keys that are possible here.
    NotOneOf = "not-one-of",
    /// Two keys that exclude each other.
    Conflict = "conflict",
    /// A list that must have an entry has none.
    Empty = "empty",
    /// A name with other characters than letters, digits, '.', '_', '-', or too long.
    BadName = "bad-name",
    /// Two experiments or two variants of one name.
    DuplicateName = "duplicate-name",
    /// A number outside its range.
    OutOfRange = "out-of-range",
    /// A percentage with more than four decimals.
    TooPrecise = "too-precise",
    /// A time span that cannot be read.
    BadDuration = "bad-duration",
    /// A size that cannot be read.
    BadSize = "bad-size",
    /// A moment that is not RFC 3339.
    BadTime = "bad-time",
    /// Not a host name or `*.` and a host name.
    BadHost = "bad-host",
    /// Not a path, or not a JSON Pointer.
    BadPath = "bad-path",
    /// Not an HTTP method.
    BadMethod = "bad-method",
    /// A header name or value that HTTP does not allow.
    BadHeader = "bad-header",
    /// A header that the filter or HTTP itself owns.
    OwnedHeader = "owned-header",
    /// Not 64 hexadecimal digits.
    BadDigest = "bad-digest",
    /// A variant is named that the experiment does not have.
    UnknownVariant = "unknown-variant",
    /// An experiment of the baseline alone.
    NoCandidate = "no-candidate",
    /// Weight, reserve or rollout on the baseline.
    BaselineWeight = "baseline-weight",
    /// A candidate without a weight, and no rollout.
    NoWeight = "no-weight",
    /// Both weights and a rollout.
    WeightAndRollout = "weight-and-rollout",
    /// The candidates' spans exceed 100 percent.
    Over100 = "over-100",
    /// A weight above the reserve.
    ReserveTooSmall = "reserve-too-small",
    /// Some variants name a cluster, others none.
    ClusterForSome = "cluster-for-some",
    /// The same unit source twice.
    DuplicateUnit = "duplicate-unit",
    /// A phase that ends before the last, or a last one that ends.
    BadPhases = "bad-phases",
    /// Two experiments claim the same slots of a layer.
    LayerOverlap = "layer-overlap",
    /// `open_for` above `max_open_for`.
    OpenForTooLong = "open-for-too-long",
    /// A rewrite that changes no path.
    UselessRewrite = "useless-rewrite",
    /// A metric of the analysis plan that cannot be read.
    BadMetric = "bad-metric",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
