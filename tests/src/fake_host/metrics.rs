//! The process-wide statistics: by kind and name, shared by all VMs, with Envoy's rules.

use std::collections::{BTreeMap, HashMap};

use super::abi::Status;

/// The kinds of metric, numbered as in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Set, added to, subtracted from.
    Gauge,
    /// Takes samples; the guest cannot read it.
    Histogram,
}

/// What a metric holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricValue {
    /// A counter's or gauge's value.
    Number(u64),
    /// A histogram's samples, oldest first.
    Samples(Vec<u64>),
}

struct Metric {
    kind: MetricKind,
    name: String,
    value: u64,
    samples: Vec<u64>,
}

#[derive(Default)]
pub(super) struct Metrics {
    slots: Vec<Metric>,
    by_name: HashMap<(MetricKind, String), usize>,
    hidden: Vec<String>,
}

impl Metrics {
    pub(super) fn define(&mut self, kind: MetricKind, name: &str) -> usize {
        let slots = &mut self.slots;
        *self.by_name.entry((kind, name.to_owned())).or_insert_with(|| {
            slots.push(Metric { kind, name: name.to_owned(), value: 0, samples: Vec::new() });
            slots.len() - 1
        })
    }

    pub(super) fn hide(&mut self, prefix: &str) {
        self.hidden.push(prefix.to_owned());
    }

    pub(super) fn increment(&mut self, slot: usize, offset: i64) -> Result<(), Status> {
        let metric = self.slots.get(slot).ok_or(Status::NotFound)?;
        match metric.kind {
            MetricKind::Counter if offset <= 0 => return Err(Status::BadArgument),
            MetricKind::Histogram => return Err(Status::BadArgument),
            MetricKind::Counter | MetricKind::Gauge => {}
        }
        self.write(slot, |metric| metric.value = metric.value.wrapping_add_signed(offset))
    }

    pub(super) fn record(&mut self, slot: usize, value: u64) -> Result<(), Status> {
        self.write(slot, |metric| match metric.kind {
            MetricKind::Counter => metric.value = metric.value.wrapping_add(value),
            MetricKind::Gauge => metric.value = value,
            MetricKind::Histogram => metric.samples.push(value),
        })
    }

    pub(super) fn read(&self, slot: usize) -> Result<u64, Status> {
        let metric = self.slots.get(slot).ok_or(Status::NotFound)?;
        match metric.kind {
            MetricKind::Histogram => Err(Status::BadArgument),
            _ if self.is_hidden(&metric.name) => Ok(0),
            _ => Ok(metric.value),
        }
    }

    /// A null statistic, as a stats matcher makes them, swallows writes.
    fn write(&mut self, slot: usize, change: impl FnOnce(&mut Metric)) -> Result<(), Status> {
        let hidden = self.slots.get(slot).is_some_and(|metric| self.is_hidden(&metric.name));
        let metric = self.slots.get_mut(slot).ok_or(Status::NotFound)?;
        if !hidden {
            change(metric);
        }
        Ok(())
    }

    fn is_hidden(&self, name: &str) -> bool {
        self.hidden.iter().any(|prefix| name.starts_with(prefix))
    }

    pub(super) fn value(&self, kind: MetricKind, name: &str) -> Option<MetricValue> {
        let slot = self.by_name.get(&(kind, name.to_owned()))?;
        self.slots.get(*slot).filter(|metric| !self.is_hidden(&metric.name)).map(Metric::shown)
    }

    pub(super) fn all(&self) -> BTreeMap<String, MetricValue> {
        let seen = self.slots.iter().filter(|metric| !self.is_hidden(&metric.name));
        seen.map(|metric| (metric.name.clone(), metric.shown())).collect()
    }
}

impl Metric {
    fn shown(&self) -> MetricValue {
        match self.kind {
            MetricKind::Histogram => MetricValue::Samples(self.samples.clone()),
            MetricKind::Counter | MetricKind::Gauge => MetricValue::Number(self.value),
        }
    }
}
