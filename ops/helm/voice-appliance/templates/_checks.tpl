{{- /* Combinations of values that cannot work. values.schema.json checks each value on its own. */ -}}
{{- define "voice.checks" -}}
{{- range $name, $_ := .Values.settings -}}
{{- if not (regexMatch "^VOICE_[A-Z0-9_]+$" $name) }}{{ fail (printf "settings.%s: the name of a setting is VOICE_ and capitals; `python -m appliance settings` lists them" $name) }}{{ end -}}
{{- end -}}
{{- range $setting, $value := dict
    "VOICE_GATEWAY_SESSION_SECONDS" "callSeconds, which also sets how long a drain may take"
    "VOICE_GATEWAY_MAX_SESSIONS" "places"
    "VOICE_GATEWAY_PLAIN_NETWORK" "tls.terminatedByProxy"
    "VOICE_GATEWAY_TRUSTED_PROXIES" "trustedProxies"
    "VOICE_GATEWAY_TOKEN_STORE" "secrets.token"
    "VOICE_GATEWAY_TOKEN_FILE" "secrets.token"
    "VOICE_TTS_LEXICON_FILE" "lexicon"
-}}
{{- if hasKey $.Values.settings $setting }}{{ fail (printf "settings.%s: set the value %s instead" $setting $value) }}{{ end -}}
{{- end -}}
{{- range tuple "VOICE_GATEWAY_PORT" "VOICE_EXPORTER_PORT" "VOICE_PROFILE" -}}
{{- if hasKey $.Values.settings . }}{{ fail (printf "settings.%s: remove it; the chart and the image determine it" .) }}{{ end -}}
{{- end -}}
{{- with .Values.image -}}
{{- if and (not .digest) (has .tag (list "current" "previous" "latest" "main" "cpu" "gpu")) -}}
{{- fail (printf "image.tag: %s names another image after each activation, and a rollback would start the new one; use the tag of a release, such as %s-%s" .tag $.Chart.AppVersion $.Values.profile) -}}
{{- end -}}
{{- if and .tag .digest }}{{ fail "image: set tag or digest, not both" }}{{ end -}}
{{- if and (not .digest) (hasSuffix "-cpu" .tag) (eq $.Values.profile "gpu") }}{{ fail (printf "image.tag: %s is not of profile gpu" .tag) }}{{ end -}}
{{- if and (not .digest) (hasSuffix "-gpu" .tag) (eq $.Values.profile "cpu") }}{{ fail (printf "image.tag: %s is not of profile cpu" .tag) }}{{ end -}}
{{- end -}}
{{- if and .Values.tls.terminatedByProxy (not .Values.trustedProxies) -}}
{{- fail "tls.terminatedByProxy: name the addresses of the proxy in trustedProxies; otherwise all callers count as one address" -}}
{{- end -}}
{{- if and .Values.tls.terminatedByProxy .Values.networkPolicy.enabled (not .Values.networkPolicy.callers) -}}
{{- fail "tls.terminatedByProxy: calls are not encrypted behind the proxy; let only its pods call (networkPolicy.callers)" -}}
{{- end -}}
{{- range $label, $_ := include "voice.selector" . | fromYaml -}}
{{- if hasKey $.Values.podLabels $label }}{{ fail (printf "podLabels.%s: remove it; the chart finds its pods by this label" $label) }}{{ end -}}
{{- end -}}
{{- range $name, $_ := .Values.podAnnotations -}}
{{- if hasPrefix "checksum/" $name }}{{ fail (printf "podAnnotations.%s: choose a name without checksum/; by those the chart sees that pods have to be replaced" $name) }}{{ end -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if .enabled -}}
{{- if not .prometheus }}{{ fail "autoscaling.prometheus: set the address of Prometheus, http://ADDRESS:PORT" }}{{ end -}}
{{- if not $.Values.podMonitor.enabled }}{{ fail "autoscaling: also set podMonitor.enabled; it counts the calls that Prometheus scrapes" }}{{ end -}}
{{- if lt (int .maxReplicas) (int .minReplicas) }}{{ fail "autoscaling: maxReplicas is below minReplicas" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with .Values.ingress -}}
{{- if and .enabled (not .host) }}{{ fail "ingress.host: set the name that callers use" }}{{ end -}}
{{- if and .enabled (not .tlsSecret) }}{{ fail "ingress.tlsSecret: set the secret with the certificate of ingress.host" }}{{ end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- if and .enabled (not .parent.name) }}{{ fail "gateway.parent: set the name of the Gateway" }}{{ end -}}
{{- if and .enabled (not $.Values.tls.terminatedByProxy) (or (not .backendName) (not .backendCA)) -}}
{{- fail "gateway: set backendName and backendCA, so that it can verify the appliance; or tls.terminatedByProxy" -}}
{{- end -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.gateway.enabled) (not .Values.trustedProxies) -}}
{{- fail "trustedProxies: name the addresses of the ingress or the gateway; otherwise all callers count as one address" -}}
{{- end -}}
{{- end -}}
