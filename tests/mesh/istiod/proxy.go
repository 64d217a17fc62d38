package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
)

// list is an option that can be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ",") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

// pairs is an option of the form NAME=VALUE,NAME=VALUE. It can be given several times.
type pairs map[string]string

func (p pairs) String() string { return fmt.Sprint(map[string]string(p)) }
func (p pairs) Set(value string) error {
	for _, pair := range strings.Split(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		p[name] = text
	}
	return nil
}

// proxy describes the proxy that connects to istiod.
type proxy struct {
	role, namespace, name, ip, version, gateway string
	labels, annotations                         pairs
	uncaptured                                  bool
}

func (p *proxy) register(flags *flag.FlagSet) {
	p.labels, p.annotations = pairs{}, pairs{}
	flags.StringVar(&p.role, "proxy", "", "the kind of the proxy: router (a gateway), sidecar or waypoint")
	flags.StringVar(&p.namespace, "namespace", "default", "the namespace of its pod")
	flags.StringVar(&p.name, "name", "proxy-0", "the name of its pod")
	flags.StringVar(&p.ip, "ip", "127.0.0.1", "the address of its pod; a sidecar has inbound listeners if a Pod has it")
	flags.StringVar(&p.version, "istio-version", "1.32.0", "the version that the proxy reports")
	flags.StringVar(&p.gateway, "gateway", "", "its Gateway of the Gateway API; the default of a waypoint is \"waypoint\"")
	flags.BoolVar(&p.uncaptured, "uncaptured", false,
		"a sidecar without iptables, which listens on the services' ports itself")
	flags.Var(p.labels, "labels", "labels of its pod, NAME=VALUE,NAME=VALUE")
	flags.Var(p.annotations, "annotations", "annotations of its pod, NAME=VALUE,NAME=VALUE")
}

// complete derives the remaining fields.
func (p *proxy) complete() error {
	switch p.role {
	case "router", "sidecar":
	case "waypoint":
		if p.gateway == "" {
			p.gateway = "waypoint"
		}
		p.labels["gateway.istio.io/managed"] = "istio.io-mesh-controller"
		if !features.EnableAmbient {
			return errors.New("a waypoint needs ambient mode, but PILOT_ENABLE_AMBIENT is false")
		}
	default:
		return fmt.Errorf("--proxy must be router, sidecar or waypoint, not %q", p.role)
	}
	if p.gateway != "" {
		p.labels["gateway.networking.k8s.io/gateway-name"] = p.gateway
	}
	return nil
}

func (p *proxy) id() string {
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", p.role, p.ip, p.name, p.namespace, p.namespace)
}

// metadata is what the agent makes Envoy send to istiod.
func (p *proxy) metadata() map[string]any {
	metadata := map[string]any{
		"NAME": p.name, "NAMESPACE": p.namespace, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": p.version,
		"INSTANCE_IPS": p.ip, "LABELS": p.labels, "ANNOTATIONS": p.annotations, "SERVICE_ACCOUNT": p.name,
	}
	if p.uncaptured {
		metadata["INTERCEPTION_MODE"] = "NONE"
	}
	return metadata
}

// connect registers the proxy with istiod, like a connection.
func (p *proxy) connect(server *xds.FakeDiscoveryServer) (*model.Proxy, error) {
	text, err := json.Marshal(p.metadata())
	if err != nil {
		return nil, err
	}
	fields := &structpb.Struct{}
	if err := fields.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	metadata, err := model.ParseMetadata(fields)
	if err != nil {
		return nil, err
	}
	node, err := model.ParseServiceNodeWithMetadata(p.id(), metadata)
	if err != nil {
		return nil, err
	}
	node.ConfigNamespace = p.namespace
	node.Labels = metadata.Labels
	return server.SetupProxy(node), nil
}
