//! Traits that an adapter implements for its proxy.
//!
//! [`Host`] is what a plugin instance needs of the proxy, [`Exchange`] what one request needs. Both
//! are static parameters: a call costs what the adapter's code costs. No method fails: an adapter
//! returns the value that the method's documentation names for the case that the proxy refuses.

use core::time::Duration;

use sidetrack::breaker::Store;
use sidetrack::effects::Effect;
use sidetrack::request::Request;

/// A proxy as a plugin instance sees it: one worker's view of clock, log, statistics and shared
/// storage. A clone is the same host.
pub trait Host: Store + Sink + Clone {
    /// What the host prepares once per configuration for [`Exchange::is_success`].
    type SuccessCheck;

    /// The time since 1970, as exactly as the proxy has it. Zero without a clock: then rollouts
    /// have not started, and all units get the baseline.
    fn now(&self) -> Duration;

    /// The time of a clock that is never set, from a fixed moment. Durations are measured by it.
    fn uptime(&self) -> Duration;

    /// 64 random bits; zero without a source.
    fn random(&self) -> u64;

    /// Writes a line to the proxy's log.
    fn log(&self, level: Level, text: &str);

    /// Whether the operator sets this variable, one of [`sidetrack::names::variable`].
    fn is_set(&self, variable: &str) -> bool;

    /// Requests a call of [`Instance::tick`](crate::instance::Instance::tick) at this period.
    /// Returns whether the calls will come.
    fn start_ticks(&self, period: Duration) -> bool;

    /// Prepares [`Exchange::is_success`]. With `once`, a request that was sent upstream more than
    /// once is not a success.
    fn prepare_success_check(&self, once: bool) -> Self::SuccessCheck;
}

/// Levels of the proxy's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is limited or has changed by itself.
    Warning,
    /// An operator has to act.
    Error,
}

/// Statistics of the proxy, shared by all workers.
pub trait Sink {
    /// The proxy's name for all series of the filter, as an operator's stats matcher may exclude
    /// it.
    const FAMILY: &'static str;

    /// Defines a series, or finds the one with the same name and labels; `None` if the proxy
    /// refuses it.
    fn define(&self, kind: Kind, labels: &[(&str, &str)], name: &str) -> Option<SeriesId>;

    /// Adds to a counter.
    fn add(&self, counter: SeriesId, count: u32);

    /// Sets a gauge.
    fn set(&self, gauge: SeriesId, value: u64);

    /// The value of a series over all workers; `None` if the proxy does not return it.
    fn value(&self, series: SeriesId) -> Option<u64>;
}

/// Kinds of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is set.
    Gauge,
}

/// The proxy's number for a series, valid on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesId(pub u32);

/// One request and its response, during a callback.
pub trait Exchange {
    /// The proxy that serves the request.
    type Host: Host;
    /// The headers of a request or a response.
    type Headers: Headers;

    /// The number of the client's connection, ascending on the proxy; 0 if the proxy does not return
    /// it.
    fn connection(&self) -> u64;

    /// Reads the headers of the request; `None` if the proxy does not return them.
    fn request_headers(&self) -> Option<Self::Headers>;

    /// Reads the part of the request's body that has arrived, up to `most` bytes; empty if the
    /// proxy does not return it.
    fn request_body(&self, most: usize) -> Vec<u8>;

    /// Replaces the request's body, of which all `size` bytes have arrived. `false` if the proxy
    /// refuses it.
    fn replace_request_body(&self, size: usize, body: &[u8]) -> bool;

    /// Removes all values of a header of the request. `name` is lower case.
    fn remove_request_header(&self, name: &str);

    /// Reads the trailers of the request, in the callback for them; `None` if the proxy does not
    /// return them.
    fn request_trailers(&self) -> Option<Self::Headers>;

    /// Removes all values of a trailer of the request, once the trailers have arrived.
    fn remove_request_trailer(&self, name: &str);

    /// Writes a header of the request. Later, the proxy selects the route by the headers.
    fn write_request_header(&self, effect: &Effect<'_>);

    /// Reads the headers of the response; `None` if the proxy does not return them.
    fn response_headers(&self) -> Option<Self::Headers>;

    /// Removes all values of a header of the response. `name` is lower case.
    fn remove_response_header(&self, name: &str);

    /// Writes a header of the response.
    fn write_response_header(&self, effect: &Effect<'_>);

    /// The first value of a header of the response, in the callback for them or once the response
    /// has ended; `None` without one.
    fn response_header(&self, name: &str) -> Option<Vec<u8>>;

    /// Reads the trailers of the response, in the callback for them; `None` if the proxy does not
    /// return them.
    fn response_trailers(&self) -> Option<Self::Headers>;

    /// Removes all values of a trailer of the response, in the callback for them.
    fn remove_response_trailer(&self, name: &str);

    /// Writes a value that the access log and other filters of the request can read: one of
    /// [`sidetrack::names::filter_state`].
    fn write_filter_state(&self, key: &str, value: &[u8]);

    /// Whether a filter of this request has written this value.
    fn has_filter_state(&self, key: &str) -> bool;

    /// Whether the request certainly succeeded: the status is below 400, and there are no response
    /// flags. `false` if it did not or if the proxy does not know; the methods below then return
    /// the details. Callable once the response has ended.
    fn is_success(&self, check: &<Self::Host as Host>::SuccessCheck) -> bool;

    /// The HTTP status of the response; 0 without a response.
    fn response_code(&self) -> u32;

    /// Envoy's response flags as a bit set, see [`sidetrack::outcome::flag`]; 0 if unknown.
    fn response_flags(&self) -> u64;

    /// How often the request was sent upstream; 0 if no host was tried.
    fn attempts(&self) -> u64;

    /// Whether the request's method is CONNECT.
    fn is_connect(&self) -> bool;

    /// Whether the client speaks HTTP/3.
    fn is_http3(&self) -> bool;

    /// Whether the response's status is the upstream's, and not the proxy's own.
    fn is_from_upstream(&self) -> bool;

    /// Whether the name of the request's route starts with this prefix, one of
    /// [`sidetrack::names::route`].
    fn has_route(&self, prefix: &str) -> bool;
}

/// The headers of a request or a response, as they were when they were read.
pub trait Headers: Request {
    /// The names of all headers, in lower case.
    fn names(&self) -> impl Iterator<Item = &[u8]>;

    /// The bytes of all names and values, roughly.
    fn size(&self) -> usize;
}
