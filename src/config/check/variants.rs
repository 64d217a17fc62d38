//! The variants of an experiment: who is the baseline, what the candidates weigh, which buckets are whose.

use super::Checker;
use crate::config::analysis::largest_step;
use crate::config::problem::{Code, Path};
use crate::config::raw;
use crate::config::value::Name;
use crate::layout::Layout;
use crate::plan::{PerVariant, Variant, VariantId};
use crate::quantity::Ppm;
use crate::rollout::{Phase, Rollout, Schedule};

/// Response headers that Envoy sets after the filter, and when.
const REPLACED: [(&str, &str); 2] = [
    (
        "server",
        "Envoy replaces this header after the filter, unless its connection manager has \
         server_header_transformation: PASS_THROUGH",
    ),
    (
        "x-request-id",
        "Envoy replaces this header after the filter where it returns request ids, as with `render envoy`",
    ),
];

/// The variants and how they share the buckets.
pub(super) struct Cast {
    pub(super) baseline: VariantId,
    pub(super) variants: PerVariant<Variant>,
    pub(super) layout: Layout,
    pub(super) schedule: Schedule,
}

impl Checker<'_> {
    pub(super) fn cast(&mut self, raw: &raw::Experiment, at: &Path<'_>) -> Cast {
        let list_at = at.key("variants");
        let listed: Vec<&(usize, raw::Variant)> =
            raw.variants.get().iter().flat_map(|list| &list.0).collect();
        let variants = self.variants(&listed, &list_at);
        let written = raw.variants.get().map(crate::config::decode::List::written);
        let baseline = match raw.baseline.get() {
            // A variant that could not be read may be the one that is meant.
            Some(name) if written.unwrap_or_default() == variants.len() => {
                self.named_variant(name, &variants, &at.key("baseline"))
            }
            _ => None,
        };
        if written == Some(0) || (written == Some(1) && baseline.is_some()) {
            let found = if variants.is_empty() { "none" } else { "the baseline alone" };
            let message =
                format!("found {found}; allowed: the baseline and at least one candidate");
            self.problems.push(
                &list_at,
                Code::NoCandidate,
                message,
                "add the variant that is to be tried",
            );
        }
        let schedule = match raw.rollout.get() {
            Some(rollout) => self.rollout(rollout, &variants, baseline, &at.key("rollout")),
            None => {
                let weight = |(_, raw): &&(usize, raw::Variant)| {
                    raw.weight.get().map_or(Ppm::ZERO, |weight| weight.0)
                };
                Schedule::Fixed(PerVariant::new(listed.iter().map(weight).collect()))
            }
        };
        // Without a known baseline, it is unknown which variant needs no weight.
        let layout = match baseline {
            Some(baseline) => self.layout(raw, &listed, baseline, &schedule, &list_at),
            None => Layout::default(),
        };
        Cast { baseline: baseline.unwrap_or(VariantId::new(0)), variants, layout, schedule }
    }

    fn variants(
        &mut self,
        listed: &[&(usize, raw::Variant)],
        list_at: &Path<'_>,
    ) -> PerVariant<Variant> {
        let with_cluster = listed.iter().filter(|(_, raw)| !raw.cluster.is_absent()).count();
        let mut variants: Vec<Variant> = Vec::new();
        for (i, raw) in listed {
            let at = list_at.item(*i);
            let name = raw.name.get().map_or_else(String::new, |name| name.0.clone());
            if !name.is_empty() && variants.iter().any(|other| other.name == name) {
                let message = format!("found \"{name}\" a second time; allowed: once");
                self.problems.push(
                    &at.key("name"),
                    Code::DuplicateName,
                    message,
                    "each variant needs its own name",
                );
            }
            if raw.cluster.is_absent() && with_cluster > 0 {
                let message = "found no cluster, though other variants name one; allowed: for all or for none";
                let hint = "with clusters the filter routes; without, it tags and your routes match x-ab-variant";
                self.problems.push(&at.key("cluster"), Code::ClusterForSome, message, hint);
            }
            variants.push(Variant {
                name,
                cluster: raw.cluster.get().map(|cluster| cluster.0.clone()),
                rewrite: super::rewrite::rewrite(raw),
                body: self.edits(raw, &at.key("body")),
                request_headers: self
                    .added_headers(&raw.request_headers, &at.key("request_headers")),
                response_headers: self.response_headers(raw, &at.key("response_headers")),
            });
        }
        PerVariant::new(variants)
    }

    fn response_headers(&mut self, raw: &raw::Variant, at: &Path<'_>) -> Vec<(String, String)> {
        let headers = self.added_headers(&raw.response_headers, at);
        for (name, notice) in REPLACED {
            if headers.iter().any(|(given, _)| given == name) {
                self.notice(&at.key(name), notice);
            }
        }
        headers
    }

    /// Spans in the order of names: as wide as the reserve, else the largest weight.
    fn layout(
        &mut self,
        raw: &raw::Experiment,
        listed: &[&(usize, raw::Variant)],
        baseline: VariantId,
        schedule: &Schedule,
        list_at: &Path<'_>,
    ) -> Layout {
        let mut widths: Vec<(&str, VariantId, Ppm)> = Vec::new();
        for (index, (i, variant)) in listed.iter().enumerate() {
            let id = VariantId::new(index);
            let at = list_at.item(*i);
            if id == baseline {
                self.baseline_weight(variant, &at);
                continue;
            }
            if !raw.rollout.is_absent() && !variant.weight.is_absent() {
                let message = "found a weight beside a rollout; allowed: one of the two";
                let hint = "the rollout's phases say the weights; remove this one";
                self.problems.push(&at.key("weight"), Code::WeightAndRollout, message, hint);
            }
            if raw.rollout.is_absent() && variant.weight.is_absent() {
                let message = "found no weight; allowed: a percentage from 0 to 100";
                self.problems.push(
                    &at.key("weight"),
                    Code::NoWeight,
                    message,
                    "write 0 to give it no users for now",
                );
            }
            let largest = largest_weight(schedule, id);
            // Steps of a plan reserve room too, as long as that moves no other candidate.
            let single = listed.len() == 2 && raw.rollout.is_absent();
            let step = raw.analysis.get().filter(|_| single);
            let step = step.map_or(Ppm::ZERO, |analysis| largest_step(&analysis.0.0));
            let width =
                variant.reserve.get().map_or_else(|| largest.max(step), |reserve| reserve.0);
            if width < largest {
                let message = format!(
                    "found {width}, below the largest weight, which is {largest}; allowed: that or more"
                );
                let hint = "the reserve is room to grow; raise it before the weight";
                self.problems.push(&at.key("reserve"), Code::ReserveTooSmall, message, hint);
            }
            widths.push((variant.name.get().map_or("", |name| name.0.as_str()), id, width));
        }
        widths.sort_by_key(|(name, ..)| *name);
        let sum: u64 = widths.iter().map(|(_, _, width)| u64::from(width.get())).sum();
        if sum > u64::from(Ppm::ALL.get()) {
            let parts: Vec<String> =
                widths.iter().map(|(name, _, width)| format!("{name} {width}")).collect();
            let decimals = format!("{}.{:04}", sum / 10_000, sum % 10_000);
            let message = format!(
                "found spans of {} percent together ({}); allowed: up to 100",
                decimals.trim_end_matches('0').trim_end_matches('.'),
                parts.join(", ")
            );
            let hint = "a candidate's span is its reserve, else its largest weight; the baseline takes the rest";
            self.problems.push(list_at, Code::Over100, message, hint);
        }
        Layout::new(widths.into_iter().map(|(_, id, width)| (id, width)))
    }

    fn baseline_weight(&mut self, raw: &raw::Variant, at: &Path<'_>) {
        for (key, absent) in
            [("weight", raw.weight.is_absent()), ("reserve", raw.reserve.is_absent())]
        {
            if !absent {
                let message = format!("found a {key} on the baseline; allowed: only on candidates");
                let hint = "remove it: the baseline takes what the candidates leave";
                self.problems.push(&at.key(key), Code::BaselineWeight, message, hint);
            }
        }
    }

    fn rollout(
        &mut self,
        raw: &raw::Rollout,
        variants: &PerVariant<Variant>,
        baseline: Option<VariantId>,
        at: &Path<'_>,
    ) -> Schedule {
        let list_at = at.key("phases");
        let listed: Vec<&(usize, raw::Phase)> =
            raw.phases.get().iter().flat_map(|list| &list.0).collect();
        if raw.phases.get().is_some_and(|list| list.written() == 0) {
            self.problems.push(
                &list_at,
                Code::Empty,
                "found no phases; allowed: at least one",
                "add one, or remove the rollout",
            );
        }
        let mut phases: Vec<Phase> = Vec::new();
        for (position, (i, phase)) in listed.iter().enumerate() {
            let at = list_at.item(*i);
            let name = phase.name.get().map_or_else(String::new, |name| name.0.clone());
            if !name.is_empty() && phases.iter().any(|other| other.name == name) {
                let message = format!("found \"{name}\" a second time; allowed: once");
                self.problems.push(
                    &at.key("name"),
                    Code::DuplicateName,
                    message,
                    "metrics distinguish phases by their names",
                );
            }
            if phase.length.is_absent() && position + 1 < listed.len() {
                let message = "found nothing; every phase but the last must say how long it lasts";
                self.problems.push(
                    &at.key("for"),
                    Code::BadPhases,
                    message,
                    "for example \"for: 1h\"",
                );
            }
            let mut weights = variants.map(|_, _| Ppm::ZERO);
            let weights_at = at.key("weights");
            for (name, percent) in phase.weights.get().iter().flat_map(|pairs| &pairs.0) {
                let at = weights_at.key(name);
                let Some(id) = self.named_variant(&Name(name.clone()), variants, &at) else {
                    continue;
                };
                if Some(id) == baseline {
                    let message = "found a weight for the baseline; allowed: only for candidates";
                    let hint = "remove it: the baseline takes what the candidates leave";
                    self.problems.push(&at, Code::BaselineWeight, message, hint);
                }
                weights[id] = percent.0;
            }
            phases.push(Phase { name, length: phase.length.get().map(|length| length.0), weights });
        }
        Schedule::Rollout(Rollout {
            start: raw.start.get().map(|time| time.0).unwrap_or_default(),
            phases,
        })
    }
}

fn largest_weight(schedule: &Schedule, variant: VariantId) -> Ppm {
    match schedule {
        Schedule::Fixed(weights) => weights[variant],
        Schedule::Rollout(rollout) => {
            rollout.phases.iter().map(|phase| phase.weights[variant]).max().unwrap_or_default()
        }
    }
}
