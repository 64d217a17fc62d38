#!/bin/sh
# Removes {{ experiments }} from Istio, written by `sidetrack render istio --rollback`. After the first step, all users get
# the baseline. No step interrupts traffic.
set -eu

echo "1. Stop the experiments, also for open connections"
filter="kubectl --namespace {{ filter_namespace }}"
if [ -n "$($filter get {{ kind|lower }} {{ filter_name }} --ignore-not-found --output name)" ]; then
  $filter patch {{ kind|lower }} {{ filter_name }} --type json --patch-file /dev/stdin <<'JSON' ||
{{ patch }}
JSON
    echo "The {{ kind }} differs from what was rendered. The next step stops the experiments for new requests."
fi

echo "2. {{ "Restore the routes" if restored else "Leave only the routes to the baseline" }}"
kubectl apply --filename - <<'YAML'
{{ routes_left|trim }}
YAML

echo "3. Remove the filter, the access log and the guard"
kubectl --namespace {{ filter_namespace }} delete {{ kind|lower }}/{{ filter_name }} telemetry/{{ name }} --ignore-not-found
{% if lua %}
kubectl --namespace {{ filter_namespace }} delete trafficextension/{{ name }}-body --ignore-not-found
{% endif %}
{% if guarded %}
kubectl --namespace {{ waypoint[0] if waypoint else filter_namespace }} delete envoyfilter/{{ name }} --ignore-not-found
{% endif %}
{% if not restored or rules %}

# What remains{{ ", because requests of these hosts need it until another VirtualService has routes for them" if not restored }}:
{% if not restored %}
#   kubectl --namespace {{ namespace }} delete virtualservice/{{ name }}
{% endif %}
{% for rule in rules %}
#   kubectl --namespace {{ rule.namespace }} delete destinationrule/{{ rule.name }}
{% endfor %}
{% endif %}
{% if identity.tokens %}

# The verification of tokens remains, because others may rely on it:
#   kubectl --namespace {{ filter_namespace }} delete requestauthentication/{{ name }}{{ " authorizationpolicy/" ~ name ~ "-token" if identity.tokens.required }}
{% endif %}
{% if identity.testers %}
kubectl --namespace {{ filter_namespace }} delete authorizationpolicy/{{ name }}-testers --ignore-not-found
{% endif %}
