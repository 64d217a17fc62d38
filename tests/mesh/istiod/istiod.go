package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ktesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/test"
)

// cluster is istiod with everything that it reads.
type cluster struct {
	*xds.FakeDiscoveryServer
	objects map[string]object
	validator
}

// options of all commands that run istiod.
type options struct {
	mesh        string
	definitions list
	unchecked   bool
	plaintext   bool
}

func (o *options) register(flags *flag.FlagSet) {
	flags.StringVar(&o.mesh, "mesh", "", "a file with the MeshConfig, or with Helm values that contain one as meshConfig")
	flags.Var(&o.definitions, "crds", "a file with the definitions of the Gateway API, instead of those in Istio's source")
	flags.BoolVar(&o.unchecked, "unchecked", false, "also pass objects to istiod that a cluster would refuse")
	flags.BoolVar(&o.plaintext, "plaintext", false, "no automatic mTLS, as in a mesh without certificates")
	flags.Bool("ambient", false, "enable ambient mode (PILOT_ENABLE_AMBIENT); waypoints always have it")
	flags.Bool("upstream-envoy", false, "leave out filters that only Istio's build of Envoy has")
}

// start starts an istiod with these objects. Objects that a cluster would refuse are left out and reported.
func (o *options) start(
	t test.Failer, objects []object, listen func() (net.Listener, error), report func(verdict),
) (*cluster, error) {
	settings, err := o.meshConfig()
	if err != nil {
		return nil, err
	}
	started := &cluster{objects: map[string]object{}}
	if started.validator, err = newValidator(o.definitions); err != nil {
		return nil, err
	}
	fake := xds.FakeOptions{MeshConfig: settings, ListenerBuilder: listen, DisableSecretAuthorization: true}
	if listen != nil {
		fake.DebounceTime = 100 * time.Millisecond // istiod's own
	}
	now := time.Now()
	for position, one := range objects {
		if answer := started.validate(&one); !answer.Accepted && !o.unchecked {
			report(answer)
			continue
		}
		started.objects[one.identity()] = one
		if one.ofIstio() {
			stored, err := one.config()
			if err != nil {
				return nil, err
			}
			if stored.CreationTimestamp.IsZero() {
				// Istio sorts by age: objects are applied in the order of the files.
				stored.CreationTimestamp = now.Add(time.Duration(position-len(objects)) * time.Second)
			}
			if listen == nil {
				stored.ResourceVersion = "1" // the default is a time, so two dumps would differ
			}
			fake.Configs = append(fake.Configs, stored)
		}
		// The registries, the Gateway API and ambient mode read from Kubernetes, also Istio's kinds.
		typed, err := one.typed()
		if err != nil {
			return nil, err
		}
		fake.KubernetesObjects = append(fake.KubernetesObjects, typed)
	}
	started.FakeDiscoveryServer = xds.NewFakeDiscoveryServer(t, fake)
	return started, nil
}

// meshConfig is the mesh's configuration over Istio's defaults.
func (o *options) meshConfig() (*meshconfig.MeshConfig, error) {
	settings, err := readMesh(o.mesh)
	if err == nil && o.plaintext {
		settings.EnableAutoMtls = wrapperspb.Bool(false)
	}
	return settings, err
}

func readMesh(file string) (*meshconfig.MeshConfig, error) {
	if file == "" {
		return mesh.DefaultMeshConfig(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := struct {
		MeshConfig map[string]any `json:"meshConfig"`
	}{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if values.MeshConfig != nil {
		if text, err = yaml.Marshal(values.MeshConfig); err != nil {
			return nil, err
		}
	}
	return mesh.ApplyMeshConfigDefaults(string(text))
}

// put creates or updates an object.
func (c *cluster) put(one object) error {
	_, exists := c.objects[one.identity()]
	if one.ofIstio() {
		stored, err := one.config()
		if err != nil {
			return err
		}
		stored.CreationTimestamp = time.Now()
		if exists {
			if old := c.Store().Get(stored.GroupVersionKind, stored.Name, stored.Namespace); old != nil {
				stored.CreationTimestamp = old.CreationTimestamp
			}
			_, err = c.Store().Update(stored)
		} else {
			_, err = c.Store().Create(stored)
		}
		if err != nil {
			return err
		}
	}
	typed, err := one.typed()
	if err != nil {
		return err
	}
	tracker, resource := c.tracker(one)
	if exists {
		err = tracker.Update(resource, typed, one.GetNamespace())
	} else {
		err = tracker.Create(resource, typed, one.GetNamespace())
	}
	if err == nil {
		c.objects[one.identity()] = one
	}
	return err
}

// remove deletes an object.
func (c *cluster) remove(one object) error {
	if one.ofIstio() {
		kind := config.FromKubernetesGVK(one.GroupVersionKind())
		if err := c.Store().Delete(kind, one.GetName(), one.GetNamespace(), nil); err != nil {
			return err
		}
	}
	delete(c.objects, one.identity())
	tracker, resource := c.tracker(one)
	return tracker.Delete(resource, one.GetNamespace(), one.GetName())
}

// tracker is the fake Kubernetes' store of this kind.
func (c *cluster) tracker(one object) (ktesting.ObjectTracker, schema.GroupVersionResource) {
	kind := one.GroupVersionKind()
	resource, known := gvk.ToGVR(config.FromKubernetesGVK(kind))
	if !known {
		resource, _ = meta.UnsafeGuessKindToResource(kind)
	}
	if resource.Group == "core" {
		resource.Group = ""
	}
	var client any = c.KubeClient().Kube()
	switch {
	case one.ofIstio():
		client = c.KubeClient().Istio()
	case kind.Group == "gateway.networking.k8s.io":
		client = c.KubeClient().GatewayAPI()
	}
	return client.(interface{ Tracker() ktesting.ObjectTracker }).Tracker(), resource
}
