//! Parts of a request's address, whose mistakes are answered in the form of all errors.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The values in the path.
pub(crate) struct Path<T>(pub(crate) T);

/// The values after the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        let bad = |_| Problem::new(StatusCode::BAD_REQUEST, "the path is not UTF-8 text");
        path.map(|axum::extract::Path(path)| Self(path)).map_err(bad)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        let bad = "the query cannot be read; is a parameter there twice?";
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, bad))
    }
}
