{{- /* Names, labels, and the facts that the chart has in common with the plain manifest. */ -}}

{{- define "voice.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "voice.labels" -}}
app: {{ include "voice.name" . }}
app.kubernetes.io/name: voice-appliance
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "voice.selector" -}}
app: {{ include "voice.name" . }}
{{- end -}}

{{- define "voice.facts" -}}
{{- .Files.Get (printf "facts/%s.yaml" .Values.profile) -}}
{{- end -}}

{{- define "voice.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default (printf "%s-%s" $.Chart.AppVersion $.Values.profile)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "voice.secret.token" -}}
{{- .Values.secrets.token | default (printf "%s-token" (include "voice.name" .)) -}}
{{- end -}}

{{- define "voice.secret.tls" -}}
{{- .Values.secrets.tls | default (printf "%s-tls" (include "voice.name" .)) -}}
{{- end -}}

{{- define "voice.places" -}}
{{- .Values.places | default (include "voice.facts" . | fromYaml).places | int -}}
{{- end -}}

{{- /* The environment of the container: facts, values that are settings, and the settings of the site. */ -}}
{{- define "voice.environment" -}}
{{- $all := dict -}}
{{- range $name, $value := (include "voice.facts" . | fromYaml).environment }}{{ $_ := set $all $name $value }}{{ end -}}
{{- $_ := set $all "VOICE_GATEWAY_SESSION_SECONDS" (.Values.callSeconds | int) -}}
{{- with .Values.places }}{{ $_ := set $all "VOICE_GATEWAY_MAX_SESSIONS" (int .) }}{{ end -}}
{{- if .Values.tls.terminatedByProxy }}{{ $_ := set $all "VOICE_GATEWAY_PLAIN_NETWORK" true }}{{ end -}}
{{- with .Values.trustedProxies }}{{ $_ := set $all "VOICE_GATEWAY_TRUSTED_PROXIES" (join "," .) }}{{ end -}}
{{- range $name, $value := .Values.settings }}{{ $_ := set $all $name $value }}{{ end -}}
{{- range $name, $value := $all }}
- name: {{ $name }}
  {{- /* YAML and JSON make floats of large integers; %v would print 1e+06. */}}
  value: {{ if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ int64 $value | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end -}}

{{- /* What decides on which nodes a pod may run. */ -}}
{{- define "voice.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $gpu := eq .Values.profile "gpu" }}
{{- if or $gpu .Values.tolerations }}
tolerations:
  {{- if $gpu }}
  - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "voice.podSecurity" -}}
{{- $user := (include "voice.facts" . | fromYaml).user | int -}}
runAsNonRoot: true
runAsUser: {{ $user }}
runAsGroup: {{ $user }}
# Files of a Secret belong to root and are readable by this group.
fsGroup: {{ $user }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "voice.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}
