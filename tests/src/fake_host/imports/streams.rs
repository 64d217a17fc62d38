//! Properties, bodies, answers by the filter itself, and Envoy's foreign functions.

use wasmtime::{Caller, Linker};

use super::super::abi::Status;
use super::super::expressions;
use super::super::guest::{Host, host_call};
use super::super::headers::{HeaderMap, word};
use super::super::state::{LocalResponse, StreamState};

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |caller: Caller<'_, Host>, path: u32, path_len: u32, value_at: u32, len_at: u32| {
            host_call(caller, "proxy_get_property", |guest| {
                let path = guest.read(path, path_len)?;
                let now = guest.shared().now_ns;
                let of_stream = guest.stream().and_then(|mut stream| stream.property(&path, now));
                let of_process = || guest.shared().properties.get(&path).cloned();
                let own = || guest.stream().and_then(|stream| stream.own_property(&path));
                let value = of_stream.or_else(of_process).or_else(own).ok_or(Status::NotFound)?;
                guest.give(&value, value_at, len_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |caller: Caller<'_, Host>, path: u32, path_len: u32, value: u32, len: u32| {
            host_call(caller, "proxy_set_property", |guest| {
                let (path, value) = (guest.read(path, path_len)?, guest.read(value, len)?);
                guest.stream().ok_or(Status::NotFound)?.filter_state.insert(path, value);
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |caller: Caller<'_, Host>,
         buffer: u32,
         start: u32,
         max: u32,
         bytes_at: u32,
         len_at: u32| {
            host_call(caller, "proxy_get_buffer_bytes", |guest| {
                let bytes = match buffer {
                    0 | 1 => {
                        guest.stream().and_then(|mut stream| stream.body(buffer).map(|b| b.clone()))
                    }
                    6 => Some(Vec::new()),
                    7 => guest.host().plugin_config.clone(),
                    _ => None,
                };
                let bytes = bytes.ok_or(Status::NotFound)?;
                let end = start.checked_add(max).ok_or(Status::BadArgument)?;
                let end = (end as usize).min(bytes.len());
                let part = bytes.get(start as usize..end).ok_or(Status::BadArgument)?;
                // Envoy leaves the out slots alone when there is nothing to give.
                if part.is_empty() { Ok(()) } else { guest.give(part, bytes_at, len_at) }
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |caller: Caller<'_, Host>, buffer: u32, start: u32, size: u32, bytes: u32, len: u32| {
            host_call(caller, "proxy_set_buffer_bytes", |guest| {
                let bytes = guest.read(bytes, len)?;
                let mut stream = guest.stream().ok_or(Status::NotFound)?;
                let body = stream.body(buffer).ok_or(Status::NotFound)?;
                match (start as usize, size as usize) {
                    (0, 0) => drop(body.splice(..0, bytes)),
                    (0, size) if size >= body.len() => *body = bytes,
                    (start, _) if start >= body.len() => body.extend(bytes),
                    _ => return Err(Status::BadArgument.into()),
                }
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |caller: Caller<'_, Host>,
         status: u32,
         details: u32,
         details_len: u32,
         body: u32,
         body_len: u32,
         headers: u32,
         headers_len: u32,
         grpc_status: i32| {
            host_call(caller, "proxy_send_local_response", |guest| {
                let details =
                    String::from_utf8_lossy(&guest.read(details, details_len)?).into_owned();
                let body = guest.read(body, body_len)?;
                let headers = HeaderMap::decode(&guest.read(headers, headers_len)?);
                if let Some(mut stream) = guest.stream() {
                    let answer = LocalResponse { status, details, body, headers, grpc_status };
                    stream.local_response.get_or_insert(answer);
                }
                guest.host_mut().stopped = true;
                Ok(())
            })
        },
    )?;
    linker.func_wrap("env", "proxy_continue_stream", |caller: Caller<'_, Host>, kind: u32| {
        host_call(caller, "proxy_continue_stream", |guest| match kind {
            0 | 1 => {
                let mut stream = guest.stream().ok_or(Status::BadArgument)?;
                stream.continued.push(kind);
                // Envoy drops its hold on the request's parts, whichever side goes on.
                stream.request.open = false;
                stream.request_trailers.open = false;
                stream.request_body.open = false;
                Ok(())
            }
            3 => Err(Status::Unimplemented.into()),
            _ => Err(Status::BadArgument.into()),
        })
    })?;
    linker.func_wrap("env", "proxy_close_stream", |caller: Caller<'_, Host>, kind: u32| {
        host_call(caller, "proxy_close_stream", |guest| {
            guest.stream().ok_or(Status::BadArgument)?.closed.push(kind);
            Ok(())
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |caller: Caller<'_, Host>,
         name: u32,
         name_len: u32,
         arg: u32,
         arg_len: u32,
         out: u32,
         out_len: u32| {
            host_call(caller, "proxy_call_foreign_function", |guest| {
                let name = String::from_utf8_lossy(&guest.read(name, name_len)?).into_owned();
                let argument = guest.read(arg, arg_len)?;
                let status = *guest.shared().foreign.get(&name).ok_or(Status::NotFound)?;
                if let Some(mut stream) = guest.stream() {
                    stream.cleared_route += usize::from(name == "clear_route_cache");
                    stream.foreign_calls.push((name.clone(), argument.clone()));
                }
                let result = match status {
                    Status::Ok => {
                        expressions::call(guest, &name, &argument).unwrap_or(Ok(Vec::new()))
                    }
                    status => Err(status.into()),
                };
                let bytes = result.as_deref().unwrap_or_default();
                // Who does not want the bytes still learns how many there are; no memory is asked for then.
                if out == 0 && out_len != 0 {
                    guest.write(out_len, &word(bytes.len()).to_le_bytes())?;
                } else if out != 0 {
                    guest.give(bytes, out, out_len)?;
                }
                result.map(drop)
            })
        },
    )?;
    Ok(())
}

impl StreamState {
    fn body(&mut self, buffer: u32) -> Option<&mut Vec<u8>> {
        let body = match buffer {
            0 => &mut self.request_body,
            1 => &mut self.response_body,
            _ => return None,
        };
        body.open.then_some(&mut body.buffer)
    }
}
