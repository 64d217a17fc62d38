//! Columns whose names do not say that higher is better: costs and failures, attributes of a user, predictions.
//!
//! Of these, none decides unless its direction is given. Otherwise the variant that costs more would win.

use std::fmt;

/// Why it is unclear what a column is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Lower may be better.
    Cost,
    /// It describes a user or the experiment itself, not an outcome.
    Attribute,
    /// It is a prediction or a label, not their agreement.
    Class,
}

/// Words of names where lower is better, or may be: beginnings of words.
const COSTS: [&str; 72] = [
    "abandon",
    "apolog",
    "block",
    "bounce",
    "cancel",
    "chargeback",
    "churn",
    "complain",
    "cost",
    "crash",
    "deadlock",
    "debt",
    "declin",
    "default",
    "defect",
    "delay",
    "delete",
    "deviat",
    "dislike",
    "dispute",
    "distance",
    "downtime",
    "downvote",
    "drift",
    "duration",
    "error",
    "escalat",
    "exit",
    "fail",
    "flagged",
    "fraud",
    "hallucinat",
    "handoff",
    "incident",
    "incorrect",
    "invalid",
    "latenc",
    "lost",
    "misclass",
    "mismatch",
    "missed",
    "mistake",
    "outage",
    "overdue",
    "penalt",
    "perplexit",
    "refund",
    "regress",
    "regret",
    "reject",
    "reopen",
    "residual",
    "retries",
    "retry",
    "return",
    "risk",
    "skip",
    "spam",
    "stockout",
    "throttl",
    "ticket",
    "timeout",
    "toxic",
    "unavailab",
    "unhapp",
    "uninstall",
    "unresolv",
    "unsubscri",
    "violat",
    "wait",
    "waste",
    "wrong",
];

/// Whole words of such names.
const COST_WORDS: [&str; 48] = [
    "ape", "arrears", "brier", "bytes", "cer", "cpu", "down", "err", "errs", "false", "fee",
    "fees", "harm", "harmful", "harms", "hate", "hateful", "late", "lcp", "logloss", "loss",
    "losses", "mae", "mape", "memory", "millis", "ms", "mse", "negative", "position", "price",
    "prices", "rank", "reported", "reports", "rmse", "sad", "sec", "seconds", "secs", "steps",
    "support", "time", "tokens", "ttfb", "ttft", "wape", "wer",
];

/// Such names of two words, which may be written as one.
const COST_PAIRS: [(&str, &str); 5] =
    [("ad", "spend"), ("drop", "off"), ("first", "token"), ("no", "show"), ("opt", "out")];

/// Last words of names that describe a user or the experiment.
const ATTRIBUTES: [&str; 15] = [
    "age",
    "arm",
    "assignment",
    "birth",
    "bucket",
    "fold",
    "group",
    "lat",
    "latitude",
    "lon",
    "longitude",
    "seed",
    "treatment",
    "variant",
    "version",
];
/// The first word of names of values from before the experiment.
const BEFORE: &str = "pre";

/// Names of predictions and labels.
const CLASSES: [&str; 22] = [
    "actual",
    "class",
    "ground_truth",
    "label",
    "logit",
    "pred",
    "predicted",
    "predicted_class",
    "predicted_label",
    "prediction",
    "proba",
    "probability",
    "target",
    "true_class",
    "true_label",
    "truth",
    "y",
    "y_hat",
    "y_pred",
    "y_prob",
    "y_score",
    "y_true",
];

impl Doubt {
    /// The doubt about a column of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let words = words(name);
        let any = |of: &[&str]| words.iter().any(|word| of.contains(&word.as_str()));
        if CLASSES.contains(&name.to_lowercase().as_str()) {
            Some(Self::Class)
        } else if words.last().is_some_and(|word| ATTRIBUTES.contains(&word.as_str()))
            || words.first().is_some_and(|word| word == BEFORE)
        {
            Some(Self::Attribute)
        } else if any(&COST_WORDS)
            || words.iter().any(|word| COSTS.iter().any(|cost| word.starts_with(cost)))
            || COST_PAIRS.iter().any(|pair| has_pair(&words, *pair))
        {
            Some(Self::Cost)
        } else {
            None
        }
    }
}

