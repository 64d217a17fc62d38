//! A Lease, so that of several processes with --watch one acts.
//!
//! The clocks of other machines are never compared with ours: a lease has expired when its record has not changed for
//! its duration, by our monotonic clock since we saw it first. The holder renews, and stops acting some seconds before
//! others may take over. Every write carries the version that was read, so of two that take it, one fails.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sidetrack::quantity::Timestamp;
use tokio::sync::watch;

use super::Cluster;
use crate::kube::api::{Refused, Verb};
use crate::out::Ink;

/// How long the holder may be silent before another process takes over.
const LEASE: Duration = Duration::from_secs(30);
/// How long the holder acts after it began its last renewal.
const ACTS: Duration = Duration::from_secs(20);
/// The time between two looks at the lease.
const EVERY: Duration = Duration::from_secs(5);

/// Holds the lease, or waits for it, in a thread of its own. Dropping it releases the lease.
pub(in crate::advance) struct Elector {
    /// Until when this process may act.
    until: watch::Receiver<Option<Instant>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Elector {
    pub(in crate::advance) fn start(cluster: Arc<Cluster>) -> Self {
        let (sender, until) = watch::channel(None);
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut candidacy = Candidacy { cluster: &cluster, observed: None };
            let mut said = String::new();
            loop {
                match candidacy.turn() {
                    Ok(until) => drop(sender.send_replace(until)),
                    // What was held stays held until its time is over.
                    Err(error) => report(&error, &mut said),
                }
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            sender.send_replace(None);
            if let Err(error) = candidacy.release() {
                report(&error, &mut said);
            }
        });
        Self { until, stop: Some(stop), thread: Some(thread) }
    }

    /// Whether this process may act now.
    pub(in crate::advance) fn leads(&self) -> bool {
        leads(&self.until.borrow())
    }

    /// Waits until this process may act, and says when it waits.
    pub(in crate::advance) async fn elected(&self) {
        if self.leads() {
            return;
        }
        let note = |text: &str| writeln!(std::io::stderr().lock(), "{text}").ok();
        note("waiting for the lease: another process may hold it");
        // The sender lives as long as this value.
        self.until.clone().wait_for(leads).await.ok();
        note("this process holds the lease");
    }
}

fn leads(until: &Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

/// Reports an error of the lease, once.
fn report(error: &anyhow::Error, said: &mut String) {
    let text = format!("{error:#}");
    if text != *said {
        let mark = Ink::stderr();
        writeln!(std::io::stderr().lock(), "{} the lease: {text}", mark.bad("error:")).ok();
        *said = text;
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// One process that wants the lease.
struct Candidacy<'c> {
    cluster: &'c Cluster,
    observed: Option<Observed>,
}

/// A lease, and when it was first seen like this.
struct Observed {
    record: Record,
    since: Instant,
}

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    holder: String,
    renewed: String,
    lasts: Duration,
}

/// What a process does with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Take,
    Renew,
    Wait,
}

impl Record {
    fn of(lease: &Value) -> Self {
        let text = |key: &str| lease.pointer(&format!("/spec/{key}")).and_then(Value::as_str);
        let lasts = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
        Self {
            holder: text("holderIdentity").unwrap_or_default().to_owned(),
            renewed: text("renewTime").unwrap_or_default().to_owned(),
            lasts: lasts.map_or(LEASE, Duration::from_secs),
        }
    }
}

/// What to do with a lease that says this.
fn turn(observed: &mut Option<Observed>, record: Record, own: &str, now: Instant) -> Turn {
    let since = match observed {
        Some(observed) if observed.record == record => observed.since,
        _ => now,
    };
    let is_over = now.duration_since(since) >= record.lasts;
    let turn = match record.holder.as_str() {
        holder if holder == own => Turn::Renew,
        "" => Turn::Take,
        _ if is_over => Turn::Take,
        _ => Turn::Wait,
    };
    *observed = Some(Observed { record, since });
    turn
}

