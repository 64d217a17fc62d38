//! What a person with curl can tell a stub: `POST /_stub/behaviour?status=503` makes it fail, `?status=200` heals it.
//!
//! Such a request is an order and no traffic: it is neither counted nor remembered.

use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::answer::{Body, json_answer};
use super::{Behaviour, Shared};

const PATH: &str = "/_stub/behaviour";

/// Does what the request orders and answers it; `None` if it is no order.
pub(super) fn obeyed<B>(request: &Request<B>, shared: &Shared) -> Option<Response<Body>> {
    if request.uri().path() != PATH {
        return None;
    }
    let query = request.uri().query();
    let Some(status) = query.and_then(status).filter(|_| *request.method() == Method::POST) else {
        let usage = json!({ "usage": format!("POST {PATH}?status=200…599") });
        return Some(json_answer(StatusCode::BAD_REQUEST, &usage, shared));
    };
    shared.set(if status == 200 { Behaviour::Healthy } else { Behaviour::Status(status) });
    Some(json_answer(StatusCode::OK, &json!({ "model": shared.name, "answers": status }), shared))
}

fn status(query: &str) -> Option<u16> {
    query.strip_prefix("status=")?.parse().ok().filter(|status| (200..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use crate::{Client, ModelStub, Request};

    #[tokio::test]
    async fn an_order_changes_the_answers_and_counts_as_no_request() {
        let stub = ModelStub::start("a").await.unwrap();
        let client = Client::new(stub.addr());
        let ask = async |request: Request| client.send(request).await.unwrap().status;
        let order = |query: &str| Request::post(format!("/_stub/behaviour{query}"), "");
        for wrong in ["", "?status=", "?status=100", "?status=600", "?state=503"] {
            assert_eq!(ask(order(wrong)).await, 400, "{wrong}");
        }
        assert_eq!(ask(Request::get("/_stub/behaviour?status=503")).await, 400);
        assert_eq!(ask(Request::get("/")).await, 200);
        assert_eq!(ask(order("?status=503")).await, 200);
        assert_eq!(ask(Request::get("/")).await, 503);
        assert_eq!(ask(order("?status=200")).await, 200);
        assert_eq!(ask(Request::get("/")).await, 200);
        assert_eq!((stub.count(), stub.failures().len()), (3, 1));
    }
}
