//! OpenFeature's remote evaluation: the variant that a proxy would give to `targetingKey`.
//!
//! The key is the unit. A single evaluation is an exposure of its own kind: it is stored as asked, apart from the traffic, and is
//! in no verdict. A bulk evaluation is a prefetch and is not stored.

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sidetrack::plan::Assignment;
use sidetrack::quantity::Timestamp;
use sidetrack::roster::{Place, Roster};

use super::App;
use super::body::{self, media_type};
use super::extract::Path;
use super::problem::Problem;
use crate::catalog::Entry;
use crate::upkeep::now;
use crate::writer::Asked;

/// The longest targeting key, in characters.
const LONGEST: usize = 512;
const JSON: &str = "application/json";

/// An error in the form of the protocol.
fn refused(status: StatusCode, key: Option<&str>, code: &str, details: &str) -> Response {
    let mut error = json!({ "errorCode": code, "errorDetails": details });
    if let (Some(key), Some(object)) = (key, error.as_object_mut()) {
        object.insert("key".to_owned(), key.into());
    }
    (status, [(header::CONTENT_TYPE, JSON)], error.to_string()).into_response()
}

/// The targeting key of a request, or the answer to one without.
async fn unit(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    flag: Option<&str>,
) -> Result<String, Response> {
    // A form or a text is what a foreign page can send without being asked.
    let given = media_type(headers);
    if given != JSON {
        let detail = format!("content-type is {given:?}, but must be {JSON}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response());
    }
    let content = body::read(app, headers, body).await.map_err(Problem::into_response)?;
    targeting_key(&content.bytes)
        .map_err(|(code, details)| refused(StatusCode::BAD_REQUEST, flag, code, details))
}

/// The targeting key in a body, or the code of the error and its details.
pub(crate) fn targeting_key(body: &[u8]) -> Result<String, (&'static str, &'static str)> {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Err(("PARSE_ERROR", "the body is not JSON"));
    };
    match request.pointer("/context/targetingKey") {
        Some(Value::String(key)) if key.len() > LONGEST && key.chars().count() > LONGEST => {
            Err(("INVALID_CONTEXT", "targetingKey is longer than 512 characters"))
        }
        Some(Value::String(key)) if !key.is_empty() => Ok(key.clone()),
        None | Some(Value::Null | Value::String(_)) => {
            Err(("TARGETING_KEY_MISSING", "context.targetingKey is the unit, and is missing"))
        }
        Some(_) => Err(("INVALID_CONTEXT", "targetingKey must be text")),
    }
}

/// The evaluation of an experiment, and the variant if the unit takes part.
fn evaluate(
    entry: &Entry,
    unit: &str,
    now: Timestamp,
) -> Result<(Value, Option<String>), &'static str> {
    let Entry { experiment, trial, config_hash, .. } = entry;
    if experiment.assignment == Assignment::RequestRandom {
        return Err(
            "each request is assigned at random (request_random), so a unit has no variant",
        );
    }
    let (variant, reason, takes_part) = match Roster::new(experiment, now).place(unit.as_bytes()) {
        Place::Variant(variant, _) if !experiment.enabled => (variant, "DISABLED", false),
        Place::Variant(variant, Some(_)) => (variant, "SPLIT", true),
        Place::Variant(variant, None) => (variant, "TARGETING_MATCH", false),
        Place::Excluded => (experiment.baseline, "DEFAULT", false),
    };
    let name = &experiment.variants[variant].name;
    let value = json!({
        "key": experiment.name,
        "value": name,
        "variant": name,
        "reason": reason,
        "metadata": { "trial": trial, "config": config_hash.get(..8) },
    });
    Ok((value, takes_part.then(|| name.clone())))
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let unit = match unit(&app, &headers, body, Some(&name)).await {
        Ok(unit) => unit,
        Err(response) => return Ok(response),
    };
    let catalog = app.store.catalog();
    let Some(entry) = catalog.get(&name) else {
        let details = "no experiment has this name";
        return Ok(refused(StatusCode::NOT_FOUND, Some(&name), "FLAG_NOT_FOUND", details));
    };
    let time = now();
    let (value, variant) = match evaluate(entry, &unit, Timestamp::new(time)) {
        Ok(evaluated) => evaluated,
        Err(details) => {
            return Ok(refused(StatusCode::BAD_REQUEST, Some(&name), "GENERAL", details));
        }
    };
    if let Some(variant) = variant {
        app.take_rate(1)?;
        let unit =
            if entry.plain { unit } else { entry.experiment.exposure.pseudonym(unit.as_bytes()) };
        let trial = entry.trial.clone();
        app.store.asked(Asked { time, experiment: name, trial, unit, variant }).await?;
    }
    Ok(answer(&value, None))
}

pub(super) async fn all(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let unit = match unit(&app, &headers, body, None).await {
        Ok(unit) => unit,
        Err(response) => return Ok(response),
    };
    let now = Timestamp::new(now());
    let catalog = app.store.catalog();
    let flags = catalog.all().map(|entry| {
        let key = &entry.experiment.name;
        evaluate(entry, &unit, now).map_or_else(
            |details| json!({ "key": key, "errorCode": "GENERAL", "errorDetails": details }),
            |(value, _)| value,
        )
    });
    let value = json!({ "flags": flags.collect::<Vec<_>>() });
    let digest: [u8; 32] = Sha256::digest(value.to_string()).into();
    let mut tag = String::from("\"");
    for byte in digest.iter().take(16) {
        write!(tag, "{byte:02x}").ok();
    }
    tag.push('"');
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(answer(&value, Some(&tag)))
}

fn answer(value: &Value, tag: Option<&str>) -> Response {
    let content = [(header::CONTENT_TYPE, JSON)];
    let mut response = (content, value.to_string()).into_response();
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
