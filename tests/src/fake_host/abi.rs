//! The constants of proxy-wasm ABI 0.2.1, and the names a host of this ABI knows.
//!
//! Numbers are those of proxy-wasm-cpp-host, the library inside Envoy.

/// What a host call returns. The numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The asked-for thing does not exist.
    NotFound = 1,
    /// The arguments are wrong, or the thing cannot be used in this phase.
    BadArgument = 2,
    /// A value could not be written as bytes.
    SerializationFailure = 3,
    /// Bytes could not be read as a value.
    ParseFailure = 4,
    /// A pointer leads outside the guest's memory.
    InvalidMemoryAccess = 6,
    /// A queue is empty.
    Empty = 7,
    /// Shared data changed since it was read.
    CasMismatch = 8,
    /// The host failed.
    InternalFailure = 10,
    /// The host does not do this.
    Unimplemented = 12,
}

/// What a callback of a stream answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream goes on.
    Continue,
    /// The stream waits, or was answered by the filter itself.
    Pause,
}

/// Levels of the host's log, least important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2; standard output of the guest also lands here.
    Info,
    /// 3
    Warn,
    /// 4; standard error of the guest also lands here.
    Error,
    /// 5; the SDK's panic hook writes here.
    Critical,
}

impl LogLevel {
    pub(super) fn from_abi(level: u32) -> Option<Self> {
        Some(match level {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

/// Host functions that Envoy has and this fake does not: importing them is fine, calling them is a trap.
pub(super) const UNSUPPORTED: &[&str] = &[
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
];

/// The only host functions that Envoy allows while `_initialize` runs.
pub(super) const ALLOWED_AT_START: &[&str] = &[
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "fd_write",
    "clock_time_get",
    "random_get",
    "environ_get",
    "environ_sizes_get",
    "args_get",
    "args_sizes_get",
    "proc_exit",
];
