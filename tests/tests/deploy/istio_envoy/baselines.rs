//! Two experiments in one file: their baselines, with the filter and without it.

use super::*;

/// Experiments on the same host that share nothing: with the filter each has its candidate, without
/// it each has its own baseline.
#[tokio::test]
async fn two_experiments_keep_their_own_baselines() {
    let experiments = json!({"experiments": [
        {
            "name": "rank", "unit": [{"header": "x-user-id"}], "baseline": "rank-1",
            "match": {
                "hosts": ["*.example.com"], "path": {"prefix": "/rank"}, "methods": ["GET", "POST"],
                "headers": [{"name": "x-tenant", "prefix": "ac"}, {"name": "x-opt-out", "present": false}],
            },
            "variants": [
                {"name": "rank-1", "cluster": "rank-1"},
                {"name": "candidate", "cluster": "rank-2", "weight": 100},
            ],
        },
        {
            "name": "price", "unit": [{"header": "x-user-id"}], "baseline": "price-1",
            "variants": [
                {"name": "price-1", "cluster": "price-1"},
                {"name": "candidate", "cluster": "price-2", "weight": 100},
            ],
        },
    ]});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiment.json");
    fs::write(&file, experiments.to_string()).unwrap();
    let text =
        sidetrack_command(&["render", "istio", file.to_str().unwrap(), "--port", "80"]).unwrap();
    let names = ["rank-1", "price-1", "rank-2", "price-2"];
    let mut models = BTreeMap::new();
    let mut services = Vec::new();
    for name in names {
        let model = ModelStub::start(name).await.unwrap();
        let pods = vec![(BTreeMap::new(), model.addr())];
        services.push(Service {
            host: format!("{name}.default.svc.cluster.local"),
            port: 80,
            pods,
        });
        models.insert(name, model);
    }
    let mut mesh = Mesh { manifests: manifests(&text), config: Value::Null, services };
    let gateway = Proxy { role: Role::Gateway("istio-ingress/gateway"), ..GATEWAY };
    let expected = [("rank-2", "price-2"), ("rank-1", "price-1")];
    for (rank, price) in expected {
        let machine = Machine { wasm: artifact::wasm(), folder: folder.path() };
        let bootstrap = mesh.bootstrap(&gateway, machine).unwrap();
        let envoy =
            Envoy::start(EnvoyOptions::new(EnvoyBinary::find().unwrap(), bootstrap)).await.unwrap();
        let port = envoy.listener_port("proxy").await.unwrap();
        let client = Client::new(([127, 0, 0, 1], port).into());
        let request = |path: &str| {
            Request::get(path).header("host", "a.Example.com:80").header("x-user-id", "7")
        };
        let taken = request("/rank/1").header("x-tenant", "acme");
        for (request, model) in [
            (taken.clone(), rank),
            (taken.clone().header("x-opt-out", "1"), price),
            (request("/rank/1").header("x-tenant", "other"), price),
            (request("/other").header("x-tenant", "acme"), price),
        ] {
            models.values().for_each(ModelStub::clear);
            assert_eq!(client.send(request.clone()).await.unwrap().status, 200);
            let asked: Vec<&str> =
                names.into_iter().filter(|name| models[name].count() == 1).collect();
            assert_eq!(asked, [model], "{request:?}");
        }
        mesh.manifests.retain(|manifest| manifest["kind"] != "WasmPlugin");
    }
}
