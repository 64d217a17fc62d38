//! Log, clock, ticks, shared data, contexts.

use wasmtime::{Caller, Linker};

use super::super::abi::{LogLevel, Status};
use super::super::guest::{Context, Host, host_call};

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |caller: Caller<'_, Host>, level: u32, text: u32, len: u32| {
            host_call(caller, "proxy_log", |guest| {
                let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
                let text = guest.read(text, len)?;
                guest.shared().write_log(guest.host().vm, level, &text);
                Ok(())
            })
        },
    )?;
    linker.func_wrap("env", "proxy_get_log_level", |caller: Caller<'_, Host>, level_at: u32| {
        host_call(caller, "proxy_get_log_level", |guest| {
            let level = guest.shared().log_level as u32;
            guest.write(level_at, &level.to_le_bytes())
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |caller: Caller<'_, Host>, time_at: u32| {
            host_call(caller, "proxy_get_current_time_nanoseconds", |guest| {
                let now = guest.shared().now_ns;
                guest.write(time_at, &now.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |caller: Caller<'_, Host>, ms: u32| {
            host_call(caller, "proxy_set_tick_period_milliseconds", |guest| {
                let root = guest.host().current_root();
                guest.host_mut().root_mut(root).ok_or(Status::BadArgument)?.tick_ms = ms;
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |caller: Caller<'_, Host>,
         key: u32,
         key_len: u32,
         value_at: u32,
         len_at: u32,
         cas_at: u32| {
            host_call(caller, "proxy_get_shared_data", |guest| {
                let key = guest.read(key, key_len)?;
                let (value, cas) =
                    guest.shared().data.get(&key).cloned().ok_or(Status::NotFound)?;
                guest.give(&value, value_at, len_at)?;
                guest.write(cas_at, &cas.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |caller: Caller<'_, Host>, key: u32, key_len: u32, value: u32, len: u32, cas: u32| {
            host_call(caller, "proxy_set_shared_data", |guest| {
                let (key, value) = (guest.read(key, key_len)?, guest.read(value, len)?);
                Ok(guest.shared().set_data(key, value, cas)?)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_effective_context",
        |caller: Caller<'_, Host>, id: u32| {
            host_call(caller, "proxy_set_effective_context", |guest| {
                if !guest.host().contexts.contains_key(&id) {
                    return Err(Status::BadArgument.into());
                }
                guest.host_mut().effective = id;
                Ok(())
            })
        },
    )?;
    linker.func_wrap("env", "proxy_done", |caller: Caller<'_, Host>| {
        host_call(caller, "proxy_done", |guest| {
            let id = guest.host().context();
            let waiting =
                matches!(guest.host().contexts.get(&id), Some(Context::Root(root)) if root.waiting);
            if !waiting {
                return Err(Status::NotFound.into());
            }
            guest.host_mut().done.insert(id);
            Ok(())
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_status",
        |caller: Caller<'_, Host>, code_at: u32, text_at: u32, len_at: u32| {
            host_call(caller, "proxy_get_status", |guest| {
                // Only calls out of the filter have a status, and this host makes none.
                guest.write(code_at, &0_u32.to_le_bytes())?;
                guest.give(&[], text_at, len_at)
            })
        },
    )?;
    Ok(())
}
