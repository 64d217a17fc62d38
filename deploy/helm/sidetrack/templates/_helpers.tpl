{{/* The experiment file: that of the values, or the chart's own. Helm would merge the two, so the latter is no value. */}}
{{- define "sidetrack.file" -}}
{{- $own := .Files.Get "experiment.yaml" | fromYaml -}}
{{- $file := dict "experiments" (.Values.experiments | default $own.experiments) -}}
{{- $settings := .Values.settings -}}
{{- if not (or .Values.experiments .Values.settings) -}}
  {{- $settings = $own.settings -}}
{{- end -}}
{{- with $settings -}}
  {{- $_ := set $file "settings" . -}}
{{- end -}}
{{- toJson $file -}}
{{- end -}}

{{/* The configuration of the filter: the experiment file without clusters, since the routes decide. */}}
{{- define "sidetrack.configuration" -}}
{{- include "sidetrack.check" . -}}
{{- $file := include "sidetrack.file" . | fromJson -}}
{{- $experiments := list -}}
{{- range $file.experiments -}}
  {{- $variants := list -}}
  {{- range .variants -}}
    {{- $variants = append $variants (omit . "cluster") -}}
  {{- end -}}
  {{- $experiments = append $experiments (set (deepCopy .) "variants" $variants) -}}
{{- end -}}
{{- toYaml (set $file "experiments" $experiments) -}}
{{- end -}}

{{/* What the routes depend on, of this file. */}}
{{- define "sidetrack.shape" -}}
{{- $file := include "sidetrack.file" . | fromJson -}}
{{- $experiments := list -}}
{{- range $file.experiments -}}
  {{- $names := list -}}
  {{- range .variants -}}
    {{- $names = append $names .name -}}
  {{- end -}}
  {{- $mirror := .mirror | default dict -}}
  {{- $overrides := .overrides | default dict -}}
  {{- $experiments = append $experiments (dict "name" .name "match" .match "baseline" .baseline "variants" $names "mirror" $mirror.cluster "override" $overrides.header) -}}
{{- end -}}
{{- $settings := $file.settings | default dict -}}
{{- dict "experiments" $experiments "header_prefix" $settings.header_prefix | toJson -}}
{{- end -}}

{{/* Refuses values for which this chart has other routes. */}}
{{- define "sidetrack.check" -}}
{{- $hint := "Write the chart again with sidetrack render helm, and upgrade to it." -}}
{{- $made := fromJson "{\"experiments\":[{\"baseline\":\"baseline-predictor\",\"match\":{\"path\":{\"prefix\":\"/v2/models/forecast\"}},\"mirror\":null,\"name\":\"financial-ab-test\",\"override\":null,\"variants\":[\"baseline-predictor\",\"enhanced-predictor\"]}],\"header_prefix\":null}" -}}
{{- $given := include "sidetrack.shape" . | fromJson -}}
{{- if ne (len $made.experiments) (len $given.experiments) -}}
  {{- fail (printf "experiments: the file has %d, but this chart has routes for %d. %s" (len $given.experiments) (len $made.experiments) $hint) -}}
{{- end -}}
{{- if ne (toJson $made.header_prefix) (toJson $given.header_prefix) -}}
  {{- fail (printf "settings.header_prefix is %s, but the routes of this chart are for %s. %s" (toJson $given.header_prefix) (toJson $made.header_prefix) $hint) -}}
{{- end -}}
{{- range $index, $experiment := $made.experiments -}}
  {{- $other := index $given.experiments $index -}}
  {{- range $key := list "name" "match" "baseline" "variants" "mirror" "override" -}}
    {{- if ne (toJson (get $experiment $key)) (toJson (get $other $key)) -}}
      {{- fail (printf "experiments[%d].%s is %s, but the routes of this chart are for %s. %s" $index $key (toJson (get $other $key)) (toJson (get $experiment $key)) $hint) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $file := include "sidetrack.file" . | fromJson -}}
{{- range $index, $experiment := $file.experiments -}}
  {{- range $experiment.unit -}}
    {{- if hasKey . "body" -}}
      {{- fail (printf "experiments[%d].unit names a value of the body, which this filter cannot wait for in Istio. Use a header, cookie or query parameter." $index) -}}
    {{- end -}}
  {{- end -}}
  {{- range $experiment.variants -}}
    {{- if hasKey . "body" -}}
      {{- fail (printf "experiments[%d]: the variant %s sets values of the body, which this filter cannot wait for in Istio." $index .name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
