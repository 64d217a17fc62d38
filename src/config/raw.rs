//! The file as it was written: every key optional, every value checked by itself, none against another.
//!
//! The text behind `///` here is what the JSON Schema and `docs/configuration.md` say about a key.

use serde_json::{Value, json};

use super::analysis::PlainText;
use super::analysis::methods::{Columns, Posterior, Sequential};
use super::analysis::prices::RawPrice;
use super::decode::{Decode, List, Pairs, choices, not_one_of, object};
use super::model::RawModel;
use super::node::Node;
use super::problem::{Path, Problems};
use super::value::{
    BodyText, ClusterName, Count, Digest, FieldName, HeaderName, HeaderValue, Host, Json, Method,
    Name, Object, PathPair, PathText, Percent, Pointer, Quantile, Salt, Size, Span, Time,
};
use crate::plan::{Assignment, BreakerMode, Correction, ExposureUnit, MissingUnit};

choices!(Assignment, BreakerMode, ExposureUnit, MissingUnit);

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// How long a phase may last.
pub(crate) type PhaseSpan = Span<1, { 3650 * DAY }>;

object! {
    /// A Sidetrack experiment file.
    File {
        /// The experiments. A request takes part in the first one that it matches.
        experiments: List<Experiment> = "experiments" required,
        /// What holds for all experiments.
        settings: Settings = "settings",
    }
}

object! {
    /// One A/B test between a baseline and its candidates.
    Experiment {
        /// The name in headers and metrics.
        name: Name = "name" required,
        /// The seed of the draw; the name when left out. A new salt draws all units again.
        salt: Salt = "salt",
        /// false is the kill switch: all requests get the baseline.
        enabled: bool = "enabled",
        /// Which requests take part; all when left out. Every given condition must hold.
        conditions: Match = "match",
        /// Where the identity that is hashed comes from. The first source that yields a value wins.
        unit: List<UnitSource> = "unit",
        /// What happens to a request without a unit: baseline (the default), random, or skip.
        missing_unit: MissingUnit = "missing_unit",
        /// user_hash (the default): the same unit always gets the same variant. request_random: each request draws.
        assignment: Assignment = "assignment",
        /// The default variant. It receives all traffic that is not assigned to a candidate.
        baseline: Name = "baseline" required,
        /// The baseline and its candidates.
        variants: List<Variant> = "variants" required,
        /// Weights that change with the clock, instead of fixed ones.
        rollout: Rollout = "rollout",
        /// When a failing candidate loses its traffic to the baseline.
        breaker: Breaker = "breaker",
        /// Copies of requests for another cluster.
        mirror: Mirror = "mirror",
        /// Slots that experiments of one layer share without overlap.
        layer: Layer = "layer",
        /// Who may choose a variant by hand.
        overrides: Overrides = "overrides",
        /// The analysis plan. The filter ignores it; exposures carry its digest.
        analysis: AnyAnalysis = "analysis",
    }
}

/// An analysis plan as the filter accepts it: any object, with the schema of the plan.
#[derive(Clone, Debug)]
pub(crate) struct AnyAnalysis(pub(crate) Object);

impl Decode for AnyAnalysis {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        Object::decode(node, at, problems).map(Self)
    }

    fn schema() -> Value {
        Analysis::schema()
    }
}

object! {
    /// How the experiment is analyzed, written before the data exist.
    Analysis {
        /// Primary metrics, as analyze run --metric writes them: they decide.
        metrics: List<PlainText> = "metrics",
        /// Guardrails, as analyze run --guardrail writes them: they must not get worse by more than their margins.
        guardrails: List<PlainText> = "guardrails",
        /// Columns of the outcomes or fields of the access log by which results are shown separately. They never decide.
        segments: List<PlainText> = "segments",
        /// A column, or a list of columns, with a value of each unit from before its first exposure (CUPED).
        covariate: Columns = "covariate",
        /// Units of all variants together at which the test ends.
        planned_units: Count<100, 4_000_000_000> = "planned_units",
        /// The weights through which the candidate is raised while no harm shows.
        steps: List<AnalysisStep> = "steps",
        /// How long after a unit's first request in a phase its outcomes count.
        attribution: Span<{ SECOND }, { 400 * DAY }> = "attribution",
        /// By metric: the quantile of all units at which the values of units are capped, such as 99.9%.
        cap: Pairs<Quantile> = "cap",
        /// Predictions and labels of the outcomes, for the metrics of models.
        model: RawModel = "model",
        /// What a million tokens of each language model cost: the metric cost of requests, from fields of the access log.
        prices: Pairs<RawPrice> = "prices",
        /// How often the data may be looked at.
        sequential: Sequential = "sequential",
        /// How p-values of metrics that decide are adjusted for each other: holm (the default), benjamini_hochberg, none.
        correction: Correction = "correction",
        /// A Bayesian analysis beside the tests.
        bayes: Posterior = "bayes",
    }
}

