{{- define "voice.pod" -}}
{{- $facts := include "voice.facts" . | fromYaml -}}
{{- $gpu := eq .Values.profile "gpu" -}}
{{- $https := not .Values.tls.terminatedByProxy -}}
# Otherwise Kubernetes sets VOICE_APPLIANCE_PORT and others. They are unknown settings, and the appliance would not start.
enableServiceLinks: false
automountServiceAccountToken: false
{{- if and $gpu .Values.gpu.runtimeClassName }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- include "voice.placement" . }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ .Values.spread.topologyKey }}
    whenUnsatisfiable: {{ .Values.spread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "voice.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
# The longest call plus the stop time.
terminationGracePeriodSeconds: {{ add (int .Values.callSeconds) (int $facts.stopSeconds) }}
securityContext: {{- include "voice.podSecurity" . | nindent 2 }}
containers:
  - name: {{ .Chart.Name }}
    image: {{ include "voice.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    # Part of the template, so that a change replaces the pods, and a rollback also restores the settings.
    env: {{- include "voice.environment" . | nindent 6 }}
    ports:
      - {name: calls, containerPort: {{ $facts.ports.calls }}, protocol: TCP}
      - {name: metrics, containerPort: {{ $facts.ports.metrics }}, protocol: TCP}
    resources:
      {{- if .Values.resources }}
      {{- toYaml .Values.resources | nindent 6 }}
      {{- else }}
      {{- $device := ternary (printf ", nvidia.com/gpu: %q" (toString $facts.gpus)) "" $gpu }}
      requests: {cpu: {{ $facts.cpus | quote }}, memory: {{ $facts.memory }}{{ $device }}}
      limits: {memory: {{ $facts.memory }}{{ $device }}}
      {{- end }}
    securityContext: {{- include "voice.containerSecurity" . | nindent 6 }}
    {{- /* During a drain, or while an engine restarts, a replica is not ready and gets no new calls. The liveness probe
    is a last resort: the guard in the container restarts a hung process earlier. */}}
    {{- range $probe, $path := dict "startup" "/readyz" "readiness" "/readyz" "liveness" "/healthz" }}
    {{ $probe }}Probe:
      httpGet: {path: {{ $path }}, port: {{ $facts.ports.calls }}{{ ternary ", scheme: HTTPS" "" $https }}}
      {{- toYaml (get $facts.probes $probe) | nindent 6 }}
    {{- end }}
    lifecycle:
      preStop:
        exec:
          command: [python, -m, appliance, drain, --wait, {{ .Values.callSeconds | int | quote }}]
    volumeMounts:
      {{- range $name, $folder := $facts.folders }}
      - {name: {{ $name }}, mountPath: {{ $folder.path }}}
      {{- end }}
      # The whole folder: a single mounted file would not follow changes of the Secret.
      - {name: token, mountPath: /run/secrets/voice-appliance, readOnly: true}
      {{- if $https }}
      - {name: tls, mountPath: /run/secrets/tls, readOnly: true}
      {{- end }}
      {{- if .Values.lexicon }}
      - {name: lexicon, mountPath: {{ $facts.etc }}, readOnly: true}
      {{- end }}
volumes:
  # In memory; counts towards the memory limit of the container.
  {{- range $name, $folder := $facts.folders }}
  - name: {{ $name }}
    emptyDir: {medium: Memory, sizeLimit: {{ $folder.size }}}
  {{- end }}
  - name: token
    secret: {secretName: {{ include "voice.secret.token" . }}, defaultMode: 0440, optional: false}
  {{- if $https }}
  - name: tls
    secret: {secretName: {{ include "voice.secret.tls" . }}, defaultMode: 0440, optional: false}
  {{- end }}
  {{- if .Values.lexicon }}
  - name: lexicon
    configMap: {name: {{ include "voice.name" . }}-lexicon}
  {{- end }}
{{- end -}}
