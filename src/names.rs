//! Names that two parts of Sidetrack share, each defined once.
//!
//! The filter writes these names; rendered configurations, rules and dashboards refer to them; the analysis and the
//! demo read them. All of these parts import them from here, so a rename breaks the build, or changes every place
//! together. They are public as well: a rename also breaks the dashboards, rules and log pipelines of users.
//!
//! Header names are not here: the experiment file sets their prefix, see [`crate::plan::HeaderNames`].

/// Metrics that the filter defines, as Prometheus exposes them, and those that `analyze` writes for Prometheus.
pub mod metric {
    /// The prefix of all of them.
    pub const PREFIX: &str = "ab_test_";

    /// Gauge by plugin: the first 32 bits of the hash of the configuration in force, 0 before the first good one.
    pub const CONFIG_HASH: &str = "ab_test_config_hash";
    /// Counter by plugin: bad configurations, in place of which the last good one stays in force.
    pub const CONFIG_REJECTED: &str = "ab_test_config_rejected_total";
    /// Gauge by plugin: other plugins of the proxy with the same `header_prefix`.
    pub const PREFIX_SHARED: &str = "ab_test_prefix_shared";
    /// Gauge by plugin: 1 if listeners have different experiment files under the plugin's name.
    pub const PLUGIN_SHARED: &str = "ab_test_plugin_shared";
    /// Counter by plugin: requests that passed because another plugin with the same `header_prefix` had decided them.
    pub const YIELDED: &str = "ab_test_yielded_total";
    /// Counter: requests that passed without a decision because the host did not return their headers.
    pub const UNDECIDED: &str = "ab_test_undecided_total";

    /// Counter by experiment, variant, phase and status: requests served.
    pub const REQUESTS: &str = "ab_test_requests_total";
    /// Counter by experiment and variant: requests of a candidate that the baseline served.
    pub const FALLBACKS: &str = "ab_test_fallbacks_total";
    /// Counter by experiment: assignments that a tester overrode.
    pub const OVERRIDES: &str = "ab_test_overrides_total";
    /// Counter by experiment and reason: requests without a unit.
    pub const MISSING_UNIT: &str = "ab_test_missing_unit_total";
    /// Counter by experiment: requests that were copied to a mirror.
    pub const MIRRORED: &str = "ab_test_mirrored_total";

    /// Gauge by experiment and variant: the weight in force, in parts per million.
    pub const WEIGHT: &str = "ab_test_variant_weight_ppm";

    /// Gauge by experiment and candidate: one of [`super::breaker_state`].
    pub const BREAKER_STATE: &str = "ab_test_breaker_state";
    /// Counter by experiment and candidate: how often the breaker opened.
    pub const BREAKER_TRIPS: &str = "ab_test_breaker_trips_total";
    /// Counter by experiment and candidate: how often a breaker in a dry run would have opened.
    pub const BREAKER_WOULD_TRIP: &str = "ab_test_breaker_would_trip_total";

    /// Histogram by experiment and variant: seconds to the response headers, in [`crate::outcome::TIME_BOUNDS`].
    pub const RESPONSE_TIME_BUCKET: &str = "ab_test_response_time_seconds_bucket";
    /// The number of its observations.
    pub const RESPONSE_TIME_COUNT: &str = "ab_test_response_time_seconds_count";
    /// Their sum in seconds.
    pub const RESPONSE_TIME_SUM: &str = "ab_test_response_time_seconds_sum";

    /// Gauge by experiment and variant: the share of correct predictions, from `analyze --prometheus-out`.
    pub const MODEL_ACCURACY: &str = "ab_test_model_accuracy";
    /// Gauge by experiment, variant and metric: a business metric, from `analyze --prometheus-out`.
    pub const BUSINESS_IMPACT: &str = "ab_test_business_impact";
}

