//! Metrics. Ids belong to a VM; what they stand for belongs to the process.

use wasmtime::{Caller, Linker};

use super::super::abi::Status;
use super::super::guest::{Answer, Guest, Host, host_call};
use super::super::metrics::MetricKind;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |caller: Caller<'_, Host>, kind: u32, name: u32, len: u32, id_at: u32| {
            host_call(caller, "proxy_define_metric", |guest| {
                let name = String::from_utf8_lossy(&guest.read(name, len)?).into_owned();
                let metric = match kind {
                    0 => MetricKind::Counter,
                    1 => MetricKind::Gauge,
                    2 => MetricKind::Histogram,
                    _ => return Err(Status::BadArgument.into()),
                };
                let slot = guest.shared().metrics.define(metric, &name);
                let host = guest.host_mut();
                host.metrics_defined += 1;
                // As in Envoy, the two lowest bits of an id are the kind.
                let id = host.metrics_defined * 4 + kind;
                host.metric_slots.insert(id, slot);
                guest.write(id_at, &id.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |caller: Caller<'_, Host>, id: u32, offset: i64| {
            host_call(caller, "proxy_increment_metric", |guest| {
                let slot = slot(guest, id, true)?;
                Ok(guest.shared().metrics.increment(slot, offset)?)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_record_metric",
        |caller: Caller<'_, Host>, id: u32, value: u64| {
            host_call(caller, "proxy_record_metric", |guest| {
                let slot = slot(guest, id, false)?;
                Ok(guest.shared().metrics.record(slot, value)?)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_metric",
        |caller: Caller<'_, Host>, id: u32, value_at: u32| {
            host_call(caller, "proxy_get_metric", |guest| {
                let slot = slot(guest, id, true)?;
                let value = guest.shared().metrics.read(slot)?;
                guest.write(value_at, &value.to_le_bytes())
            })
        },
    )?;
    Ok(())
}

/// The process-wide metric behind an id. Envoy looks at the id's kind bits before it looks the id up.
fn slot(guest: &Guest<'_>, id: u32, numbers_only: bool) -> Answer<usize> {
    let unknown = if numbers_only && id & 3 > 1 { Status::BadArgument } else { Status::NotFound };
    Ok(*guest.host().metric_slots.get(&id).ok_or(unknown)?)
}
