{{/* Parts that the pods of the product have in common. */}}
{{- define "parlance.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# Secrets are mounted readable by this group, which is the process's own.
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "parlance.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "parlance.environment" -}}
env:
  - name: APP_ENV
    value: {{ default "production" .Values.settings.APP_ENV | quote }}
  - name: PORT
    value: "5503"
  - name: SHUTDOWN_DELAY
    value: {{ printf "%ds" (int .Values.api.shutdownDelaySeconds) | quote }}
  - name: JWT_PRIVATE_KEY_PATH
    value: /etc/parlance/keys/private.pem
  - name: JWT_PUBLIC_KEY_PATH
    value: /etc/parlance/keys/public.pem
  {{- range $name, $value := omit .Values.settings "APP_ENV" }}
  {{- /* Helm reads numbers as floats, and would write large ones with an exponent. */}}
  - name: {{ $name }}
    value: {{ if kindIs "float64" $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
  {{- end }}
envFrom:
  - secretRef:
      name: {{ .Values.secret.name }}
{{- end }}

{{- define "parlance.mounts" -}}
- name: keys
  mountPath: /etc/parlance/keys
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if or .Values.certificateAuthority.secretName .Values.certificateAuthority.configMapName }}
- name: ca
  mountPath: /etc/parlance/ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "parlance.volumes" -}}
- name: keys
  secret:
    secretName: {{ .Values.keys.secretName }}
    defaultMode: 0440
    items:
      {{- toYaml .Values.keys.items | nindent 6 }}
{{- with .Values.certificateAuthority }}
{{- if .secretName }}
- name: ca
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0444
{{- else if .configMapName }}
- name: ca
  configMap:
    name: {{ .configMapName }}
{{- end }}
{{- end }}
{{- end }}

{{/* Scheduling: takes a list of the root, the kind, and the values of the kind. */}}
{{- define "parlance.scheduling" -}}
{{- $kind := index . 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "parlance.selector" . | nindent 8 }}
{{- with $kind.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $kind.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $kind.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