/// Series that the recording rules of `render prometheus` compute.
pub mod record {
    /// Requests per second by variant.
    pub const REQUESTS_RATE: &str = "ab_test:requests:rate5m";
    /// The share of requests that each variant served.
    pub const REQUESTS_SHARE: &str = "ab_test:requests:share5m";
    /// The share of errors by variant.
    pub const ERRORS: &str = "ab_test:errors:ratio5m";
    /// What the baseline would serve if all breakers opened, relative to what it can serve.
    pub const TAKEOVER: &str = "ab_test:takeover:ratio5m";
    /// The share of slow responses by variant.
    pub const SLOW: &str = "ab_test:slow:ratio5m";
    /// The median of the seconds to the response headers.
    pub const RESPONSE_TIME_P50: &str = "ab_test:response_time_seconds:p50_5m";
    /// Their 95th percentile.
    pub const RESPONSE_TIME_P95: &str = "ab_test:response_time_seconds:p95_5m";
    /// Their 99th percentile.
    pub const RESPONSE_TIME_P99: &str = "ab_test:response_time_seconds:p99_5m";
    /// Requests by assigned variant.
    pub const ASSIGNED: &str = "ab_test:assigned:increase30m";
    /// Shares of the requests by assigned variant.
    pub const ASSIGNED_SHARE: &str = "ab_test:assigned:share30m";
    /// The distance of these shares from the weights in force.
    pub const SAMPLE_RATIO_DRIFT: &str = "ab_test:sample_ratio:drift30m";
    /// The weights of the experiment file, by phase.
    pub const TARGET: &str = "ab_test:target:ratio";
    /// The breaker's `error_rate`.
    pub const ERROR_LIMIT: &str = "ab_test:error_limit:ratio";
    /// The breaker's `slow.over` in seconds.
    pub const SLOW_LIMIT: &str = "ab_test:slow_limit:seconds";
    /// 1 while a phase is in force.
    pub const PHASE_IN_FORCE: &str = "ab_test:phase:in_force";
}

/// Labels of the metrics.
pub mod label {
    /// The experiment.
    pub const EXPERIMENT: &str = "experiment";
    /// The variant that served.
    pub const MODEL: &str = "model_name";
    /// The phase of a rollout; absent without one.
    pub const PHASE: &str = "phase";
    /// How the request ended; one of [`super::status`].
    pub const STATUS: &str = "status";
    /// The upper bound of a histogram's bucket, in seconds.
    pub const LE: &str = "le";
    /// The name of the plugin in Envoy's configuration: a proxy may have several, each with its own experiment file.
    pub const PLUGIN: &str = "plugin";
    /// Why a request has no unit; one of [`super::missing`].
    pub const REASON: &str = "reason";
    /// The name of a business metric; the filter does not use it.
    pub const METRIC_TYPE: &str = "metric_type";

    /// The labels in the names of the filter's stats, which Envoy has to extract.
    pub const ALL: [&str; 7] = [EXPERIMENT, MODEL, PHASE, STATUS, LE, PLUGIN, REASON];
}

/// Values of the label [`label::STATUS`].
pub mod status {
    /// The request was answered.
    pub const SUCCESS: &str = "success";
    /// The request failed.
    pub const ERROR: &str = "error";
    /// The client left before the end of the response.
    pub const ABORTED: &str = "aborted";
}

/// Values of the label [`label::REASON`].
pub mod missing {
    /// No source of the unit has a value, or the body has no place for a variant's value.
    pub const ABSENT: &str = "absent";
    /// The body is longer than `settings.body_limit`.
    pub const BODY_TOO_LARGE: &str = "body_too_large";
    /// The body is not JSON, is compressed, has no announced length, or the proxy does not let the filter wait for it.
    pub const BODY_UNREADABLE: &str = "body_unreadable";
    /// Too many requests waited for their bodies.
    pub const TOO_MANY_HELD: &str = "too_many_held";
}

/// Values of the metric [`metric::BREAKER_STATE`].
pub mod breaker_state {
    /// The candidate gets its units.
    pub const CLOSED: u64 = 0;
    /// The candidate gets a share of its units.
    pub const HALF_OPEN: u64 = 1;
    /// The baseline serves the candidate's units.
    pub const OPEN: u64 = 2;
}

/// Environment variables of the filter's VM. Each one announces what the filter cannot detect by itself.
pub mod variable {
    /// Envoy lets the filter hold headers back (`allow_on_headers_stop_iteration`). Without that switch a request that
    /// is held back never continues.
    pub const WAIT_FOR_BODIES: &str = "SIDETRACK_WAIT_FOR_BODIES";
    /// Envoy writes an access log with the filter state of [`super::filter_state`]. Setting it costs every request.
    pub const EXPOSURES: &str = "SIDETRACK_EXPOSURES";
    /// Routes named with [`super::route::FAILOVER`] retry failed requests on the baseline. Finding out whether one did
    /// costs every response a read.
    pub const FAILOVER: &str = "SIDETRACK_FAILOVER";
    /// A route for each variant adds the headers with the experiment and the variant, which is cheaper in Envoy.
    pub const ROUTES_TELL: &str = "SIDETRACK_ROUTES_TELL";
    /// All routes remove the filter's headers from the models' responses, which is cheaper in Envoy.
    pub const ROUTES_CLEAN: &str = "SIDETRACK_ROUTES_CLEAN";
}

