//! Envoy as the traits of `sidetrack-proxy` see it: each method is one host call.

use core::time::Duration;

use sidetrack::breaker::{Store, SwapError};
use sidetrack::effects::{Effect, Op};
use sidetrack_proxy::host::{Exchange, Host, Kind, Level, SeriesId, Sink};

use crate::headers::Headers;
use crate::host::{self, Failed, Map, Property};
use crate::success::SuccessCheck;

/// The VM's view of Envoy.
#[derive(Clone, Copy)]
pub(crate) struct Envoy;

impl Host for Envoy {
    type SuccessCheck = SuccessCheck;

    #[inline]
    fn now(&self) -> Duration {
        Duration::from_nanos(host::now_nanoseconds().unwrap_or_default())
    }

    #[inline]
    fn uptime(&self) -> Duration {
        Duration::from_nanos(host::monotonic_nanoseconds().unwrap_or_default())
    }

    fn random(&self) -> u64 {
        host::random().unwrap_or_default()
    }

    fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Warning => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, text);
    }

    fn is_set(&self, variable: &str) -> bool {
        host::is_set(variable)
    }

    fn start_ticks(&self, period: Duration) -> bool {
        u32::try_from(period.as_millis()).is_ok_and(|period| host::set_tick_period(period).is_ok())
    }

    fn prepare_success_check(&self, once: bool) -> SuccessCheck {
        SuccessCheck::prepare(once)
    }
}

/// Envoy's shared data.
impl Store for Envoy {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared(key)
    }

    fn version(&self, key: &str) -> u32 {
        host::shared_version(key)
    }

    fn swap(&self, key: &str, value: &[u8], version: u32) -> Result<(), SwapError> {
        host::set_shared(key, value, version).map_err(|failed| match failed {
            Failed::CONFLICT => SwapError::Conflict,
            _ => SwapError::Unavailable,
        })
    }
}

/// Envoy's statistics. A stat's name carries its labels as Istio's `extraStatTags` expects them,
/// `label=.=value;.;` before the metric's name; Envoy's `stats_tags` turn them into labels.
impl Sink for Envoy {
    const FAMILY: &'static str = "wasmcustom.*";

    fn define(&self, kind: Kind, labels: &[(&str, &str)], metric: &str) -> Option<SeriesId> {
        let labels: String =
            labels.iter().map(|(label, value)| format!("{label}=.={value};.;")).collect();
        let name = labels + metric;
        let kind = match kind {
            Kind::Counter => host::Kind::Counter,
            Kind::Gauge => host::Kind::Gauge,
        };
        let defined = host::define_metric(kind, &name);
        if let Err(failed) = defined {
            let text = format!("Envoy refused the metric {name} (status {})", failed.0);
            host::log(host::Level::Warn, &text);
        }
        defined.ok().map(SeriesId)
    }

    #[inline]
    fn add(&self, counter: SeriesId, count: u32) {
        host::increment(counter.0, count.into()).ok();
    }

    fn set(&self, gauge: SeriesId, value: u64) {
        host::set_gauge(gauge.0, value).ok();
    }

    fn value(&self, series: SeriesId) -> Option<u64> {
        host::metric(series.0).ok()
    }
}

/// The stream whose callback runs.
pub(crate) struct Call;

impl Exchange for Call {
    type Headers = Headers;
    type Host = Envoy;

    fn connection(&self) -> u64 {
        number(&Property::CONNECTION).cast_unsigned()
    }

    #[inline]
    fn request_headers(&self) -> Option<Headers> {
        let headers = Headers::new(host::header_map(Map::Request).ok()?);
        #[cfg(feature = "crash-on-demand")]
        if sidetrack::request::Request::first(&headers, "x-test-crash").is_some() {
            std::process::abort();
        }
        Some(headers)
    }

    fn request_body(&self, most: usize) -> Vec<u8> {
        host::request_body(most).unwrap_or_default()
    }

    fn replace_request_body(&self, size: usize, body: &[u8]) -> bool {
        host::set_request_body(size, body).is_ok()
    }

    fn remove_request_header(&self, name: &str) {
        host::remove_header(Map::Request, name).ok();
    }

    fn request_trailers(&self) -> Option<Headers> {
        host::header_map(Map::RequestTrailers).ok().map(Headers::new)
    }

    fn remove_request_trailer(&self, name: &str) {
        host::remove_header(Map::RequestTrailers, name).ok();
    }

    /// Envoy selects the route again by itself: it does so for modules of this ABI.
    #[inline]
    fn write_request_header(&self, effect: &Effect<'_>) {
        write(Map::Request, effect);
    }

    fn response_headers(&self) -> Option<Headers> {
        host::header_map(Map::Response).ok().map(Headers::new)
    }

    fn remove_response_header(&self, name: &str) {
        host::remove_header(Map::Response, name).ok();
    }

    #[inline]
    fn write_response_header(&self, effect: &Effect<'_>) {
        write(Map::Response, effect);
    }

    fn response_header(&self, name: &str) -> Option<Vec<u8>> {
        host::header(Map::Response, name).ok()
    }

    fn response_trailers(&self) -> Option<Headers> {
        host::header_map(Map::ResponseTrailers).ok().map(Headers::new)
    }

    fn remove_response_trailer(&self, name: &str) {
        host::remove_header(Map::ResponseTrailers, name).ok();
    }

    fn write_filter_state(&self, key: &str, value: &[u8]) {
        host::set_property(key, value).ok();
    }

    fn has_filter_state(&self, key: &str) -> bool {
        host::property(key).is_ok_and(|value| !value.is_empty())
    }

    #[inline]
    fn is_success(&self, check: &SuccessCheck) -> bool {
        check.is_success()
    }

    fn response_code(&self) -> u32 {
        number(&Property::RESPONSE_CODE).try_into().unwrap_or(0)
    }

    fn response_flags(&self) -> u64 {
        number(&Property::RESPONSE_FLAGS).cast_unsigned()
    }

    fn attempts(&self) -> u64 {
        number(&Property::ATTEMPTS).cast_unsigned()
    }

    fn is_connect(&self) -> bool {
        host::bytes_property(&Property::METHOD).is_ok_and(|method| method == b"CONNECT")
    }

    fn is_http3(&self) -> bool {
        host::bytes_property(&Property::PROTOCOL).is_ok_and(|protocol| protocol == b"HTTP/3")
    }

    fn is_from_upstream(&self) -> bool {
        host::bytes_property(&Property::CODE_DETAILS).is_ok_and(|it| it == b"via_upstream")
    }

    fn has_route(&self, prefix: &str) -> bool {
        host::bytes_property(&Property::ROUTE_NAME)
            .is_ok_and(|name| name.starts_with(prefix.as_bytes()))
    }
}

/// Writes a header. One that Envoy refuses is left out: without it the request takes the baseline's
/// route.
fn write(map: Map, effect: &Effect<'_>) {
    let written = match effect.op {
        Op::Set => host::set_header(map, effect.name, &effect.value),
        Op::Add | Op::Append => host::add_header(map, effect.name, &effect.value),
        Op::Remove => host::remove_header(map, effect.name),
    };
    written.ok();
}

/// An integer attribute of the stream; 0 if it has no value.
fn number(property: &Property) -> i64 {
    host::integer_property(property).unwrap_or(0)
}
