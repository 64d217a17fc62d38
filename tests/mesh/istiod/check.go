package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	admission "k8s.io/api/admission/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/manifests"
	"istio.io/istio/pkg/config/crd"
	"istio.io/istio/pkg/config/schema/collections"
	webhook "istio.io/istio/pkg/webhooks/validation/server"
)

// validator answers like a cluster with Istio when an object is applied.
type validator struct {
	schemas *crd.Validator
	webhook *http.ServeMux
}

// newValidator takes Istio's custom resource definitions from the program itself, and those of the Gateway API from the
// files that are given, by default from the copy of Istio's source.
func newValidator(definitions []string) (validator, error) {
	own, err := manifests.FS.ReadFile("charts/base/files/crd-all.gen.yaml")
	if err != nil {
		return validator{}, err
	}
	folder, err := os.MkdirTemp("", "sidetrack-istiod")
	if err != nil {
		return validator{}, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "crds.yaml")
	if err := os.WriteFile(file, own, 0o600); err != nil {
		return validator{}, err
	}
	if len(definitions) == 0 {
		for _, name := range []string{"gateway-api-crd.yaml", "gateway-api-inference-extension-crd.yaml"} {
			path, err := shared(name)
			if err != nil {
				return validator{}, err
			}
			definitions = append(definitions, path)
		}
	}
	schemas, err := crd.NewValidatorFromFilesWithOptions(append(definitions, file), crd.WithoutCRDValidation())
	if err != nil {
		return validator{}, err
	}
	mux := http.NewServeMux()
	options := webhook.Options{Schemas: collections.Istio, DomainSuffix: "cluster.local", Mux: mux}
	if _, err := webhook.New(options); err != nil {
		return validator{}, err
	}
	return validator{schemas, mux}, nil
}

// verdict is the answer for one object.
type verdict struct {
	File     string   `json:"file"`
	Object   string   `json:"object"`
	Accepted bool     `json:"accepted"`
	Skipped  bool     `json:"skipped,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (v verdict) String() string {
	text := "accepted " + v.Object
	switch {
	case v.Skipped:
		text = "skipped  " + v.Object + ": neither a kind of Istio nor of the Gateway API"
	case !v.Accepted:
		text = "refused  " + v.Object + "\n  " + v.Reason
	}
	for _, warning := range v.Warnings {
		text += "\n  warning: " + warning
	}
	return text
}

// validate also fills in the defaults of the definitions, as the API server does before it stores an object.
func (v validator) validate(o *object) verdict {
	answer := verdict{File: o.file, Object: o.key()}
	if schema, known := o.schema(); !o.ofIstio() && (!known || schema.IsBuiltin()) {
		answer.Accepted, answer.Skipped = true, true
		return answer
	}
	err := v.schemas.ValidateCustomResource(&o.Unstructured)
	if err == nil {
		o.json, err = json.Marshal(o.Object)
	}
	if err != nil {
		answer.Reason = "schema: " + err.Error()
		return answer
	}
	if !o.ofIstio() {
		answer.Accepted = true // istiod's webhook only receives Istio's kinds
		return answer
	}
	response, err := v.review(o)
	if err != nil {
		answer.Reason = "webhook: " + err.Error()
		return answer
	}
	answer.Accepted, answer.Warnings = response.Allowed, response.Warnings
	if !response.Allowed && response.Result != nil {
		answer.Reason = "webhook: " + response.Result.Message
	}
	return answer
}

// review sends the webhook what the API server would send.
func (v validator) review(o *object) (*admission.AdmissionResponse, error) {
	gvk := o.GroupVersionKind()
	review := admission.AdmissionReview{
		TypeMeta: meta.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"},
		Request: &admission.AdmissionRequest{
			UID:       "1",
			Kind:      meta.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
			Namespace: o.GetNamespace(),
			Operation: admission.Create,
			Object:    runtime.RawExtension{Raw: o.json},
		},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	request := httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	v.webhook.ServeHTTP(recorder, request)
	answer := admission.AdmissionReview{}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("%w: %s", err, recorder.Body)
	}
	if answer.Response == nil {
		return nil, errors.New("the review has no response")
	}
	return answer.Response, nil
}

// check prints a verdict for each object of each file.
func check(arguments []string) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print a JSON list instead of text")
	var definitions list
	flags.Var(&definitions, "crds", "a file with the definitions of the Gateway API, instead of those in Istio's source")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	cluster, err := newValidator(definitions)
	if err != nil {
		return err
	}
	verdicts := []verdict{}
	var result error
	for _, file := range flags.Args() {
		objects, err := readFile(file)
		if err != nil {
			// Kubernetes cannot read it either.
			verdicts = append(verdicts, verdict{File: file, Object: file, Reason: "manifest: " + err.Error()})
			result = errRefused
			continue
		}
		for _, one := range objects {
			answer := cluster.validate(&one)
			verdicts = append(verdicts, answer)
			if !answer.Accepted {
				result = errRefused
			}
		}
	}
	if *asJSON {
		text, err := json.MarshalIndent(verdicts, "", "  ")
		if err != nil {
			return err
		}
		fmt.Println(string(text))
		return result
	}
	for _, answer := range verdicts {
		fmt.Println(answer)
	}
	return result
}
