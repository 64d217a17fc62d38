//! Header and trailer maps.

use wasmtime::{Caller, Linker};

use super::super::abi::Status;
use super::super::guest::{Answer, Guest, Host, host_call};
use super::super::headers::{HeaderMap, word};
use super::super::state::StreamState;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |caller: Caller<'_, Host>,
         map: u32,
         name: u32,
         name_len: u32,
         value_at: u32,
         len_at: u32| {
            host_call(caller, "proxy_get_header_map_value", |guest| {
                let name = guest.read(name, name_len)?;
                let value = in_stream(guest, map, |stream| {
                    stream.readable(map)?.get(&name).map(<[u8]>::to_vec).ok_or(Status::NotFound)
                })?;
                guest.give(&value, value_at, len_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |caller: Caller<'_, Host>, map: u32, pairs_at: u32, len_at: u32| {
            host_call(caller, "proxy_get_header_map_pairs", |guest| {
                // Envoy gives an empty list, and no error, for a map that is not there.
                let pairs = match in_stream(guest, map, |stream| Ok(stream.readable(map)?.encode()))
                {
                    Ok(pairs) => pairs,
                    Err(_) if map <= LAST_MAP => Vec::new(),
                    Err(stop) => return Err(stop),
                };
                guest.give(&pairs, pairs_at, len_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_size",
        |caller: Caller<'_, Host>, map: u32, size_at: u32| {
            host_call(caller, "proxy_get_header_map_size", |guest| {
                let size = in_stream(guest, map, |stream| {
                    Ok(stream
                        .writable(map)?
                        .pairs()
                        .iter()
                        .map(|(name, value)| name.len() + value.len())
                        .sum())
                })?;
                guest.write(size_at, &word(size).to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_header_map_pairs",
        |caller: Caller<'_, Host>, map: u32, pairs: u32, len: u32| {
            host_call(caller, "proxy_set_header_map_pairs", |guest| {
                let pairs = HeaderMap::decode(&guest.read(pairs, len)?);
                changing(guest, map, |lines| *lines = pairs)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |caller: Caller<'_, Host>, map: u32, name: u32, name_len: u32, value: u32, len: u32| {
            host_call(caller, "proxy_add_header_map_value", |guest| {
                let (name, value) = (guest.read(name, name_len)?, guest.read(value, len)?);
                changing(guest, map, |lines| lines.add(name, value))
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |caller: Caller<'_, Host>, map: u32, name: u32, name_len: u32, value: u32, len: u32| {
            host_call(caller, "proxy_replace_header_map_value", |guest| {
                let (name, value) = (guest.read(name, name_len)?, guest.read(value, len)?);
                changing(guest, map, |lines| lines.replace(name, value))
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |caller: Caller<'_, Host>, map: u32, name: u32, name_len: u32| {
            host_call(caller, "proxy_remove_header_map_value", |guest| {
                let name = guest.read(name, name_len)?;
                changing(guest, map, |lines| lines.remove(name))
            })
        },
    )?;
    Ok(())
}

/// Changes a map. For modules of ABI 0.2.1 Envoy forgets the route when the request's headers change; for newer ones
/// it no longer does.
fn changing(guest: &Guest<'_>, map: u32, change: impl FnOnce(&mut HeaderMap)) -> Answer<()> {
    in_stream(guest, map, |stream| {
        change(stream.writable(map)?);
        stream.cleared_route += usize::from(map == REQUEST_HEADERS);
        Ok(())
    })
}

const REQUEST_HEADERS: u32 = 0;

/// `HttpCallResponseTrailers`, the highest map number of the ABI.
const LAST_MAP: u32 = 7;

fn in_stream<T>(
    guest: &Guest<'_>,
    map: u32,
    act: impl FnOnce(&mut StreamState) -> Result<T, Status>,
) -> Answer<T> {
    if map > LAST_MAP {
        return Err(Status::BadArgument.into());
    }
    let mut stream = guest.stream().ok_or(Status::BadArgument)?;
    Ok(act(&mut stream)?)
}
