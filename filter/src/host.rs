//! Envoy's host calls that the filter uses, each with a `Result`.
//!
//! Each returns the host's status, and none panics: a panic disables the filter on a worker. Values
//! are bytes; nothing here assumes text.

#![expect(
    unsafe_code,
    reason = "host calls are foreign functions; this file is the only one that makes them"
)]

use core::alloc::Layout;
use core::ptr::null_mut;

/// The status of a host call that failed, as in the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(crate) u32);

impl Failed {
    /// Another VM has changed the shared value in the meantime.
    pub(crate) const CONFLICT: Self = Self(8);
}

pub(crate) type Result<T> = core::result::Result<T, Failed>;

/// The header maps of a stream, by their number in the ABI.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    RequestTrailers = 1,
    Response = 2,
    ResponseTrailers = 3,
}

/// The kinds of metrics, by their number in the ABI.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Kind {
    Counter = 0,
    Gauge = 1,
}

/// Levels of Envoy's log, by their number in the ABI.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Level {
    Warn = 3,
    Error = 4,
    Critical = 5,
}

const REQUEST_BODY: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;
const OK: u32 = 0;

/// The plugin configuration; empty without one.
pub(crate) fn configuration() -> Result<Vec<u8>> {
    buffer(PLUGIN_CONFIGURATION, usize::MAX)
}

/// The part of the request's body that has arrived, up to `most` bytes.
pub(crate) fn request_body(most: usize) -> Result<Vec<u8>> {
    buffer(REQUEST_BODY, most)
}

/// Replaces the first `size` bytes of the request's body that has arrived.
pub(crate) fn set_request_body(size: usize, body: &[u8]) -> Result<()> {
    // SAFETY: the bytes are valid for the call.
    done(unsafe { proxy_set_buffer_bytes(REQUEST_BODY, 0, size, body.as_ptr(), body.len()) })
}

fn buffer(kind: u32, most: usize) -> Result<Vec<u8>> {
    returned(|data, size| {
        // SAFETY: the out pointers are valid for the call.
        unsafe { proxy_get_buffer_bytes(kind, 0, most, data, size) }
    })
}

/// Whether the configuration of the module's VM sets this variable.
pub(crate) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Wall time in nanoseconds since 1970.
pub(crate) fn now_nanoseconds() -> Result<u64> {
    let mut time = 0;
    // SAFETY: the out pointer is valid for the call.
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// The time in nanoseconds of a clock that is never set.
pub(crate) fn monotonic_nanoseconds() -> Result<u64> {
    const MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the out pointer is valid for the call.
    done(unsafe { clock_time_get(MONOTONIC, 1, &raw mut time) })?;
    Ok(time)
}

/// 64 random bits.
pub(crate) fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is valid for its length.
    done(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) })?;
    Ok(u64::from_le_bytes(bytes))
}

/// A whole header map, serialized as the ABI describes.
pub(crate) fn header_map(map: Map) -> Result<Vec<u8>> {
    // SAFETY: the out pointers are valid for the call.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
}

/// The value of a header; the first one, if there are several.
pub(crate) fn header(map: Map, name: &str) -> Result<Vec<u8>> {
    returned(|data, size| {
        // SAFETY: the name and the out pointers are valid for the call.
        unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) }
    })
}

