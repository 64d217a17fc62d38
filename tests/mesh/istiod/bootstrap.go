package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/bootstrap"
)

// printBootstrap prints the configuration that Istio's agent starts Envoy with, changed so that Envoy runs without the
// agent: it connects to istiod directly and has no listeners for metrics and health.
func printBootstrap(arguments []string) error {
	flags := flag.NewFlagSet("bootstrap", flag.ContinueOnError)
	var node proxy
	var common options
	node.register(flags)
	common.register(flags)
	address := flags.String("grpc", "", "the address of istiod, as in serve")
	admin := flags.Int("admin", 15000, "the port of Envoy's admin interface")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *address == "" {
		return errors.New("--grpc is missing")
	}
	host, port, err := net.SplitHostPort(*address)
	if err != nil {
		return err
	}
	portNumber, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	if err := node.complete(); err != nil {
		return err
	}
	settings, err := common.meshConfig()
	if err != nil {
		return err
	}
	settings.DefaultConfig.ProxyAdminPort = int32(*admin)
	result, err := node.bootstrap(settings)
	if err != nil {
		return err
	}
	static := result["static_resources"].(map[string]any)
	delete(static, "listeners")
	for _, one := range static["clusters"].([]any) {
		if one := one.(map[string]any); one["name"] == "xds-grpc" {
			one["load_assignment"] = map[string]any{
				"cluster_name": "xds-grpc",
				"endpoints": []any{map[string]any{"lb_endpoints": []any{map[string]any{"endpoint": map[string]any{
					"address": map[string]any{"socket_address": map[string]any{"address": host, "port_value": portNumber}},
				}}}}},
			}
		}
	}
	// The other possible extension, metadata_discovery, exists only in Istio's build of Envoy.
	extensions := []any{}
	for _, one := range result["bootstrap_extensions"].([]any) {
		if one.(map[string]any)["name"] == "envoy.bootstrap.internal_listener" {
			extensions = append(extensions, one)
		}
	}
	result["bootstrap_extensions"] = extensions
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

// bootstrap is what the agent writes for this proxy.
func (p *proxy) bootstrap(settings *meshconfig.MeshConfig) (map[string]any, error) {
	metadata, err := json.Marshal(p.metadata())
	if err != nil {
		return nil, err
	}
	node, err := bootstrap.GetNodeMetaData(bootstrap.MetadataOptions{
		ID:          p.id(),
		Envs:        []string{"ISTIO_METAJSON_ALL=" + string(metadata)},
		InstanceIPs: []string{p.ip},
		ProxyConfig: settings.DefaultConfig,
	})
	if err != nil {
		return nil, err
	}
	template, err := shared("envoy_bootstrap.json")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := bootstrap.New(bootstrap.Config{Node: node}).WriteTo(template, &text); err != nil {
		return nil, err
	}
	result := map[string]any{}
	return result, json.Unmarshal(text.Bytes(), &result)
}
