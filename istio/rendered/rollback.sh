#!/bin/sh
# Removes financial-ab-test from Istio, written by `sidetrack render istio --rollback`. After the first step, all users get
# the baseline. No step interrupts traffic.
set -eu

echo "1. Stop the experiments, also for open connections"
filter="kubectl --namespace istio-ingress"
if [ -n "$($filter get wasmplugin sidetrack-financial-ab-test --ignore-not-found --output name)" ]; then
  $filter patch wasmplugin sidetrack-financial-ab-test --type json --patch-file /dev/stdin <<'JSON' ||
[{"op":"add","path":"/spec/pluginConfig/experiments/0/enabled","value":false}]
JSON
    echo "The WasmPlugin differs from what was rendered. The next step stops the experiments for new requests."
fi

echo "2. Leave only the routes to the baseline"
kubectl apply --filename - <<'YAML'
# Routes by the filter's headers. Each route removes the headers that must not reach the model.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: sidetrack-financial-ab-test
  namespace: models
  labels:
    app.kubernetes.io/name: sidetrack
    app.kubernetes.io/component: routes
    app.kubernetes.io/part-of: sidetrack-financial-ab-test
spec:
  hosts:
  - predictor.example.com
  gateways:
  - istio-ingress/predictor-gateway
  http:
  # Requests of financial-ab-test: the baseline.
  - name: baseline
    match:
    - uri:
        prefix: /v2/models/forecast
    route:
    - destination:
        host: predictor.models.svc.cluster.local
        subset: baseline-predictor
    headers:
      request:
        remove: [x-ab-cluster, x-ab-mirror, x-ab-debug, x-ab-force, x-ab-token]
  # All other requests of these hosts and paths: the baseline's service.
  - name: rest
    match:
    - uri:
        prefix: /v2/models/forecast
    route:
    - destination:
        host: predictor.models.svc.cluster.local
    headers:
      request:
        remove: [x-ab-cluster, x-ab-mirror, x-ab-debug, x-ab-force, x-ab-token]
YAML

echo "3. Remove the filter, the access log and the guard"
kubectl --namespace istio-ingress delete wasmplugin/sidetrack-financial-ab-test telemetry/sidetrack-financial-ab-test --ignore-not-found
kubectl --namespace istio-ingress delete envoyfilter/sidetrack-financial-ab-test --ignore-not-found

# What remains, because requests of these hosts need it until another VirtualService has routes for them:
#   kubectl --namespace models delete virtualservice/sidetrack-financial-ab-test
#   kubectl --namespace models delete destinationrule/sidetrack-financial-ab-test
