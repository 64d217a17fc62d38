//! A request as the breakers see it, from its decision to its end.

use super::Served;
use super::units::Unit;
use crate::plan::{ExperimentId, VariantId};
use crate::quantity::{Bucket, Millis};

/// How a request ended for its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The variant answered, and its answer ended in order.
    Completed,
    /// The variant failed: it gave a bad answer or none, or its answer broke off.
    Failed,
    /// The variant had the request, and the client left before a response. Whether the variant is
    /// at fault shows only in comparison with the baseline, whose clients leave too.
    Abandoned,
    /// The variant is not to blame: the client left during the response, or the variant was never
    /// asked.
    Unknown,
}

/// A request from its decision to its end. The holder passes it to the
/// [`Fleet`](super::Fleet) that began it on each event, and at last to
/// [`Fleet::ended`](super::Fleet::ended).
#[derive(Debug)]
#[must_use = "a request that does not end counts as one that waits for an answer"]
pub struct Ticket {
    pub(super) request: Request,
    /// When it was decided, or its upload ended.
    pub(super) since: Millis,
    /// Its place among the requests that wait for an answer.
    pub(super) place: Option<Place>,
}

/// A place among the requests that wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// What is counted of a request, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) experiment: ExperimentId,
    pub(super) variant: VariantId,
    /// The epoch of the variant's breaker when the request was decided.
    pub(super) epoch: u32,
    pub(super) unit: Unit,
    /// When it was counted.
    pub(super) counted: Millis,
    pub(super) marks: Marks,
}

impl Request {
    pub(super) const fn new(served: Served, epoch: u32, unit: Option<Bucket>) -> Self {
        Self {
            experiment: served.experiment,
            variant: served.variant,
            epoch,
            unit: match unit {
                Some(bucket) => Unit(bucket.get()),
                None => Unit::NONE,
            },
            counted: Millis::ZERO,
            marks: Marks(0),
        }
    }
}

/// What has been counted of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// It is among the requests.
    pub(super) const COUNTED: Self = Self(1);
    /// It is among the slow ones.
    pub(super) const SLOW: Self = Self(2);
    /// It is among the failures.
    pub(super) const FAILED: Self = Self(4);
    /// It is among the abandoned ones.
    pub(super) const ABANDONED: Self = Self(16);
    /// Its answer has begun and is not over.
    pub(super) const STREAMS: Self = Self(8);

    pub(super) const fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    /// Sets a mark. Returns whether it was not set before.
    pub(super) const fn set(&mut self, mark: Self) -> bool {
        let is_new = !self.has(mark);
        self.0 |= mark.0;
        is_new
    }

    /// Removes a mark. Returns whether it was set.
    pub(super) const fn take(&mut self, mark: Self) -> bool {
        let was_set = self.has(mark);
        self.0 &= !mark.0;
        was_set
    }
}
