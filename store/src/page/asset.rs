//! The script, the styles and the icon. They change with the program only, and a browser asks each time.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::is_known;
use crate::http::{Path, Problem};

const STYLES: &str =
    concat!(include_str!("../../assets/report.css"), include_str!("../../assets/page.css"));
const SCRIPT: &str = include_str!("../../assets/page.js");
const ICON: &str = include_str!("../../assets/icon.svg");

pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let (kind, text) = match name.as_str() {
        "page.css" => ("text/css; charset=utf-8", STYLES),
        "page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Problem::not_found("the page has no such file").into_response(),
    };
    let tag = format!("\"{}\"", digest(text));
    if is_known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::ETAG, tag)], text).into_response()
}

/// 16 hexadecimal digits that change with the text.
pub(super) fn digest(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