/// Keys of `settings.proxy` in an experiment file.
pub mod proxy_setting {
    /// In place of [`super::variable::EXPOSURES`].
    pub const EXPOSURES: &str = "exposures";
}

/// Prefixes of the names of routes.
pub mod route {
    /// A route that retries on the baseline what a candidate failed; the candidate's cluster follows.
    pub const FAILOVER: &str = "sidetrack-failover:";
    /// The stat prefix of a route for requests without the filter's headers; the experiment follows.
    pub const BYPASS: &str = "sidetrack-bypass:";
    /// The same in Istio, where the stat prefix becomes part of a metric's name.
    pub const ISTIO_BYPASS: &str = "sidetrack-bypass-";
}

/// How the names of the filter's headers begin by default.
pub const HEADER_PREFIX: &str = "x-ab-";

/// Keys of the filter state that the access log reads.
pub mod filter_state {
    /// Envoy puts this in front of every key that a wasm filter sets.
    pub const PREFIX: &str = "wasm.";

    /// The assignment, see [`crate::exposure`]. See [`of`].
    pub const EXPOSURE: &str = "sidetrack.exposure";
    /// `true` when the baseline answered what the candidate failed. See [`of`].
    pub const RESCUED: &str = "sidetrack.rescued";
    /// A plugin has decided the request; the header prefix follows. Written only while plugins share a prefix.
    pub const DECIDED: &str = "sidetrack.decided.";

    /// A key of a plugin with this header prefix: the prefix follows unless it is the default, so that plugins with
    /// different prefixes in one filter chain do not overwrite each other's values.
    #[must_use]
    pub fn of(key: &str, header_prefix: &str) -> String {
        if header_prefix == super::HEADER_PREFIX {
            key.to_owned()
        } else {
            format!("{key}.{header_prefix}")
        }
    }
}

/// Fields of an exposure: one line of the access log, as JSON. The field [`log::EXPOSURE`] contains some of them, see
/// [`crate::exposure`].
pub mod log {
    /// When the request began, RFC 3339.
    pub const TIME: &str = "time";
    /// The value of `x-request-id`.
    pub const REQUEST_ID: &str = "request_id";
    /// The filter's part of the exposure: trial, config, plan, weights, reason, bucket and unit in one text.
    pub const EXPOSURE: &str = "exposure";
    /// The first eight hexadecimal digits of SHA-256 over `trial1`, NUL, the experiment, NUL and its salt.
    pub const TRIAL: &str = "trial";
    /// The first eight hexadecimal digits of the configuration's hash.
    pub const CONFIG: &str = "config";
    /// The first eight hexadecimal digits of SHA-256 over `plan1`, NUL and the canonical JSON of the experiment's
    /// `analysis` without `steps`.
    pub const PLAN: &str = "plan";
    /// The weights in force: `name=weight/span` of each candidate, in parts per million.
    pub const WEIGHTS: &str = "weights";
    /// The unit, its digest, or nothing, as `settings.exposure_unit` says.
    pub const UNIT: &str = "unit";
    /// The experiment.
    pub const EXPERIMENT: &str = "experiment";
    /// The variant that the unit is assigned to.
    pub const ASSIGNED: &str = "assigned";
    /// The variant that served.
    pub const SERVED: &str = "served";
    /// Why: one of [`crate::decide::Reason`].
    pub const REASON: &str = "reason";
    /// The bucket of the unit, from 0 to 999999.
    pub const BUCKET: &str = "bucket";
    /// The phase of the rollout.
    pub const PHASE: &str = "phase";
    /// The request's method.
    pub const METHOD: &str = "method";
    /// The request's path, without the query.
    pub const PATH: &str = "path";
    /// The response's status; 0 without a response.
    pub const STATUS: &str = "status";
    /// Envoy's response flags.
    pub const FLAGS: &str = "flags";
    /// Milliseconds from the request's first byte to the response's last.
    pub const DURATION: &str = "duration";
    /// Milliseconds from the request's first byte to the response's first; absent without a response.
    pub const FIRST_BYTE: &str = "first_byte";
    /// Milliseconds from the request's first byte to the first of the response's body; absent without a
    /// body, and before Envoy 1.37.
    pub const FIRST_BODY: &str = "first_body";
    /// How often the request was sent upstream.
    pub const ATTEMPTS: &str = "attempts";
    /// `true` when the baseline answered what the candidate failed.
    pub const RESCUED: &str = "rescued";
    /// The upstream cluster.
    pub const CLUSTER: &str = "cluster";
}

