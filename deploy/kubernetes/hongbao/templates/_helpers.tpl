{{/* The release's name, or release and chart where the one does not hold the other. */}}
{{- define "hongbao.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The four services, in the order in which a packet travels backwards. */}}
{{- define "hongbao.roles" -}}
webpage redpacket account monitor
{{- end -}}

{{/* What selects all pods of this release. */}}
{{- define "hongbao.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What selects one service's pods; takes dict root, role. */}}
{{- define "hongbao.roleSelector" -}}
{{ include "hongbao.selector" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "hongbao.labels" -}}
{{ include "hongbao.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hongbao.kubeVersion" -}}
{{- .Values.kubeVersion | default .Capabilities.KubeVersion.Version -}}
{{- end -}}

{{- define "hongbao.image" -}}
{{- $image := .Values.image -}}
{{- $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Refuses values that go together badly; the schema refuses each that is wrong by itself. */}}
{{- define "hongbao.check" -}}
{{- $values := .Values -}}
{{- if not $values.publicUrl -}}
{{- fail "publicUrl must be set: where people reach it, such as https://rain.example.com" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.trustedProxies) -}}
{{- fail "trustedProxies must be set: the network of the ingress controller's pods, such as [10.244.0.0/16]; without it all users would share one address's limits" -}}
{{- end -}}
{{- range $role := splitList " " (include "hongbao.roles" .) -}}
{{- $told := index $values $role -}}
{{- if and $told.autoscaling.enabled (lt (int $told.autoscaling.maxReplicas) (int $told.replicas)) -}}
{{- fail (printf "%s.autoscaling.maxReplicas (%d) is below %s.replicas (%d)" $role (int $told.autoscaling.maxReplicas) $role (int $told.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (or $values.mns.url $values.sls.endpoint) (not $values.accessKey.id) -}}
{{- fail "mns.url and sls.endpoint need accessKey.id, and its secret in the Secret" -}}
{{- end -}}
{{- if and $values.sls.endpoint (not $values.sls.project) -}}
{{- fail "sls.endpoint needs sls.project" -}}
{{- end -}}
{{- if and (gt (int $values.drain.preStopSleepSeconds) 0) (semverCompare "<1.30.0-0" (include "hongbao.kubeVersion" .)) -}}
{{- fail "drain.preStopSleepSeconds needs Kubernetes 1.30; leave it 0, the services drain by themselves" -}}
{{- end -}}
{{- end -}}

{{- /* The port that a URL of http or https leads to. */}}
{{- define "hongbao.port" -}}
{{- $host := (urlParse .).host -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $host) | default (ternary "80" "443" (hasPrefix "http://" .)) -}}
{{- end }}

{{/* How long a pod may take to end: every part of its drain, and some air. */}}
{{- define "hongbao.graceSeconds" -}}
{{- $drain := .Values.drain -}}
{{- add (int $drain.preStopSleepSeconds) (int $drain.noticeSeconds) (int $drain.seconds) 15 -}}
{{- end -}}

{{/* Whether a service signs with the cloud's access key; takes dict root, role. */}}
{{- define "hongbao.callsCloud" -}}
{{- $values := .root.Values -}}
{{- if and (ne .role "webpage") (or $values.mns.url (and $values.sls.endpoint (ne .role "account"))) }}yes{{ end -}}
{{- end -}}

{{/* Environment of a service; takes dict root, role. Secrets are files, but for URLs, which have no other way in. */}}
{{- define "hongbao.env" -}}
{{- $values := .root.Values -}}
{{- $role := .role -}}
{{- $told := index $values $role -}}
{{- $keys := $values.secret.keys -}}
- {name: HONGBAO_LISTEN, value: "0.0.0.0:8080"}
- {name: HONGBAO_ADMIN_LISTEN, value: "0.0.0.0:9090"}
- {name: HONGBAO_LOG_FORMAT, value: json}
- {name: HONGBAO_DRAIN_NOTICE_SECONDS, value: {{ $values.drain.noticeSeconds | quote }}}
- {name: HONGBAO_DRAIN_SECONDS, value: {{ $values.drain.seconds | quote }}}
{{- with $values.trustedProxies }}
- {name: HONGBAO_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
{{- if ne $role "webpage" }}
- {name: HONGBAO_PUBLIC_URL, value: {{ $values.publicUrl | quote }}}
- {name: HONGBAO_IDENTITY, value: {{ $values.identity }}}
- {name: HONGBAO_LEASE_SECONDS, value: {{ $values.leaseSeconds | quote }}}
- {name: HONGBAO_TOKEN_SECRET_FILE, value: /run/secrets/hongbao/token-secret}
{{- if $values.database.host }}
- {name: DB_HOST, value: {{ $values.database.host | quote }}}
- {name: DB_PORT, value: {{ $values.database.port | quote }}}
- {name: DB_NAME, value: {{ $values.database.name | quote }}}
- {name: DB_USER, value: {{ $values.database.user | quote }}}
- {name: DB_PASSWD_FILE, value: /run/secrets/hongbao/database-password}
{{- else }}
- name: HONGBAO_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $values.secret.name }}, key: {{ $keys.databaseUrl }}}}
{{- end }}
{{- if $values.mns.url }}
- {name: MNS_URL, value: {{ $values.mns.url | quote }}}
{{- else }}
- name: HONGBAO_QUEUE_URL
  valueFrom: {secretKeyRef: {name: {{ $values.secret.name }}, key: {{ $keys.queueUrl }}}}
{{- end }}
{{- end }}
{{- if eq (include "hongbao.callsCloud" .) "yes" }}
- {name: ACCESS_KEY_ID, value: {{ $values.accessKey.id | quote }}}
- {name: ACCESS_KEY_SECRET_FILE, value: /run/secrets/hongbao/access-key-secret}
{{- end }}
{{- if and $values.sls.endpoint (has $role (list "redpacket" "monitor")) }}
- {name: HONGBAO_SLS_ENDPOINT, value: {{ $values.sls.endpoint | quote }}}
- {name: HONGBAO_SLS_PROJECT, value: {{ $values.sls.project | quote }}}
- {name: HONGBAO_SLS_LOGSTORE, value: {{ $values.sls.logstore | quote }}}
{{- with $values.sls.region }}
- {name: HONGBAO_SLS_REGION, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- if eq $role "account" }}
- {name: HONGBAO_INNER_LISTEN, value: "0.0.0.0:8081"}
{{- if $values.attempts.fromSecret }}
- name: HONGBAO_ATTEMPTS_URL
  valueFrom: {secretKeyRef: {name: {{ $values.secret.name }}, key: {{ $keys.attemptsUrl }}}}
{{- end }}
{{- end }}
{{- if or (eq $role "account") (eq $role "redpacket") }}
- {name: HONGBAO_SERVICE_KEY_FILE, value: /run/secrets/hongbao/service-key}
{{- end }}
{{- if eq $role "redpacket" }}
- {name: HONGBAO_ACCOUNT_URL, value: "http://{{ include "hongbao.fullname" .root }}-account-inner:8081"}
- {name: HONGBAO_DATA_DIR, value: /var/lib/hongbao}
- {name: HONGBAO_ACCESS_LOG, value: /var/log/redpacket_access.log}
{{- end }}
{{- if eq $role "monitor" }}
- {name: HONGBAO_ORGANISER_KEY_FILE, value: /run/secrets/hongbao/organiser-key}
{{- $grabbing := $values.redpacket }}
- {name: HONGBAO_REPLICAS, value: {{ ternary $grabbing.autoscaling.maxReplicas $grabbing.replicas $grabbing.autoscaling.enabled | quote }}}
{{- end }}
{{- with $values.aliyunLogs }}
{{- if .enabled }}
- {name: aliyun_logs_{{ .prefix }}-{{ $role }}, value: stdout}
{{- if .project }}
- {name: aliyun_logs_{{ .prefix }}-{{ $role }}_project, value: {{ .project | quote }}}
{{- end }}
{{- if eq $role "redpacket" }}
- {name: aliyun_logs_{{ .prefix }}-access, value: /var/log/redpacket_access.log}
{{- if .project }}
- {name: aliyun_logs_{{ .prefix }}-access_project, value: {{ .project | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := $told.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with $told.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Which keys of the Secret a service gets as files; takes dict root, role. */}}
{{- define "hongbao.secretItems" -}}
{{- $values := .root.Values -}}
{{- $keys := $values.secret.keys -}}
- {key: {{ $keys.tokenSecret }}, path: token-secret}
{{- if ne .role "monitor" }}
- {key: {{ $keys.serviceKey }}, path: service-key}
{{- else }}
- {key: {{ $keys.organiserKey }}, path: organiser-key}
{{- end }}
{{- if $values.database.host }}
- {key: {{ $keys.databasePassword }}, path: database-password}
{{- end }}
{{- if eq (include "hongbao.callsCloud" .) "yes" }}
- {key: {{ $keys.accessKeySecret }}, path: access-key-secret}
{{- end }}
{{- end -}}