/// Sets a header and removes its other values.
pub(crate) fn set_header(map: Map, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: both strings are valid for the call.
    done(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Adds a value to a header.
pub(crate) fn add_header(map: Map, name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: both strings are valid for the call.
    done(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all values of a header.
pub(crate) fn remove_header(map: Map, name: &str) -> Result<()> {
    // SAFETY: the string is valid for the call.
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// An expression that Envoy has compiled for this configuration.
#[derive(Clone, Copy)]
pub(crate) struct Expression([u8; 4]);

/// Compiles an expression over attributes, in CEL. Some builds of Envoy have no CEL.
pub(crate) fn expression(text: &str) -> Result<Expression> {
    const NAME: &str = "expr_create";
    let token = returned(|data, size| {
        // SAFETY: the name, the text and the out pointers are valid for the call.
        unsafe {
            proxy_call_foreign_function(
                NAME.as_ptr(),
                NAME.len(),
                text.as_ptr(),
                text.len(),
                data,
                size,
            )
        }
    })?;
    token.try_into().map(Expression).map_err(|_| Failed(u32::MAX))
}

/// Evaluates an expression for the current stream and returns the length of its value in bytes. The
/// value itself stays in Envoy, which then need not allocate memory in the VM.
pub(crate) fn length_of(expression: Expression) -> Result<usize> {
    const NAME: &str = "expr_evaluate";
    let (token, mut size) = (expression.0, 0);
    // SAFETY: name, token and out pointer are valid for the call; null requests no value.
    done(unsafe {
        proxy_call_foreign_function(
            NAME.as_ptr(),
            NAME.len(),
            token.as_ptr(),
            token.len(),
            null_mut(),
            &raw mut size,
        )
    })?;
    Ok(size)
}

/// An integer attribute of the stream; `None` if it has no value.
pub(crate) fn integer_property(path: &Property) -> Option<i64> {
    let value = bytes_property(path).ok()?;
    Some(i64::from_le_bytes(value.try_into().ok()?))
}

/// Sets the stream's filter state `wasm.<name>`, which the access log can read.
pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: both are valid for the call.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// The bytes of an attribute.
pub(crate) fn bytes_property(path: &Property) -> Result<Vec<u8>> {
    property(path.0)
}

/// The bytes of an attribute by its path, or of the stream's filter state `wasm.<path>`.
pub(crate) fn property(path: &str) -> Result<Vec<u8>> {
    // SAFETY: the path and the out pointers are valid for the call.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// The path of an attribute, its parts separated by NUL.
pub(crate) struct Property(&'static str);

impl Property {
    pub(crate) const CONNECTION: Self = Self("connection_id");
    pub(crate) const RESPONSE_CODE: Self = Self("response\0code");
    pub(crate) const RESPONSE_FLAGS: Self = Self("response\0flags");
    pub(crate) const CODE_DETAILS: Self = Self("response\0code_details");
    pub(crate) const PROTOCOL: Self = Self("request\0protocol");
    pub(crate) const METHOD: Self = Self("request\0method");
    pub(crate) const ATTEMPTS: Self = Self("upstream\0request_attempt_count");
    pub(crate) const ROUTE_NAME: Self = Self("xds\0route_name");
    pub(crate) const PLUGIN_NAME: Self = Self("plugin_name");
}

/// Defines a metric, or finds it by its name, and returns its id in this VM.
pub(crate) fn define_metric(kind: Kind, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: the name and the out pointer are valid for the call.
    done(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter.
pub(crate) fn increment(id: u32, by: i64) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_increment_metric(id, by) })
}

/// The value of a counter or a gauge, over all VMs.
pub(crate) fn metric(id: u32) -> Result<u64> {
    let mut value = 0;
    // SAFETY: the out pointer is valid for the call.
    done(unsafe { proxy_get_metric(id, &raw mut value) })?;
    Ok(value)
}

/// Sets a gauge.
pub(crate) fn set_gauge(id: u32, value: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_record_metric(id, value) })
}

/// A value that all VMs of the proxy share, and its version; `None` if it was never set.
pub(crate) fn shared(key: &str) -> Option<(Vec<u8>, u32)> {
    let (value, version) = shared_value(key).ok()?;
    (!value.is_empty()).then_some((value, version))
}

/// The version of a shared value; 0 if it was never set. If the value is empty, the host allocates
/// no memory in the VM.
pub(crate) fn shared_version(key: &str) -> u32 {
    shared_value(key).map_or(0, |(_, version)| version)
}

fn shared_value(key: &str) -> Result<(Vec<u8>, u32)> {
    let mut version = 0;
    let value = returned(|data, size| {
        // SAFETY: the key and the out pointers are valid for the call.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version) }
    })?;
    Ok((value, version))
}

/// Sets a value that all VMs of the proxy share, if it still has this version. Version 0 sets it in
/// any case.
pub(crate) fn set_shared(key: &str, value: &[u8], version: u32) -> Result<()> {
    // SAFETY: key and value are valid for the call.
    done(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    })
}

/// Makes the calls that follow in this callback act on another context of this VM.
pub(crate) fn act_on(context: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Sets the period of the ticks in milliseconds.
pub(crate) fn set_tick_period(milliseconds: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// Writes a line to Envoy's log.
pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: the text is valid for the call. A line that Envoy refuses is lost.
    unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

const fn done(status: u32) -> Result<()> {
    if status == OK { Ok(()) } else { Err(Failed(status)) }
}

/// Runs a call that returns bytes.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    done(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host took this block from `proxy_on_memory_allocate`, which allocates like a box
    // of this size, filled it, and does not keep it.
    Ok(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(data, size)) }.into_vec())
}

/// Allocates memory for the values that host calls return. The host fills it, so it is not cleared.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the layout is not empty.
        Ok(layout) if size > 0 => unsafe { std::alloc::alloc(layout) },
        // The host's call fails.
        _ => null_mut(),
    }
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        kind: u32,
        start: usize,
        size: usize,
        data: *const u8,
        data_size: usize,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, size: usize) -> u32;
}
