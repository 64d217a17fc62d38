//! One request in one experiment, step by step in the order that the documentation gives.

use core::cell::Cell;
use std::borrow::Cow;

use super::{Decision, Gate, Missing, Outcome, Reason, Step, Trace, World, has_token};
use crate::body::Edit;
use crate::plan::{Assignment, Experiment, ExperimentId, MissingUnit, Plan, VariantId};
use crate::quantity::{Bucket, Ppm};
use crate::request::{Body, Request};
use crate::rollout::InForce;
use crate::unit::{UnitSource, minted_text};

/// One request in one experiment.
pub(super) struct Trial<'p, 'r, R> {
    pub(super) plan: &'p Plan,
    pub(super) experiment: &'p Experiment,
    pub(super) id: ExperimentId,
    pub(super) request: &'r R,
    /// What was minted for this request already: experiments of one layer must agree who it is.
    pub(super) identity: &'r Cell<Option<u128>>,
}

impl<'p, R: Request> Trial<'p, '_, R> {
    pub(super) fn decide<E: FnMut() -> u64, G: Fn(ExperimentId, VariantId) -> Gate>(
        &self,
        world: &mut World<'_, E, G>,
        trace: &mut impl Trace<'p>,
    ) -> Outcome {
        let experiment = self.experiment;
        let in_force = experiment.schedule.at(world.now);
        let phase = if let InForce::Weights(_, phase) = in_force { phase } else { None };
        let base = Decision {
            experiment: self.id,
            assigned: experiment.baseline,
            served: experiment.baseline,
            reason: Reason::Disabled,
            bucket: None,
            phase,
            unit_source: None,
            minted: None,
            missing: None,
            mirror: false,
            explain: false,
        };
        let pending = self.request.body() == Body::Pending;
        // The baseline's values are set whatever the reason.
        if pending && !experiment.variants[experiment.baseline].body.is_empty() {
            return Outcome::NeedsBody(self.id);
        }
        let guarded = experiment.overrides.token.is_some();
        let chosen = self.header_override(trace);
        if !experiment.enabled && (chosen.is_none() || !guarded) {
            trace.step(|| Step::Disabled);
            return Outcome::Decided(base);
        }
        // Only an override that is guarded by a token reaches a candidate that receives no traffic.
        let open = |variant: VariantId| (world.gate)(self.id, variant) == Gate::Open;
        let barred = |variant: VariantId| match in_force {
            _ if variant == experiment.baseline => None,
            InForce::NotStarted => Some("the rollout begins later"),
            InForce::Weights(weights, _) if weights[variant] == Ppm::ZERO => {
                Some("the variant has weight 0")
            }
            InForce::Weights(..) => open(variant).then_some("the variant's breaker is open"),
        };
        if let Some(variant) = chosen {
            let Some(why) = barred(variant).filter(|_| !guarded) else {
                trace.step(|| Step::Override(variant, "header"));
                return self.overridden(base, variant, trace);
            };
            trace.step(|| Step::OverrideRefused(why));
        }
        let hashed = experiment.assignment == Assignment::UserHash;
        let found = self.unit(hashed, trace);
        let minted = match found {
            Unit::Later => return Outcome::NeedsBody(self.id),
            Unit::Nowhere => self.mint(world, trace),
            Unit::Found(..) | Unit::Unneeded => None,
        };
        let text = minted.map(|(_, identity)| minted_text(identity));
        let (unit_source, unit) = match (&found, &text, minted) {
            (Unit::Found(source, unit), ..) => (Some(*source), Some(unit.as_ref())),
            (_, Some(text), Some((source, _))) => (Some(source), Some(text.as_bytes())),
            _ => (None, None),
        };
        let minted = minted.map(|(_, identity)| identity);
        let base = Decision { unit_source, minted, ..base };
        if let Some(variant) = unit.and_then(|unit| self.unit_override(unit)) {
            let Some(why) = barred(variant) else {
                trace.step(|| Step::Override(variant, "unit"));
                return self.overridden(base, variant, trace);
            };
            trace.step(|| Step::OverrideRefused(why));
        }
        let missing = (hashed && unit.is_none()).then(|| self.missing());
        let base = Decision { missing, ..base };
        if let Some(missing) = missing {
            trace.step(|| Step::MissingUnit(experiment.missing_unit));
            match experiment.missing_unit {
                MissingUnit::Baseline => return self.without_unit(base, None),
                MissingUnit::Skip => return Outcome::Skipped(self.id, missing),
                MissingUnit::Random => {}
            }
        }
        let waits = pending && !experiment.places.is_empty();
        // A slot that is drawn at random now would be drawn again, and select requests twice.
        if waits && (unit.is_none() || minted.is_some()) {
            return Outcome::NeedsBody(self.id);
        }
        if let Some(layer) = &experiment.layer {
            let slot = match unit {
                Some(unit) => layer.draw.bucket(unit),
                None => Bucket::from_draw((world.entropy)()),
            };
            let inside = (layer.from.get()..layer.to.get()).contains(&slot.get());
            trace.step(|| Step::Slot(slot, inside));
            if !inside {
                return Outcome::Decided(Decision { reason: Reason::Excluded, ..base });
            }
        }
        let InForce::Weights(weights, phase) = in_force else {
            trace.step(|| Step::NotStarted);
            return Outcome::Decided(Decision { reason: Reason::NotStarted, ..base });
        };
        if waits {
            return Outcome::NeedsBody(self.id);
        }
        // All variants wait for a body, and need one that all of them can edit: so the groups stay comparable.
        if let Some(place) = self.unfit(&experiment.places) {
            trace.step(|| Step::NoPlace(&place.pointer));
            let missing = Missing::of(self.request.body());
            if experiment.missing_unit == MissingUnit::Skip {
                return Outcome::Skipped(self.id, missing);
            }
            return self.without_unit(Decision { missing: Some(missing), ..base }, unit);
        }
        if let Some(phase) = phase {
            trace.step(|| Step::Phase(phase));
        }
        let by_hash = unit.filter(|_| hashed);
        let bucket = match by_hash {
            Some(unit) => experiment.arm.bucket(unit),
            None => Bucket::from_draw((world.entropy)()),
        };
        trace.step(|| Step::Drawn(bucket, by_hash.is_some()));
        trace.step(|| match experiment.layout.span_of(bucket) {
            Some((span, offset)) => Step::InSpan(span, offset, weights[span.variant]),
            None => Step::NoSpan,
        });
        let assigned = experiment.layout.candidate(bucket, weights).unwrap_or(experiment.baseline);
        let reason = if by_hash.is_some() { Reason::Hash } else { Reason::Random };
        let decision =
            Decision { assigned, served: assigned, reason, bucket: Some(bucket), ..base };
        let decision = self.through_the_breaker(decision, by_hash, world, trace);
        Outcome::Decided(Decision { mirror: self.mirrored(unit), ..decision })
    }

    /// The first of these places that the body does not have.
    #[inline]
    fn unfit<'e>(&self, places: &'e [Edit]) -> Option<&'e Edit> {
        if places.is_empty() {
            return None;
        }
        let Body::Whole(body) = self.request.body() else { return places.first() };
        places.iter().find(|place| !place.fits(body))
    }

    /// A variant that is chosen by hand, if its values can be set in the body.
    fn overridden(
        &self,
        base: Decision,
        variant: VariantId,
        trace: &mut impl Trace<'p>,
    ) -> Outcome {
        let edits = &self.experiment.variants[variant].body;
        if !edits.is_empty() && variant != self.experiment.baseline {
            if self.request.body() == Body::Pending {
                return Outcome::NeedsBody(self.id);
            }
            if let Some(place) = self.unfit(edits) {
                trace.step(|| Step::NoPlace(&place.pointer));
                let missing = Some(Missing::of(self.request.body()));
                return self.without_unit(Decision { missing, ..base }, None);
            }
        }
        let (assigned, served, reason) = (variant, variant, Reason::Override);
        Outcome::Decided(Decision { assigned, served, reason, ..base })
    }

    /// The baseline, for a request without a unit, or whose body does not fit.
    fn without_unit(&self, base: Decision, unit: Option<&[u8]>) -> Outcome {
        let (reason, mirror) = (Reason::MissingUnit, self.mirrored(unit));
        Outcome::Decided(Decision { reason, mirror, ..base })
    }

    /// Why no source has a unit.
    fn missing(&self) -> Missing {
        let reads_body =
            self.experiment.units.iter().any(|unit| matches!(unit, UnitSource::Body(_)));
        if reads_body { Missing::of(self.request.body()) } else { Missing::Absent }
    }

    /// The variant that the override header names, when the experiment declares one and the request may.
    fn header_override(&self, trace: &mut impl Trace<'p>) -> Option<VariantId> {
        let overrides = &self.experiment.overrides;
        let value = self.request.first(overrides.header.as_ref()?)?;
        if overrides
            .token
            .as_ref()
            .is_some_and(|digest| !has_token(self.plan, self.request, digest))
        {
            trace.step(|| Step::OverrideRefused("the token is missing or wrong"));
            return None;
        }
        let variant = self.experiment.variant(value);
        if variant.is_none() {
            trace.step(|| Step::OverrideRefused("there is no such variant"));
        }
        variant
    }

    fn unit_override(&self, unit: &[u8]) -> Option<VariantId> {
        let units = &self.experiment.overrides.units;
        let found = units.binary_search_by(|(name, _)| name.as_bytes().cmp(unit)).ok()?;
        units.get(found).map(|(_, variant)| *variant)
    }

    fn unit(&self, hashed: bool, trace: &mut impl Trace<'p>) -> Unit<'_> {
        let Experiment { layer, mirror, overrides, .. } = self.experiment;
        if !hashed && layer.is_none() && mirror.is_none() && overrides.units.is_empty() {
            return Unit::Unneeded;
        }
        for (source, unit) in self.experiment.units.iter().enumerate() {
            if matches!(unit, UnitSource::Body(_)) && self.request.body() == Body::Pending {
                return Unit::Later;
            }
            match unit.read(self.request) {
                Some(value) => {
                    trace.step(|| Step::Unit(source, value.to_vec()));
                    return Unit::Found(source, value);
                }
                None => trace.step(|| Step::NoValue(source)),
            }
        }
        Unit::Nowhere
    }

    /// Makes an identity for a caller without one, when the experiment keeps it in a cookie.
    fn mint<E: FnMut() -> u64, G>(
        &self,
        world: &mut World<'_, E, G>,
        trace: &mut impl Trace<'p>,
    ) -> Option<(usize, u128)> {
        let mint = self.experiment.mint.as_ref()?;
        let mut fresh = || u128::from((world.entropy)()) << 64 | u128::from((world.entropy)());
        let identity = self.identity.get().unwrap_or_else(&mut fresh);
        self.identity.set(Some(identity));
        trace.step(|| Step::Minted(mint.source, identity));
        Some((mint.source, identity))
    }

    fn through_the_breaker<E: FnMut() -> u64, G: Fn(ExperimentId, VariantId) -> Gate>(
        &self,
        decision: Decision,
        unit: Option<&[u8]>,
        world: &mut World<'_, E, G>,
        trace: &mut impl Trace<'p>,
    ) -> Decision {
        if decision.assigned == self.experiment.baseline {
            return decision;
        }
        let gate = (world.gate)(self.id, decision.assigned);
        let passes = match gate {
            Gate::Closed => return decision,
            Gate::Open => false,
            Gate::HalfOpen { share, from } => {
                let bucket = match unit {
                    Some(unit) => self.experiment.probe.bucket(unit),
                    None => Bucket::from_draw((world.entropy)()),
                };
                bucket.distance_from(from) < share.get()
            }
        };
        trace.step(|| Step::Gate(gate, passes));
        if passes {
            Decision { reason: Reason::Probe, ..decision }
        } else {
            Decision { served: self.experiment.baseline, reason: Reason::BreakerOpen, ..decision }
        }
    }

    /// Without a unit there is nothing to draw from: then only a mirror of everything gets a copy.
    fn mirrored(&self, unit: Option<&[u8]>) -> bool {
        self.experiment.mirror.as_ref().is_some_and(|mirror| match unit {
            Some(unit) => mirror.draw.bucket(unit).get() < mirror.percent.get(),
            None => mirror.percent == Ppm::ALL,
        })
    }
}

/// What the sources say.
enum Unit<'a> {
    Found(usize, Cow<'a, [u8]>),
    /// None of them has anything.
    Nowhere,
    /// The body decides, and it has not arrived.
    Later,
    /// Nothing is drawn from it.
    Unneeded,
}
