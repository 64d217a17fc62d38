//! Bodies without a unit: too large, compressed, of another type, malformed, or absent.

use std::time::Duration;

use sidetrack::request::Body;
use sidetrack_lab::{Client, Request};
use sidetrack_tests::world::{Kind, Stage, run};

use super::{LIMIT, PATH, echoing, file, is_as_decided, post, question, question_of, user_of_new};

#[tokio::test]
async fn what_is_not_read_passes_as_it_is() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) = (world.plan(), Client::new(world.real().addr));
        let user = user_of_new(&plan);
        let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0x55; 90]].concat();
        let good = question(&user);
        let cut = good[..good.len() - 1].to_owned();
        let mut missing = 0;
        for (body, header) in [
            (question_of(&user, 300_000).into_bytes(), None),
            (question_of(&user, LIMIT + 1).into_bytes(), None),
            (good.clone().into_bytes(), Some(("content-encoding", "gzip"))),
            (good.clone().into_bytes(), Some(("content-encoding", "br, identity"))),
            (good.clone().into_bytes(), Some(("content-type", "application/grpc"))),
            (gzip, Some(("content-encoding", "gzip"))),
            (cut.into_bytes(), None),
            (format!("{good}x").into_bytes(), None),
            (b"user_id=4711".to_vec(), Some(("content-type", "application/x-www-form-urlencoded"))),
            (vec![0xff; 1000], None),
            (b"{\"user_id\": \"\xff\"}".to_vec(), None),
            (br#"{"user_id": ""}"#.to_vec(), None),
            (br#"{"user_id": null}"#.to_vec(), None),
            (br#"{"user_id": {"user_id": 1}}"#.to_vec(), None),
            (br#"[{"user_id": 1}]"#.to_vec(), None),
            ("[".repeat(LIMIT).into_bytes(), None),
            (b" ".to_vec(), None),
        ] {
            let mut request = post(body.clone());
            if let Some((name, value)) = header {
                request.headers.retain(|(other, _)| other != name);
                request = request.header(name, value);
            }
            let answer = client.send(request).await.unwrap();
            is_as_decided(&plan, &answer, &body, Body::Absent);
            missing += 1;
        }
        world
            .expect_metric("ab_test_missing_unit_total", &[("experiment", "bodies")], missing)
            .await;
        // Just as large as the limit, and not compressed: read.
        let body = question_of(&user, LIMIT);
        let answer =
            client.send(post(body.clone()).header("content-encoding", "identity")).await.unwrap();
        is_as_decided(&plan, &answer, body.as_bytes(), Body::Whole(body.as_bytes()));
        world.expect_metric("ab_test_missing_unit_total", &[], missing).await;
        world.expect_metric("ab_test_requests_total", &[("model_name", "old")], missing).await;
        world.expect_metric("ab_test_requests_total", &[("model_name", "new")], 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_body_is_not_held() {
    run(Stage::new(Kind::Envoy), |stage| async move {
        let world = echoing(&stage, &file()).await;
        let (plan, client) =
            (world.plan(), Client::new(world.real().addr).with_timeout(Duration::from_secs(3)));
        for request in [
            Request::get(PATH),
            Request::new("HEAD", PATH),
            Request::new("POST", PATH).header("content-length", "0"),
            Request::new("DELETE", PATH),
        ] {
            let answer = client.send(request.header("x-ab-debug", "1")).await.unwrap();
            is_as_decided(&plan, &answer, b"", Body::Absent);
        }
        let client = Client::http2(world.real().addr).with_timeout(Duration::from_secs(3));
        let answer = client.send(Request::get(PATH).header("x-ab-debug", "1")).await.unwrap();
        is_as_decided(&plan, &answer, b"", Body::Absent);
        world.expect_metric("ab_test_missing_unit_total", &[], 5).await;
    })
    .await;
}
