{{/* Labels that select the pods of a component. Arguments of all helpers: (list $ "component" …). */}}
{{- define "heldout.selector" -}}
app.kubernetes.io/name: heldout
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "heldout.metadata" -}}
name: {{ (index . 0).Release.Name }}-{{ index . 1 }}
labels:
  {{- include "heldout.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
  helm.sh/chart: heldout-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* What the spec of each pod begins with. Third argument: the component's values. */}}
{{- define "heldout.pod" -}}
{{- $ := index . 0 -}}
serviceAccountName: {{ $.Values.serviceAccountName }}
automountServiceAccountToken: false
enableServiceLinks: false
# The first process of the pod is then one that collects ended processes.
shareProcessNamespace: true
{{- with $.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with (index . 2).pod }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What each container begins with. Third argument: the component's values. */}}
{{- define "heldout.container" -}}
{{- $ := index . 0 -}}
{{- $processor := ternary "gpu" "cpu" (eq (index . 1) "worker-gpu") -}}
name: {{ index . 1 }}
image: {{ get $.Values.image $processor | default (printf "heldout:%s-%s" $.Chart.AppVersion $processor) | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  {{- if (index . 2).separateUsers }}
  runAsUser: 0
  runAsGroup: 0
  capabilities: {drop: [ALL], add: [CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_NICE]}
  {{- else }}
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
  {{- end }}
resources: {{ toYaml (index . 2).resources | nindent 2 }}
{{- end }}

{{- define "heldout.env" -}}
{{- $ := index . 0 -}}
{{- $database := $.Values.database -}}
{{- $redis := $.Values.redis -}}
{{- $host := required "Set database.host to the host name of your PostgreSQL." $database.host -}}
- name: HELDOUT_DATABASE_URL
  value: "postgresql://{{ $database.user }}@{{ $host }}:{{ $database.port }}/{{ $database.name }}?sslmode={{ $database.sslmode }}"
- name: HELDOUT_REDIS_URL
  value: "redis{{ if $redis.tls }}s{{ end }}://{{ required "Set redis.host to the host name of your Redis." $redis.host }}:{{ $redis.port }}/{{ $redis.database }}"
- name: HELDOUT_BLOBS
  {{- if $.Values.blobs.claim }}
  value: file:///data/blobs
  {{- else }}
  value: {{ required "Set blobs.url to s3://BUCKET/PREFIX, or blobs.claim to the name of a claim." $.Values.blobs.url | quote }}
  {{- end }}
{{- range $name, $value := $.Values.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- range list "HELDOUT_DATABASE_PASSWORD" "HELDOUT_REDIS_PASSWORD" "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.secret }}, key: {{ . }}, optional: true}}
{{- end }}
{{- end }}

{{/* Folders that may be written to: temporary files, and the blobs if they are a folder. */}}
{{- define "heldout.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if (index . 0).Values.blobs.claim }}
- {name: blobs, mountPath: /data/blobs}
{{- end }}
{{- end }}

{{- define "heldout.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- with (index . 0).Values.blobs.claim }}
- {name: blobs, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- end }}

{{/* Probes of what speaks HTTP. */}}
{{- define "heldout.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 10
# Nothing is sent to the pod any more when it begins to stop.
lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
{{- end }}

{{/* One pod at a time may be moved by whoever empties a node. */}}
{{- define "heldout.disruption" -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{ include "heldout.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{ include "heldout.selector" . | nindent 6 }}
{{- end }}
