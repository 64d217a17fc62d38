//! The choices of an experiment file that are one word each.

/// An enum whose values are words of the experiment file.
macro_rules! choice {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $word_doc:literal])* $value:ident = $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $word_doc])* $value,)* }

        impl $name {
            /// All choices, as the documentation lists them.
            pub const ALL: &[Self] = &[$(Self::$value),*];

            /// The word as the file writes it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)* }
            }
        }
    };
}

choice! {
    /// What happens to a request that no unit source identifies.
    MissingUnit {
        /// It gets the baseline.
        Baseline = "baseline",
        /// It draws at random.
        Random = "random",
        /// It stays out of the experiment.
        Skip = "skip",
    }
}

choice! {
    /// What is drawn with.
    Assignment {
        /// The unit's hash: the same unit, the same variant.
        UserHash = "user_hash",
        /// Fresh randomness for each request.
        RequestRandom = "request_random",
    }
}

choice! {
    /// What the breaker does when a candidate fails.
    BreakerMode {
        /// It gives the candidate's units the baseline.
        Enforce = "enforce",
        /// It counts that it would have tripped, and changes nothing.
        DryRun = "dry_run",
        /// Nothing.
        Disabled = "disabled",
    }
}

choice! {
    /// How the access log names the unit.
    ExposureUnit {
        /// Not at all.
        None = "none",
        /// By a digest with the experiment's salt: the same for all its requests, and no identity.
        Digest = "digest",
        /// As it is.
        Plain = "plain",
    }
}

choice! {
    /// How p-values of metrics that decide are adjusted for each other.
    Correction {
        /// The probability of any false finding is at most the level.
        Holm = "holm",
        /// The expected share of false findings is at most the level.
        BenjaminiHochberg = "benjamini_hochberg",
        /// Each is taken by itself.
        None = "none",
    }
}

choice! {
    /// How often the data may be looked at.
    SequentialMethod {
        /// As often as you like.
        AlwaysValid = "always_valid",
        /// At equal parts of the planned units.
        ObrienFleming = "obrien_fleming",
    }
}
