package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"istio.io/istio/pkg/test"
)

// dump writes the configuration of one proxy.
func dump(arguments []string) error {
	flags := flag.NewFlagSet("dump", flag.ContinueOnError)
	var node proxy
	var common options
	var omitted list
	node.register(flags)
	common.register(flags)
	flags.Var(&omitted, "omit", "leave out the listener or cluster of this name; can be given several times")
	out := flags.String("out", "", "the folder to write to")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("--out is missing")
	}
	if err := node.complete(); err != nil {
		return err
	}
	objects, err := readObjects(flags.Args())
	if err != nil {
		return err
	}
	settings, err := common.meshConfig()
	if err != nil {
		return err
	}
	started, err := node.bootstrap(settings)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	return asTest(func(t test.Failer) error {
		report := func(answer verdict) { fmt.Println(answer) }
		istiod, err := common.start(t, objects, nil, report)
		if err != nil {
			return err
		}
		connected, err := node.connect(istiod.FakeDiscoveryServer)
		if err != nil {
			return err
		}
		listeners := istiod.Listeners(connected)
		found, err := values(listeners)
		if err != nil {
			return err
		}
		files := map[string]any{"listeners": without(found, omitted), "stats": started["stats_config"]}
		if files["routes"], err = values(istiod.RoutesFromListeners(connected, listeners)); err != nil {
			return err
		}
		clusters, err := values(istiod.Clusters(connected))
		if err != nil {
			return err
		}
		files["clusters"] = without(clusters, omitted)
		if files["endpoints"], err = values(istiod.Endpoints(connected)); err != nil {
			return err
		}
		names := discovered(found)
		extensions := istiod.ConfigGen.BuildExtensionConfiguration(connected, istiod.PushContext(), names, nil)
		if files["extensions"], err = values(extensions); err != nil {
			return err
		}
		for name, content := range files {
			text, err := format(content)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(*out, name+".json"), append(text, '\n'), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// values turns messages into JSON in a fixed order: istiod's order of clusters is that of a Go map.
func values[M proto.Message](messages []M) ([]map[string]any, error) {
	result := make([]map[string]any, 0, len(messages))
	for _, message := range messages {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
		if err != nil {
			return nil, err
		}
		value := map[string]any{}
		if err := json.Unmarshal(text, &value); err != nil {
			return nil, err
		}
		result = append(result, value)
	}
	slices.SortStableFunc(result, func(a, b map[string]any) int { return cmp.Compare(nameOf(a), nameOf(b)) })
	return result, nil
}

func nameOf(resource map[string]any) string {
	for _, field := range []string{"name", "cluster_name"} {
		if name, is := resource[field].(string); is {
			return name
		}
	}
	return ""
}

func without(resources []map[string]any, omitted list) []map[string]any {
	return slices.DeleteFunc(slices.Clone(resources), func(one map[string]any) bool {
		return slices.Contains(omitted, nameOf(one))
	})
}

// discovered lists the filters whose configuration Envoy requests by name.
func discovered(value any) []string {
	var names []string
	switch value := value.(type) {
	case []map[string]any:
		for _, item := range value {
			names = append(names, discovered(item)...)
		}
	case []any:
		for _, item := range value {
			names = append(names, discovered(item)...)
		}
	case map[string]any:
		if _, is := value["config_discovery"]; is {
			names = append(names, nameOf(value))
		}
		for _, item := range value {
			names = append(names, discovered(item)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