object! {
    /// A step of the candidate's growth.
    AnalysisStep {
        /// Percent of the units.
        weight: Percent = "weight" required,
        /// How long it lasts at least.
        min_for: Span<1, { 400 * DAY }> = "min_for",
        /// How many units it needs at least.
        min_units: Count<1, 4_000_000_000> = "min_units",
    }
}

object! {
    /// Which requests take part in an experiment.
    Match {
        /// Host names, exact or with a leading "*."; the port is ignored.
        hosts: List<Host> = "hosts",
        /// The path without its query.
        path: PathRule = "path",
        /// Methods, such as POST.
        methods: List<Method> = "methods",
        /// Headers; all must match.
        headers: List<HeaderRule> = "headers",
        /// Values in a JSON body; all must match. A body over settings.body_limit matches nothing.
        body: List<BodyRule> = "body",
    }
}

object! {
    /// A condition on the path.
    PathRule {
        /// The whole path.
        exact: PathText = "exact",
        /// The beginning of the path, letter by letter.
        prefix: PathText = "prefix",
    } one of ["exact", "prefix"]
}

object! {
    /// A condition on a header. Of a repeated header the first counts.
    HeaderRule {
        /// The header's name.
        name: HeaderName = "name" required,
        /// The whole value.
        exact: HeaderValue = "exact",
        /// The beginning of the value.
        prefix: HeaderValue = "prefix",
        /// true: the header is there; false: it is not.
        present: bool = "present",
    } one of ["exact", "prefix", "present"]
}

object! {
    /// A condition on a value in a JSON body. Of a repeated key the last counts.
    BodyRule {
        /// The JSON Pointer of the value.
        pointer: Pointer = "pointer" required,
        /// The whole value: a string's text, or a number or boolean as it is written.
        exact: BodyText = "exact",
        /// The beginning of the value.
        prefix: BodyText = "prefix",
        /// true: the value exists, whatever it is; false: the body is JSON without it.
        present: bool = "present",
    } one of ["exact", "prefix", "present"]
}

object! {
    /// Where a unit comes from.
    UnitSource {
        /// The value of this request header, as received.
        header: HeaderName = "header",
        /// The value of this cookie.
        cookie: FieldName = "cookie",
        /// The percent-decoded value of this query parameter.
        query: FieldName = "query",
        /// The value at this JSON Pointer in a JSON request body.
        body: Pointer = "body",
        /// With cookie: sets a random identity when nothing else identified the caller.
        mint: Mint = "mint",
    } one of ["header", "cookie", "query", "body"]
}

object! {
    /// A cookie for anonymous callers.
    Mint {
        /// How long the browser keeps it.
        max_age: Span<{ SECOND }, { 400 * DAY }> = "max_age" required,
    }
}

object! {
    /// One version of the model.
    Variant {
        /// The name in headers and metrics.
        name: Name = "name" required,
        /// The Envoy cluster that serves it. For all variants or for none; without it the filter only tags.
        cluster: ClusterName = "cluster",
        /// Percent of the units, up to four decimals. Not for the baseline, which takes what is left.
        weight: Percent = "weight",
        /// Percent to keep free, so that the weight can grow this far without moving anybody else.
        reserve: Percent = "reserve",
        /// Changes the request's path for this variant; the query stays as it is.
        path: PathChange = "path",
        /// Values set in the JSON body that the model gets, by JSON Pointer.
        body: Pairs<Json> = "body",
        /// Headers added to the request that the model gets.
        request_headers: Pairs<HeaderValue> = "request_headers",
        /// Headers added to the response that the caller gets.
        response_headers: Pairs<HeaderValue> = "response_headers",
    }
}

object! {
    /// A change of the request's path.
    PathChange {
        /// [from, to]: a path that begins with `from`, letter by letter, begins with `to` instead. Other paths stay as they are.
        replace_prefix: PathPair = "replace_prefix" required,
    }
}

object! {
    /// Weights as a function of the clock.
    Rollout {
        /// When the first phase begins. Before it, all requests get the baseline.
        start: Time = "start" required,
        /// The phases, one after another.
        phases: List<Phase> = "phases" required,
    }
}

object! {
    /// One step of a rollout.
    Phase {
        /// The name in headers and metrics.
        name: Name = "name" required,
        /// How long it lasts; the last phase may go without, and stays in force in any case.
        length: PhaseSpan = "for",
        /// Percent of the units for each candidate; a candidate that is not named gets none.
        weights: Pairs<Percent> = "weights" required,
    }
}

