//! The weights in force, as the log carries them: `fancy=300000/500000,other=0/0`, each candidate with its weight and
//! the width of its span in parts per million, in the order of names.
//!
//! They say which variant owns a bucket and which share of the units each variant gets, without the experiment file.
//! The file contributes the names: variants that it does not have are left out of the shares.

use sidetrack::plan::Experiment;

/// All buckets, and all parts of a share.
const ALL: u32 = 1_000_000;

/// Weights with the layout that they were in force with.
#[derive(Debug)]
pub(crate) struct Weights {
    text: String,
    /// In the order of buckets.
    spans: Vec<Span>,
    /// By index of the file's variants.
    shares: Vec<f64>,
}

/// The buckets of a candidate.
#[derive(Debug)]
struct Span {
    name: String,
    /// The index of the variant in the file; `None` if the file does not have it.
    arm: Option<usize>,
    start: u32,
    /// How many buckets of the span the candidate holds.
    weight: u32,
}

impl Weights {
    /// Reads the text. `None` if it is not such a text.
    pub(crate) fn parse(text: &str, experiment: &Experiment) -> Option<Self> {
        let mut spans = Vec::new();
        let mut start = 0u32;
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (name, numbers) = part.split_once('=')?;
            let (weight, width) = numbers.split_once('/')?;
            let (weight, width): (u32, u32) = (weight.parse().ok()?, width.parse().ok()?);
            let end = start.checked_add(width).filter(|end| *end <= ALL && weight <= width)?;
            let arm = experiment.variant(name.as_bytes()).map(|id| id.index());
            spans.push(Span { name: name.to_owned(), arm, start, weight });
            start = end;
        }
        let shares = shares(&spans, experiment);
        Some(Self { text: text.to_owned(), spans, shares })
    }

    /// The text that was read: weights with the same text are the same.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The share of each variant of the file, by its index. They sum to one.
    pub(crate) fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Whether the variant of this index owns the bucket: as a candidate that holds it, or as the baseline, to which
    /// every other bucket belongs.
    pub(crate) fn owns(&self, arm: usize, bucket: u32) -> bool {
        let holds = |span: &&Span| bucket >= span.start && bucket - span.start < span.weight;
        match self.spans.iter().find(holds) {
            Some(span) => span.arm == Some(arm),
            None => !self.spans.iter().any(|span| span.arm == Some(arm)),
        }
    }

    /// `fancy 30 %, other 5 %`: the candidates' weights for people.
    pub(crate) fn label(&self) -> String {
        let percent = |weight: u32| f64::from(weight) / 10_000.0;
        let one = |span: &Span| format!("{} {} %", span.name, percent(span.weight));
        self.spans.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The shares of the file's variants. The baseline's buckets are those of no candidate. What belongs to variants that the
/// file does not have is left out, and the others have all.
fn shares(spans: &[Span], experiment: &Experiment) -> Vec<f64> {
    let mut parts = vec![0u32; experiment.variants.len()];
    for span in spans {
        if let Some(part) = span.arm.and_then(|arm| parts.get_mut(arm)) {
            *part = span.weight;
        }
    }
    let listed = |arm: usize| spans.iter().any(|span| span.arm == Some(arm));
    let baseline = experiment.baseline.index();
    let rest =
        if listed(baseline) { (0..parts.len()).find(|arm| !listed(*arm)) } else { Some(baseline) };
    let taken: u32 = spans.iter().map(|span| span.weight).sum();
    if let Some(part) = rest.and_then(|arm| parts.get_mut(arm)) {
        *part = ALL.saturating_sub(taken);
    }
    let all: u32 = parts.iter().sum();
    parts.iter().map(|part| f64::from(*part) / f64::from(all.max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment() -> Experiment {
        let file = br#"{"experiments": [{"name": "e", "unit": [{"header": "u"}], "baseline": "b",
            "variants": [{"name": "b"}, {"name": "c", "weight": 20, "reserve": 50}, {"name": "d", "weight": 10}]}]}"#;
        sidetrack::config::parse_json(file).unwrap().experiments.into_iter().next().unwrap()
    }

    fn weights(text: &str) -> Weights {
        Weights::parse(text, &experiment()).unwrap()
    }

    #[test]
    fn a_bucket_has_one_owner() {
        let weights = weights("c=200000/500000,d=100000/100000");
        let owner = |bucket| (0..3).filter(|arm| weights.owns(*arm, bucket)).collect::<Vec<_>>();
        let owners = [0, 199_999, 200_000, 499_999, 500_000, 599_999, 600_000, 999_999].map(owner);
        assert_eq!(owners, [[1], [1], [0], [0], [2], [2], [0], [0]]);
    }

    #[test]
    fn shares_sum_to_one_with_the_baselines() {
        assert_eq!(weights("c=200000/500000,d=100000/100000").shares(), [0.7, 0.2, 0.1]);
        assert_eq!(weights("c=0/0,d=0/0").shares(), [1.0, 0.0, 0.0]);
        assert_eq!(weights("c=1000000/1000000").shares(), [0.0, 1.0, 0.0]);
        assert_eq!(weights("").shares(), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_files_baseline_may_have_been_a_candidate() {
        // Before a promotion: b was a candidate, and the baseline is the variant without a weight.
        let weights = weights("b=300000/300000,c=100000/100000");
        assert_eq!(weights.shares(), [0.3, 0.1, 0.6]);
        assert!(weights.owns(0, 299_999) && weights.owns(1, 300_000) && weights.owns(2, 400_000));
    }

    #[test]
    fn variants_that_the_file_does_not_have_are_left_out() {
        let weights = weights("a=200000/200000,c=200000/200000,d=0/0");
        assert_eq!(weights.shares(), [0.75, 0.25, 0.0]);
        assert!((0..3).all(|arm| !weights.owns(arm, 0)), "no variant of the file owns a's buckets");
        assert!(weights.owns(1, 200_000) && weights.owns(0, 400_000));
    }

    #[test]
    fn weights_are_as_the_core_writes_them() {
        let experiment = experiment();
        let sidetrack::rollout::Schedule::Fixed(fixed) = &experiment.schedule else { panic!() };
        let text = sidetrack::exposure::weights(&experiment, &|variant| fixed[variant]);
        let weights = weights(&text);
        assert_eq!((weights.text(), weights.shares()), (&*text, &[0.7, 0.2, 0.1][..]));
        assert_eq!(weights.label(), "c 20 %, d 10 %");
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "c",
            "c=1",
            "c=1/",
            "c=/1",
            "c=x/1",
            "c=2/1",
            "c=-1/1",
            "c=1/1,",
            ",",
            "c=0/600000,d=0/600000",
            "c=1/4294967296",
        ] {
            assert!(Weights::parse(text, &experiment()).is_none(), "{text}");
        }
    }
}
