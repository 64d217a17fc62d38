//! The access log and the request id.

use super::*;

#[tokio::test]
async fn the_unit_is_in_no_field_but_its_own() {
    let stub = ModelStub::start("new").await.unwrap();
    stub.set(Behavior::Delay(Duration::from_millis(120)));
    for setting in ["none", "digest", "plain"] {
        let mut file = file();
        file["experiments"][0]["variants"][1]["path"] =
            json!({"replace_prefix": ["/infer", "/infer-v2"]});
        file["settings"] = json!({"exposure_unit": setting});
        let proxy = Rendered::start(&file, &["--endpoint", &new_at(stub.addr())]).await;
        let answer = proxy.send(Request::get("/infer/a?x=1&user=unit-4711")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(stub.requests().last().unwrap().path, "/infer-v2/a?x=1&user=unit-4711");
        let mut line = proxy.log(1).await.remove(0);
        let exposure = line.as_object_mut().unwrap().remove("exposure").unwrap();
        let exposure = exposure.as_str().unwrap();
        assert_eq!(exposure.contains(" unit="), setting != "none", "{exposure}");
        assert_eq!(exposure.ends_with(" unit=unit-4711"), setting == "plain", "{exposure}");
        assert_eq!(exposure.contains("unit-4711"), setting == "plain", "{exposure}");
        assert!(!line.to_string().contains("unit-4711"), "{line}");
        assert_eq!(line["path"], "/infer/a");
        // The id joins a client's outcome to this line.
        assert_eq!(line["request_id"], json!(answer.header_text("x-request-id")));
        assert!(line["request_id"].is_string(), "{line}");
        let [first_byte, duration] =
            ["first_byte", "duration"].map(|key| line[key].as_u64().unwrap());
        assert!((100..=duration).contains(&first_byte), "{line}");
        // Envoy knows when the body begins since 1.37.
        let first_body = line["first_body"].as_u64().unwrap_or(first_byte);
        assert!((first_byte..=duration).contains(&first_body), "{line}");
    }
}

/// A client's copy of the header in which Envoy keeps a path that it has rewritten.
#[tokio::test]
async fn the_path_is_the_one_that_the_client_requested_whatever_it_claims() {
    let stub = ModelStub::start("new").await.unwrap();
    for rewrites in [false, true] {
        let mut file = file();
        if rewrites {
            file["experiments"][0]["variants"][1]["path"] =
                json!({"replace_prefix": ["/infer", "/infer-v2"]});
        }
        let proxy = Rendered::start(&file, &["--endpoint", &new_at(stub.addr())]).await;
        // Of an experiment, and of none.
        for path in ["/infer/a?user=unit-4711", "/none?user=unit-4711"] {
            let request = Request::get(path).header("x-envoy-original-path", "/forged");
            proxy.send(request).await;
        }
        let paths: Vec<Value> = proxy.log(2).await.iter().map(|it| it["path"].clone()).collect();
        assert_eq!(paths, ["/infer/a", "/none"], "rewrites: {rewrites}");
    }
}

/// A body that begins later than the headers.
async fn thinking_model() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.ok();
            tokio::time::sleep(Duration::from_millis(300)).await;
            stream.write_all(b"hello").await.ok();
        }
    });
    addr
}

/// A model that thinks before its first token has sent the headers already.
#[tokio::test]
async fn the_log_has_the_time_to_the_first_byte_of_the_body() {
    let proxy = Rendered::start(&file(), &["--endpoint", &new_at(thinking_model().await)]).await;
    assert_eq!(proxy.send(infer()).await.status, 200);
    let line = proxy.log(1).await.remove(0);
    assert!(line["first_byte"].as_u64().unwrap() < 250, "{line}");
    let version = proxy.envoy.version().await.unwrap().unwrap();
    if version.starts_with("1.36.") {
        assert!(line["first_body"].is_null(), "{line}");
    } else {
        assert!(line["first_body"].as_u64().unwrap() >= 290, "{version}: {line}");
    }
}

/// Envoy AI Gateway sets the tokens, so here only the model is known.
#[tokio::test]
async fn the_log_has_models_and_tokens_if_the_plan_has_prices() {
    let stub = ModelStub::start("new").await.unwrap();
    let mut file = file();
    file["experiments"][0]["analysis"] = json!({"prices": {"large": {"input": 2.5, "output": 10}}});
    let proxy = Rendered::start(&file, &["--endpoint", &new_at(stub.addr())]).await;
    assert_eq!(proxy.send(infer().header("x-ai-eg-model", "large")).await.status, 200);
    let line = proxy.log(1).await.remove(0);
    assert_eq!(line["gen_ai.request.model"], "large", "{line}");
    for name in ["input_tokens", "cache_read.input_tokens", "output_tokens"] {
        let field = line.get(format!("gen_ai.usage.{name}"));
        assert!(field.is_some_and(Value::is_null), "{name}: {line}");
    }
}