object! {
    /// When a failing candidate loses its traffic to the baseline.
    Breaker {
        /// enforce (the default), dry_run or disabled.
        mode: BreakerMode = "mode",
        /// Percent of the candidate's requests that may fail; it trips strictly above.
        error_rate: Percent = "error_rate",
        /// Which share of slow answers trips.
        slow: Slow = "slow",
        /// When a request without an answer counts as a failure.
        no_answer: NoAnswer = "no_answer",
        /// How far back requests count.
        window: Span<{ SECOND }, { HOUR }> = "window",
        /// How many requests the window must hold before rates are judged.
        min_requests: Count<1, 1_000_000> = "min_requests",
        /// Percent certainty that the rate is above its limit (Wilson, one-sided); 0 takes the bare rate.
        confidence: Percent = "confidence",
        /// How many failures in a row on one worker trip at once; 0 turns this off.
        consecutive_errors: Count<0, 1_000_000> = "consecutive_errors",
        /// true: a fault that the baseline shares does not trip.
        compare_to_baseline: bool = "compare_to_baseline",
        /// How long the candidate gets nothing after a trip; doubles with each trip in a row.
        open_for: Span<{ SECOND }, { DAY }> = "open_for",
        /// The most that open_for grows to.
        max_open_for: Span<{ SECOND }, { 7 * DAY }> = "max_open_for",
    }
}

object! {
    /// The latency guard. p95 > 200 ms is exactly: more than 5 percent slower than 200 ms.
    Slow {
        /// An answer is slow when its headers take longer than this.
        over: Span<1, { HOUR }> = "over" required,
        /// Percent of answers that may be slow; it trips strictly above.
        rate: Percent = "rate" required,
    }
}

object! {
    /// The guard against requests that hang.
    NoAnswer {
        /// A request fails when its response headers take this long, also when the client gives up later; 10s when left out, 0s turns this off.
        after: Span<0, { HOUR }> = "after" required,
    }
}

object! {
    /// Copies of requests for another cluster, whose answers are dropped.
    Mirror {
        /// The Envoy cluster that gets the copies.
        cluster: ClusterName = "cluster" required,
        /// Percent of the units; 100 when left out.
        percent: Percent = "percent",
    }
}

object! {
    /// The slots of a layer that this experiment takes.
    Layer {
        /// The layer's name; experiments that name the same one share its slots.
        name: Name = "name" required,
        /// Percent at which the slots begin.
        from: Percent = "from" required,
        /// Percent before which they end.
        to: Percent = "to" required,
    }
}

object! {
    /// Who may choose a variant by hand.
    Overrides {
        /// The header whose value names a variant.
        header: HeaderName = "header",
        /// SHA-256 of the text that x-ab-token must carry for the header to be honoured.
        token_sha256: Digest = "token_sha256",
        /// Units that always get this variant.
        units: Pairs<Name> = "units",
    }
}

object! {
    /// What holds for all experiments.
    Settings {
        /// What the names of the filter's headers begin with; x-ab- when left out.
        header_prefix: HeaderName = "header_prefix",
        /// Report the serving variant to the client; true when left out.
        response_headers: bool = "response_headers",
        /// Whether x-ab-debug may ask for the explanation: denied (the default), allowed, or {token_sha256: …}.
        debug: Debug = "debug",
        /// The largest body that is read for units, conditions and the variants' values; 64KiB when left out.
        body_limit: Size = "body_limit",
        /// How the access log identifies the unit: its salted digest (the default), plain, or none.
        exposure_unit: ExposureUnit = "exposure_unit",
        /// What the proxy does around the filter, where its environment cannot say so.
        proxy: Proxy = "proxy",
    }
}

object! {
    /// What the proxy does around the filter. A value here wins over the environment variable.
    Proxy {
        /// The access log contains the filter's decisions; SIDETRACK_EXPOSURES when left out.
        exposures: bool = "exposures",
        /// The filter may hold a request back until its body has arrived (allow_on_headers_stop_iteration); SIDETRACK_WAIT_FOR_BODIES when left out.
        wait_for_bodies: bool = "wait_for_bodies",
        /// Routes retry what a candidate failed on the baseline; SIDETRACK_FAILOVER when left out.
        failover: bool = "failover",
        /// A route for each variant adds the headers with the experiment and the variant; SIDETRACK_ROUTES_TELL when left out.
        routes_report: bool = "routes_report",
        /// All routes remove the filter's headers from responses; SIDETRACK_ROUTES_CLEAN when left out.
        routes_clean: bool = "routes_clean",
    }
}

/// Whether a caller may ask for the explanation.
#[derive(Clone, Debug)]
pub(crate) enum Debug {
    Denied,
    Allowed,
    Token(DebugToken),
}

object! {
    /// Only callers with the token may ask.
    DebugToken {
        /// SHA-256 of the text that x-ab-token must carry.
        token_sha256: Digest = "token_sha256" required,
    }
}

impl Decode for Debug {
    fn decode(node: &Node, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match node {
            Node::Text(text) if text == "denied" => Some(Self::Denied),
            Node::Text(text) if text == "allowed" => Some(Self::Allowed),
            Node::Map(_) => DebugToken::decode(node, at, problems).map(Self::Token),
            _ => {
                not_one_of(node, at, &["denied", "allowed", "{token_sha256: …}"], problems);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({"oneOf": [{"enum": ["denied", "allowed"]}, DebugToken::schema()]})
    }
}
