//! Envoy's callbacks: the exports of the module, and its mark.
//!
//! They are written by hand on ABI 0.2.1 of proxy-wasm, without its SDK, because each entry into
//! the VM has a price (docs/performance.md). The SDK exports all callbacks, so Envoy enters the VM
//! for each chunk of each response body, for trailers and for the end of a stream, only to return
//! at once. It also looks up each context in several tables. This file exports only what the filter
//! needs.
//!
//! Deliberately absent: `proxy_on_response_body` and `proxy_on_done`. Few responses besides those of
//! gRPC have trailers, and their status is known only in `proxy_on_response_trailers`: a filter
//! before this one may have moved them into the body when the request is logged.
//! `proxy_on_delete` frees a stream; Envoy calls it for streams without a log callback as well.
//! With HTTP/3 the log callback may come after it, when the client has acknowledged the response.

#![expect(
    unsafe_code,
    reason = "names of exports and sections are unsafe attributes, and constructors are C's"
)]

use sidetrack_proxy::stream::Action;

use crate::envoy::Call;
use crate::host;
use crate::table;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the C library's constructors, called once, before anything else.
    unsafe { __wasm_call_ctors() };
    // Logs the panic's message before the module traps.
    std::panic::set_hook(Box::new(|panic| host::log(host::Level::Critical, &panic.to_string())));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    if parent == 0 { table::create_instance(id) } else { table::create_stream(id, parent) }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    table::delete(id);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, _size: u32) -> u32 {
    let plugin = host::bytes_property(&host::Property::PLUGIN_NAME).unwrap_or_default();
    let text = host::configuration().unwrap_or_default();
    table::with_instance(root, |it| it.load(&String::from_utf8_lossy(&plugin), &text));
    // If a configuration is refused, Envoy gives up the plugin, and all other listeners with it.
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    table::look_at_long_streams(root);
    table::with_instance(root, table::Instance::tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(stream: u32, _count: u32, end: u32) -> u32 {
    action(table::with_stream(stream, |it| it.request_headers(&Call, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(stream: u32, size: usize, end: u32) -> u32 {
    action(table::with_stream(stream, |it| it.request_body(&Call, size, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(stream: u32, _count: u32) -> u32 {
    action(table::with_stream(stream, |it| it.request_trailers(&Call)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(stream: u32, _count: u32, end: u32) -> u32 {
    table::with_stream(stream, |it| it.response_headers(&Call, end != 0));
    action(None)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(stream: u32, _count: u32) -> u32 {
    table::with_stream(stream, |it| it.response_trailers(&Call));
    action(None)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    if table::with_stream(id, |it| it.log(&Call)).is_none() {
        let failed = table::with_instance(id, |it| it.take_failed_streams());
        for stream in failed.into_iter().flatten() {
            table::with_stream(stream, |it| it.report_failure(&Call));
        }
    }
}

/// The ABI's number for an action. A request of an unknown context continues.
const fn action(action: Option<Action>) -> u32 {
    match action {
        None | Some(Action::Continue) => 0,
        Some(Action::Pause) => 1,
    }
}

/// The custom section by which `sidetrack package` identifies the module; it holds the version.
/// Proxies skip it.
#[used]
#[unsafe(link_section = "sidetrack")]
static MARK: [u8; VERSION.len()] = match VERSION.as_bytes().first_chunk() {
    Some(version) => *version,
    None => [0; VERSION.len()],
};

/// A module that crashes on demand is marked, and is never packaged.
const VERSION: &str = if cfg!(feature = "crash-on-demand") {
    concat!(env!("CARGO_PKG_VERSION"), "+crash-on-demand")
} else {
    env!("CARGO_PKG_VERSION")
};