impl Candidacy<'_> {
    /// One look at the lease: until when this process may act.
    fn turn(&mut self) -> anyhow::Result<Option<Instant>> {
        let begun = Instant::now();
        let own = &self.cluster.identity;
        let Some(mut lease) = self.read()? else {
            let target = &self.cluster.target;
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": target.lease(), "namespace": target.namespace},
                "spec": Map::from_iter(held(own, 0)),
            });
            return self.write(Verb::Create, &lease, begun);
        };
        let number = lease.pointer("/spec/leaseTransitions").and_then(Value::as_u64);
        match turn(&mut self.observed, Record::of(&lease), own, begun) {
            Turn::Wait => return Ok(None),
            Turn::Take => put(&mut lease, held(own, number.map_or(0, |number| number + 1))),
            Turn::Renew => put(&mut lease, [("renewTime".to_owned(), micro_time().into())]),
        }
        self.write(Verb::Replace, &lease, begun)
    }

    /// Gives the lease up, if this process holds it.
    fn release(&self) -> anyhow::Result<()> {
        let Some(mut lease) = self.read()? else { return Ok(()) };
        if Record::of(&lease).holder != self.cluster.identity {
            return Ok(());
        }
        let free: [(&str, Value); 3] = [
            ("holderIdentity", "".into()),
            ("leaseDurationSeconds", 1.into()),
            ("renewTime", micro_time().into()),
        ];
        put(&mut lease, free.map(|(key, value)| (key.to_owned(), value)));
        self.write(Verb::Replace, &lease, Instant::now()).map(drop)
    }

    fn read(&self) -> anyhow::Result<Option<Value>> {
        match self.cluster.api.send(Verb::Get, &self.path(true), &Value::Null) {
            Ok(lease) => Ok(Some(lease)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 404 => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Writes the lease; `None` if another process was faster.
    fn write(&self, verb: Verb, lease: &Value, begun: Instant) -> anyhow::Result<Option<Instant>> {
        let path = self.path(matches!(verb, Verb::Replace));
        match self.cluster.api.send(verb, &path, lease) {
            Ok(_) => Ok(begun.checked_add(ACTS)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 409 => Ok(None),
                Some(refused) if refused.status == 403 && matches!(verb, Verb::Create) => {
                    let name = self.cluster.target.lease();
                    Err(error.context(format!(
                        "the Lease {name} does not exist, and may not be created"
                    )))
                }
                _ => Err(error),
            },
        }
    }

    fn path(&self, named: bool) -> String {
        let target = &self.cluster.target;
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", target.namespace);
        if named { format!("{all}/{}", target.lease()) } else { all }
    }
}

/// The lease of a new holder.
fn held(own: &str, transitions: u64) -> [(String, Value); 5] {
    let now = micro_time();
    let fields: [(&str, Value); 5] = [
        ("holderIdentity", own.into()),
        ("leaseDurationSeconds", LEASE.as_secs().into()),
        ("acquireTime", now.as_str().into()),
        ("renewTime", now.as_str().into()),
        ("leaseTransitions", transitions.into()),
    ];
    fields.map(|(key, value)| (key.to_owned(), value))
}

/// Sets fields of a lease's `spec`.
fn put(lease: &mut Value, fields: impl IntoIterator<Item = (String, Value)>) {
    let Some(lease) = lease.as_object_mut() else { return };
    let spec = lease.entry("spec").or_insert_with(|| json!({}));
    if let Some(spec) = spec.as_object_mut() {
        spec.extend(fields);
    }
}

/// The time as Kubernetes' `MicroTime`.
pub(super) fn micro_time() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = Timestamp::new(since.as_secs().saturating_mul(1000)).to_string();
    format!("{}.{:06}Z", second.trim_end_matches('Z'), since.subsec_micros())
}

/// A name of this process: the pod's, and a random number, since a pod's name may come again.
pub(super) fn identity() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
    let random = RandomState::new().hash_one(std::process::id());
    let host = host.unwrap_or_else(|| "sidetrack".to_owned());
    let host: String = host.chars().filter(char::is_ascii_graphic).take(100).collect();
    format!("{host}_{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: &str) -> Record {
        Record { holder: holder.to_owned(), renewed: renewed.to_owned(), lasts: LEASE }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_did_not_change_for_its_duration() {
        let (mut seen, begun) = (None, Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        // Its time may be that of a clock that is years behind.
        let old = || record("other", "2001-01-01T00:00:00.000000Z");
        assert_eq!(turn(&mut seen, old(), "own", begun), Turn::Wait);
        assert_eq!(turn(&mut seen, old(), "own", after(29)), Turn::Wait);
        // A renewal begins the time again.
        let renewed = || record("other", "2001-01-01T00:00:05.000000Z");
        assert_eq!(turn(&mut seen, renewed(), "own", after(30)), Turn::Wait);
        assert_eq!(turn(&mut seen, renewed(), "own", after(59)), Turn::Wait);
        assert_eq!(turn(&mut seen, renewed(), "own", after(60)), Turn::Take);
        assert_eq!(turn(&mut seen, record("own", "x"), "own", after(61)), Turn::Renew);
        assert_eq!(turn(&mut seen, record("third", "y"), "own", after(62)), Turn::Wait);
        assert_eq!(turn(&mut seen, record("", "z"), "own", after(63)), Turn::Take);
    }

    #[test]
    fn the_holder_stops_before_others_take_over() {
        assert!(ACTS + EVERY < LEASE, "also if a renewal takes a while");
        assert!(!leads(&None) && !leads(&Some(Instant::now())));
        assert!(leads(&Instant::now().checked_add(ACTS)));
    }

    #[test]
    fn a_lease_without_a_spec_is_free() {
        assert_eq!(Record::of(&json!({"metadata": {"name": "x"}})), record("", ""));
        let mut lease = json!({"metadata": {"name": "x"}});
        put(&mut lease, held("own", 3));
        assert_eq!(Record::of(&lease).holder, "own");
        assert_eq!(Record::of(&lease).lasts, LEASE);
    }
}
