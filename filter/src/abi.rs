//! What Envoy calls: the exports of the module, and the contexts that it calls them for.
//!
//! These are written by hand, on the ABI 0.2.1 of proxy-wasm, and not by its SDK, for two reasons that are both the price
//! of an entry into the VM (docs/performance.md). The SDK exports every callback there is, so that Envoy enters the VM
//! for each piece of each answer's body, for trailers and for the end of a stream, only to hear that nobody cares. And
//! it looks each context up in several tables. Here is exported what the filter needs and nothing else.
//!
//! Deliberately absent: `proxy_on_response_body`, `proxy_on_response_trailers` and `proxy_on_done`; a stream is freed by
//! `proxy_on_delete`, which Envoy calls for streams that never got as far as their log as well. With HTTP/3 the log
//! may come later still, when the caller has acknowledged the answer.

#![expect(
    unsafe_code,
    reason = "exported names are unsafe attributes, and constructors are C's; nothing else here is unsafe"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::failures;
use crate::host;
use crate::root::Root;
use crate::stream::{Action, Stream};

thread_local! {
    static ROOTS: RefCell<BTreeMap<u32, Root>> = const { RefCell::new(BTreeMap::new()) };
    static STREAMS: RefCell<BTreeMap<u32, Box<Stream>>> = const { RefCell::new(BTreeMap::new()) };
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the C library's constructors, called once, before anything else.
    unsafe { __wasm_call_ctors() };
    // What a panic says is in the log before the module traps.
    std::panic::set_hook(Box::new(|panic| host::log(host::Level::Critical, &panic.to_string())));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    if parent == 0 {
        ROOTS.with_borrow_mut(|roots| roots.insert(id, Root::default()));
        return;
    }
    let runtime = ROOTS.with_borrow(|roots| roots.get(&parent).and_then(Root::runtime));
    STREAMS.with_borrow_mut(|streams| streams.insert(id, Box::new(Stream::new(runtime))));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    match STREAMS.with_borrow_mut(|streams| streams.remove(&id)) {
        Some(mut stream) => {
            if stream.is_waiting() {
                failures::wait_no_more(id);
            }
            stream.deleted();
        }
        None => {
            ROOTS.with_borrow_mut(|roots| roots.remove(&id));
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, _size: u32) -> u32 {
    of_root(root, Root::configure);
    // Envoy gives up the plugin, and every other listener that holds it, when a configuration is refused.
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    of_root(root, Root::tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(stream: u32, _count: u32, end: u32) -> u32 {
    action(of_stream(stream, |it| it.request_headers(end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(stream: u32, size: usize, end: u32) -> u32 {
    action(of_stream(stream, |it| it.request_body(size, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(stream: u32, _count: u32) -> u32 {
    action(of_stream(stream, Stream::request_trailers))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(stream: u32, _count: u32, _end: u32) -> u32 {
    of_stream(stream, Stream::response_headers);
    action(None)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    match of_stream(id, Stream::log) {
        Some(true) => failures::wait(id),
        Some(false) => {}
        None if of_root(id, |root| root.hears_of_failures()) == Some(true) => {
            for stream in failures::concerned() {
                of_stream(stream, Stream::failed);
            }
        }
        None => {}
    }
}

/// `None` when Envoy speaks of a context that it has not created.
fn of_stream<T>(id: u32, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
    STREAMS.with_borrow_mut(|streams| streams.get_mut(&id).map(|stream| act(stream)))
}

fn of_root<T>(id: u32, act: impl FnOnce(&mut Root) -> T) -> Option<T> {
    ROOTS.with_borrow_mut(|roots| roots.get_mut(&id).map(act))
}

/// A request of a context that is not known goes on.
const fn action(action: Option<Action>) -> u32 {
    match action {
        None | Some(Action::Continue) => 0,
        Some(Action::Pause) => 1,
    }
}