/// Whether two words follow each other, or are one; the second one may be a plural.
fn has_pair(words: &[String], (first, second): (&str, &str)) -> bool {
    let is = |word: &str, wanted: &str| word.strip_suffix('s').unwrap_or(word) == wanted;
    let joined = first.to_owned() + second;
    words.iter().any(|word| is(word, &joined))
        || words.iter().zip(words.iter().skip(1)).any(|(a, b)| a == first && is(b, second))
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cost => "lower may be better",
            Self::Attribute => "it may describe the user rather than an outcome",
            Self::Class => {
                "it may be a prediction or a label rather than an outcome (for metrics of both, the \
                 plan names them: analysis.model: {label: …, prediction: …, score: …})"
            }
        })
    }
}

/// The words of a name in lower case: `user_age`, `userAge` and `User Age` have the same.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut is_low = false;
    for letter in name.chars() {
        let begins = letter.is_uppercase() && is_low;
        is_low = letter.is_lowercase() || letter.is_ascii_digit();
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for name in ["user_age", "userAge", "User Age", "user-age", "USER_AGE", "_user.age"] {
            assert_eq!(words(name), ["user", "age"], "{name}");
        }
        assert_eq!(words("p95Latency"), ["p95", "latency"]);
        assert!(words("").is_empty() && words("__").is_empty());
    }

    #[test]
    fn names_that_do_not_say_that_higher_is_better_are_in_doubt() {
        for (doubt, names) in [
            (
                Doubt::Cost,
                &[
                    "cost",
                    "cost_usd",
                    "unitCosts",
                    "churned",
                    "errors",
                    "absolute_error",
                    "time_to_first_token",
                    "duration",
                    "response_ms",
                    "refunds",
                    "log_loss",
                    "RMSE",
                    "tokens_used",
                    "cancelled",
                    "retries",
                    "incorrect",
                    "misclassified",
                    "mistakes",
                    "false_positives",
                    "invalid",
                    "unresolved",
                    "residual",
                    "abs_err",
                    "ape",
                    "deviation",
                    "downtime",
                    "outage",
                    "uninstall",
                    "opt_out",
                    "optouts",
                    "thumbs_down",
                    "no_show",
                    "noshow",
                    "drop_off",
                    "exit_rate",
                    "tickets",
                    "support_calls",
                    "reopened",
                    "deletes",
                    "reports",
                    "flagged",
                    "missed",
                    "late",
                    "declined",
                    "blocked",
                    "handoff",
                    "lcp",
                    "steps",
                    "rank",
                    "fee",
                    "price",
                    "overdue",
                    "arrears",
                    "stockouts",
                    "harm",
                    "hate",
                    "drift",
                    "ad_spend",
                    "first_token",
                    "position",
                ][..],
            ),
            (Doubt::Attribute, &["age", "user_age", "userAge", "pre_revenue", "variant", "Group"]),
            (Doubt::Class, &["label", "prediction", "y_true", "target"]),
        ] {
            for name in names {
                assert_eq!(Doubt::of(name), Some(doubt), "{name}");
            }
        }
        for name in [
            "revenue",
            "score",
            "converted",
            "clicks",
            "rating",
            "nps",
            "items",
            "basket",
            "page_views",
            "sessions",
            "average_order",
            "engagement",
            "accuracy",
            "margin",
            "timely",
            "group_bookings",
            "retrieval_score",
            "spend",
            "profit",
            "feedback",
            "priced_in",
            "opt_in",
            "dropped_in",
            "show",
            "correct",
            "valid",
            "resolved",
            "latest_score",
            "harmony",
        ] {
            assert_eq!(Doubt::of(name), None, "{name}");
        }
    }
}
