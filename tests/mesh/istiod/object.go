package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube"
)

// object is one document of a manifest.
type object struct {
	unstructured.Unstructured
	file string
	json []byte
}

// readObjects reads YAML files with any number of documents; "-" is standard input. If an object occurs twice, the last
// one counts, as if the files were applied one after the other.
func readObjects(files []string) ([]object, error) {
	if len(files) == 0 {
		return nil, errors.New("no files given")
	}
	var objects []object
	places := map[string]int{}
	for _, file := range files {
		found, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, one := range found {
			if place, twice := places[one.identity()]; twice {
				objects[place] = one
				continue
			}
			places[one.identity()] = len(objects)
			objects = append(objects, one)
		}
	}
	return objects, nil
}

func readFile(file string) ([]object, error) {
	reader := io.Reader(os.Stdin)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		reader = opened
	}
	var objects []object
	decoder := yaml.NewYAMLOrJSONDecoder(reader, 512*1024)
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 {
			continue // only comments
		}
		fields := map[string]any{}
		if err := kjson.Unmarshal(raw, &fields); err != nil { // unlike encoding/json, it keeps integers
			return nil, err
		}
		if len(fields) == 0 {
			continue
		}
		one := object{Unstructured: unstructured.Unstructured{Object: fields}, file: file}
		if one.GetKind() == "" || one.GetAPIVersion() == "" {
			return nil, errors.New("a document without kind and apiVersion (mesh configuration goes to --mesh)")
		}
		if one.GetNamespace() == "" && !one.clusterWide() {
			one.SetNamespace("default")
		}
		if one.json, err = json.Marshal(one.Object); err != nil {
			return nil, err
		}
		objects = append(objects, one)
	}
}

// key is the name of an object in messages.
func (o object) key() string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// identity is key with the API's group and version.
func (o object) identity() string {
	return o.GetAPIVersion() + " " + o.key()
}

// schema is Istio's description of the kind. Istiod does not store Kubernetes' own kinds, so they have none.
func (o object) schema() (resource.Schema, bool) {
	gvk := o.GroupVersionKind()
	return collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&gvk))
}

func (o object) clusterWide() bool {
	if schema, known := o.schema(); known {
		return schema.IsClusterScoped()
	}
	switch o.GetKind() {
	case "Namespace", "Node", "GatewayClass":
		return true
	}
	return false
}

// ofIstio reports whether this is one of Istio's own kinds.
func (o object) ofIstio() bool {
	return strings.HasSuffix(o.GroupVersionKind().Group, ".istio.io")
}

// config is the object as in istiod's store.
func (o object) config() (config.Config, error) {
	schema, known := o.schema()
	if !known {
		return config.Config{}, fmt.Errorf("%s: istiod does not know this kind", o.key())
	}
	var raw crd.IstioKind
	if err := json.Unmarshal(o.json, &raw); err != nil {
		return config.Config{}, fmt.Errorf("%s: %w", o.key(), err)
	}
	converted, err := crd.ConvertObject(schema, &raw, "cluster.local")
	if err != nil {
		return config.Config{}, fmt.Errorf("%s: %w", o.key(), err)
	}
	return *converted, nil
}

// typed is the object as a Kubernetes client returns it.
func (o object) typed() (runtime.Object, error) {
	typed, _, err := kube.IstioCodec.UniversalDeserializer().Decode(o.json, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.key(), err)
	}
	return typed, nil
}
