//! WASI preview 1 as Envoy offers it: a clock, randomness, an environment, output to the log; no files.

use wasmtime::{Caller, Linker};

use super::abi::LogLevel;
use super::guest::{Answer, Guest, Host, Stop, host_call};
use super::headers::word;

const MODULE: &str = "wasi_snapshot_preview1";
const BADF: u32 = 8;
const FAULT: u32 = 21;
const NOSYS: u32 = 52;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |caller: Caller<'_, Host>, fd: u32, parts: u32, count: u32, written_at: u32| {
            let level = match fd {
                1 => LogLevel::Info,
                2 => LogLevel::Error,
                _ => return Ok(BADF),
            };
            wasi_call(caller, "fd_write", |guest| {
                let mut text = Vec::new();
                for part in 0..count {
                    let at = parts.wrapping_add(part.wrapping_mul(8));
                    text.extend(
                        guest.read(guest.read_u32(at)?, guest.read_u32(at.wrapping_add(4))?)?,
                    );
                }
                guest.shared().write_log(
                    guest.host().vm,
                    level,
                    text.strip_suffix(b"\n").unwrap_or(&text),
                );
                guest.write(written_at, &word(text.len()).to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |caller: Caller<'_, Host>, _clock: u32, _precision: u64, time_at: u32| {
            wasi_call(caller, "clock_time_get", |guest| {
                let now = guest.shared().now_ns;
                guest.write(time_at, &now.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(MODULE, "random_get", |caller: Caller<'_, Host>, buffer: u32, len: u32| {
        wasi_call(caller, "random_get", |guest| {
            // Envoy's own limit per call.
            let bytes = guest.shared().random((len as usize).min(65_536));
            guest.write(buffer, &bytes)
        })
    })?;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |caller: Caller<'_, Host>, count_at: u32, size_at: u32| {
            wasi_call(caller, "environ_sizes_get", |guest| {
                let lines = environment(guest);
                guest.write(count_at, &word(lines.len()).to_le_bytes())?;
                guest.write(size_at, &word(lines.concat().len()).to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_get",
        |caller: Caller<'_, Host>, list_at: u32, text_at: u32| {
            wasi_call(caller, "environ_get", |guest| {
                let (mut list_at, mut text_at) = (list_at, text_at);
                for line in environment(guest) {
                    guest.write(list_at, &text_at.to_le_bytes())?;
                    guest.write(text_at, &line)?;
                    list_at = list_at.wrapping_add(4);
                    text_at = text_at.wrapping_add(word(line.len()));
                }
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |caller: Caller<'_, Host>, count_at: u32, size_at: u32| {
            wasi_call(caller, "args_sizes_get", |guest| {
                guest.write(count_at, &[0; 4])?;
                guest.write(size_at, &[0; 4])
            })
        },
    )?;
    linker.func_wrap(MODULE, "args_get", |_: Caller<'_, Host>, _: u32, _: u32| 0_u32)?;
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |_: Caller<'_, Host>, code: u32| -> wasmtime::Result<()> {
            wasmtime::bail!("the module called proc_exit({code})")
        },
    )?;
    link_stubs(linker)
}

/// What a standard library may import and Envoy answers with an error.
fn link_stubs(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "sched_yield", || 0_u32)?;
    linker.func_wrap(MODULE, "poll_oneoff", |_: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(MODULE, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(MODULE, "fd_seek", |_: u32, _: i64, _: u32, _: u32| 0_u32)?;
    linker.func_wrap(MODULE, "fd_close", |_: u32| 0_u32)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| BADF)?;
    linker.func_wrap(
        MODULE,
        "path_open",
        |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOSYS,
    )?;
    linker
        .func_wrap(MODULE, "path_filestat_get", |_: u32, _: u32, _: u32, _: u32, _: u32| NOSYS)?;
    Ok(())
}

fn environment(guest: &Guest<'_>) -> Vec<Vec<u8>> {
    let shared = guest.shared();
    shared
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\0").into_bytes())
        .collect()
}

/// A host call whose only error of its own is a bad pointer.
fn wasi_call(
    caller: Caller<'_, Host>,
    name: &'static str,
    body: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> wasmtime::Result<u32> {
    let mut bad_pointer = false;
    let status = host_call(caller, name, |guest| match body(guest) {
        Err(Stop::Status(_)) => {
            bad_pointer = true;
            Ok(())
        }
        other => other,
    })?;
    Ok(if bad_pointer { FAULT } else { status })
}
