//! The stub's control endpoint: `POST /_stub/behavior?status=503` makes the stub fail, `?status=200` heals it.
//!
//! Control requests are not traffic: the stub neither counts nor records them.

use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::response::{Body, json_response};
use super::{Behavior, Shared};

const PATH: &str = "/_stub/behavior";

/// Executes a control request and returns its response; `None` for any other request.
pub(super) fn response<B>(request: &Request<B>, shared: &Shared) -> Option<Response<Body>> {
    if request.uri().path() != PATH {
        return None;
    }
    let query = request.uri().query();
    let Some(status) = query.and_then(status).filter(|_| *request.method() == Method::POST) else {
        let usage = json!({ "usage": format!("POST {PATH}?status=200…599") });
        return Some(json_response(StatusCode::BAD_REQUEST, &usage, shared));
    };
    shared.set(if status == 200 { Behavior::Healthy } else { Behavior::Status(status) });
    let body = json!({ "model": shared.name, "answers": status });
    Some(json_response(StatusCode::OK, &body, shared))
}

fn status(query: &str) -> Option<u16> {
    query.strip_prefix("status=")?.parse().ok().filter(|status| (200..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use crate::{Client, ModelStub, Request};

    #[tokio::test]
    async fn a_control_request_changes_the_status_and_is_not_counted() {
        let stub = ModelStub::start("a").await.unwrap();
        let client = Client::new(stub.addr());
        let ask = async |request: Request| client.send(request).await.unwrap().status;
        let control = |query: &str| Request::post(format!("/_stub/behavior{query}"), "");
        for wrong in ["", "?status=", "?status=100", "?status=600", "?state=503"] {
            assert_eq!(ask(control(wrong)).await, 400, "{wrong}");
        }
        assert_eq!(ask(Request::get("/_stub/behavior?status=503")).await, 400);
        assert_eq!(ask(Request::get("/")).await, 200);
        assert_eq!(ask(control("?status=503")).await, 200);
        assert_eq!(ask(Request::get("/")).await, 503);
        assert_eq!(ask(control("?status=200")).await, 200);
        assert_eq!(ask(Request::get("/")).await, 200);
        assert_eq!((stub.count(), stub.failures().len()), (3, 1));
    }
}