/// Fields of the access log about language models, by OpenTelemetry's conventions for generative AI.
pub mod gen_ai {
    /// The model that the client asked for.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// The model that answered, if it is another one.
    pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
    /// Tokens of the request, those from a cache included.
    pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Tokens of the request that come from a cache.
    pub const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
    /// Tokens of the answer.
    pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";

    /// The fields with what Envoy writes there behind Envoy AI Gateway, whose AIGatewayRoute names the keys of tokens.
    pub const OPERATORS: [(&str, &str); 5] = [
        (REQUEST_MODEL, "%REQ(X-AI-EG-MODEL)%"),
        (RESPONSE_MODEL, "%DYNAMIC_METADATA(io.envoy.ai_gateway:model_name_override)%"),
        (INPUT_TOKENS, "%DYNAMIC_METADATA(io.envoy.ai_gateway:llm_input_token)%"),
        (CACHED_TOKENS, "%DYNAMIC_METADATA(io.envoy.ai_gateway:llm_cached_input_token)%"),
        (OUTPUT_TOKENS, "%DYNAMIC_METADATA(io.envoy.ai_gateway:llm_output_token)%"),
    ];
}

/// Attributes of a proxy's spans, by OpenTelemetry's conventions for feature flags.
pub mod span {
    /// The experiment.
    pub const KEY: &str = "feature_flag.key";
    /// The variant that served.
    pub const VARIANT: &str = "feature_flag.result.variant";
    /// Trial and configuration: the beginning of [`super::log::EXPOSURE`].
    pub const VERSION: &str = "feature_flag.version";
    /// The assigned variant, if another one served. The conventions have no name for it.
    pub const ASSIGNED: &str = "sidetrack.assigned";
    /// The length of a value of [`VERSION`]: `trial=f45f1a44 config=9a3b0c11`.
    pub const VERSION_LENGTH: usize = 30;
}

/// Names of the plugin in Envoy.
pub mod plugin {
    /// The filter, its root context and its VM; also the provider of the access log in Istio.
    pub const NAME: &str = "sidetrack";
    /// The access logger that reports failures, and its root context.
    pub const FAILURES: &str = "sidetrack-failures";
    /// The plugin configuration that makes a root context such a logger.
    pub const FAILURES_CONFIGURATION: &str = "failures";
}

/// Keys of Envoy's shared data, one namespace for all plugins of a proxy.
pub mod shared {
    /// Written at each transition of a breaker and each change of the configuration in force. Its version announces
    /// the change. Its value is empty, because a proxy copies values into the memory of the worker.
    pub const GENERATION: &str = "sidetrack.1.generation";
    /// The prefix of a breaker's record; experiment and variant follow, with a dot in between.
    pub const BREAKER: &str = "sidetrack.1.breaker.";
    /// The prefix of the generations of a plugin's configurations; the plugin's name follows.
    pub const CONFIGURATIONS: &str = "sidetrack.1.configurations.";
    /// The prefix of a plugin's last good configuration; the plugin's name follows.
    pub const LAST_GOOD: &str = "sidetrack.1.good.";
    /// The prefix of a plugin's configuration in force; the plugin's name follows.
    pub const IN_FORCE: &str = "sidetrack.1.force.";
    /// The gauges that each plugin publishes.
    pub const GAUGES: &str = "sidetrack.1.gauges";
    /// The header prefix of each plugin.
    pub const PREFIXES: &str = "sidetrack.1.prefixes";
    /// The plugins under whose names listeners have different files.
    pub const PLUGINS_SHARED: &str = "sidetrack.1.shared";
}
