"""Checks the Helm chart: python scripts/kubernetes/check.py

- Several sets of values are rendered for three minors of Kubernetes, and every manifest is
  validated strictly against that minor's schema.
- Every rendering is looked through for what must hold (checks.py).
- Each of those checks is shown to fail on a manifest that was broken on purpose, and bad values
  are shown to be refused, each with its reason.
"""

import json

import helm_python as helm
import kubernetes_validate

import checks
from chart import CHART, TOLD, Rendered, merged, render, values_file

MINORS = ["1.35", "1.36", "1.37"]
# Before there was a tolerance, and before there was a sleep.
OLD_MINORS = ["1.34", "1.29"]

CASES = {
    "default": {},
    "ack": values_file("values-ack.yaml"),
    "a name for each service": {
        "ingress": {"hosts": ["rain.example.com"], "prefixDomain": "example.com",
                    "tls": [{"secretName": "tls", "hosts": ["rain.example.com", "*.example.com"]}],
                    "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "16m"}}},
    "no autoscaling": {role: {"autoscaling": {"enabled": False}} for role in ["webpage", "redpacket", "account"]},
    "postgres, watched": {
        "attempts": {"fromSecret": True},
        "networkPolicy": {"database": {"ports": [5432], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "redpacket": {"env": {"HONGBAO_LOG": "debug", "HONGBAO_THREADS": 4},
                      "envFrom": [{"name": "HONGBAO_X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]},
        "drain": {"preStopSleepSeconds": 5},
        "sls": {"endpoint": "https://cn-x.log.aliyuncs.com", "project": "rain"}, "accessKey": {"id": "id"}},
    "a cloud of its own": {
        "mns": {"url": "http://mns.cloud:8091"}, "attempts": {"fromSecret": True},
        "sls": {"endpoint": "http://sls.cloud", "project": "rain"}, "accessKey": {"id": "id"}},
    "bare": {"networkPolicy": {"enabled": False}, "ingress": {"enabled": False}, "identity": "registered",
             "database": {"host": "10.0.0.9"}, "monitor": {"replicas": 2, "autoscaling": {"enabled": True}},
             "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
             "nodeSelector": {"kubernetes.io/os": "linux"}, "priorityClassName": "high",
             "tolerations": [{"key": "rain", "operator": "Exists"}], "podLabels": {"team": "rain"}},
}

# How a check says no: what is missing is a KeyError of its own accord.
FOUND = (AssertionError, KeyError, ValueError)

# What is refused, and a part of the reason.
REFUSED = [
    ({"publicUrl": ""}, "publicUrl must be set"),
    ({"publicUrl": "rain.example.com"}, "publicUrl"),
    ({"trustedProxies": []}, "trustedProxies must be set"),
    ({"trustedProxies": ["the ingress"]}, "trustedProxies"),
    ({"redpackets": {"replicas": 3}}, "redpackets"),
    ({"redpacket": {"replicas": 0}}, "replicas"),
    ({"redpacket": {"replicas": 30}}, "is below redpacket.replicas"),
    ({"redpacket": {"resources": {"requests": {"cpu": None}}}}, "cpu"),
    ({"redpacket": {"env": {"HONGBAO_TOKEN_SECRET": "sesame"}}}, "HONGBAO_TOKEN_SECRET"),
    ({"redpacket": {"env": {"DB_PASSWD": "sesame"}}}, "DB_PASSWD"),
    ({"identity": "everybody"}, "identity"),
    ({"leaseSeconds": 5}, "leaseSeconds"),
    ({"secret": {"name": "Not A Name"}}, "secret"),
    ({"secret": {"keys": {"tokenSecret": None}}}, "tokenSecret"),
    ({"mns": {"url": "https://1.mns.cn-x.aliyuncs.com"}}, "accessKey.id"),
    ({"sls": {"endpoint": "https://cn-x.log.aliyuncs.com", "project": "rain"}}, "accessKey.id"),
    ({"sls": {"endpoint": "https://cn-x.log.aliyuncs.com"}, "accessKey": {"id": "id"}}, "sls.project"),
    ({"networkPolicy": {"ingressFrom": []}}, "ingressFrom"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"aliyunLogs": {"prefix": "hong_bao"}}, "prefix"),
]


def pod(r, role):
    return r.pod(role)["spec"]


def own(r, role):
    return r.container(role)["securityContext"]


def policy(r, name):
    return r.one("NetworkPolicy", name)["spec"]


def told(r, role):
    return r.container(role)["env"]


# What each check must see: a change of the manifests for the worse.
BROKEN = [
    ("pods_are_confined", lambda r: own(r, "redpacket").update(readOnlyRootFilesystem=False)),
    ("pods_are_confined", lambda r: own(r, "account")["capabilities"].update(add=["NET_ADMIN"])),
    ("pods_are_confined", lambda r: pod(r, "monitor")["securityContext"].pop("seccompProfile")),
    ("pods_are_confined", lambda r: pod(r, "webpage").update(hostNetwork=True)),
    ("pods_are_confined", lambda r: pod(r, "webpage").update(automountServiceAccountToken=True)),
    ("probes_are_the_services_own", lambda r: r.container("account").pop("livenessProbe")),
    ("probes_are_the_services_own", lambda r: r.container("monitor")["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("probes_are_the_services_own", lambda r: r.container("redpacket")["livenessProbe"]["httpGet"].update(port="http")),
    ("resources_are_told", lambda r: r.container("webpage")["resources"]["requests"].pop("cpu")),
    ("no_secret_stands_in_the_clear", lambda r: told(r, "monitor").append({"name": "HONGBAO_ORGANISER_KEY", "value": "x"})),
    ("no_secret_stands_in_the_clear", lambda r: r.manifests.append({"kind": "Secret", "metadata": {"name": "x"}})),
    ("no_secret_stands_in_the_clear", lambda r: pod(r, "account")["volumes"][0]["secret"]["items"].pop()),
    ("each_service_gets_its_own_secrets_only", lambda r: pod(r, "redpacket")["volumes"][0]["secret"]["items"].append({"key": "k", "path": "organiser-key"})),
    ("who_calls_the_cloud_has_its_key", lambda r: told(r, "account").append({"name": "ACCESS_KEY_ID", "value": "id"})),
    ("services_lead_to_pods", lambda r: r.one("Service", "-monitor")["spec"]["selector"].pop("app.kubernetes.io/component")),
    ("services_lead_to_pods", lambda r: r.one("Service", "-account-inner")["spec"]["ports"][0].update(targetPort="http2")),
    ("the_inner_port_is_for_redpacket_alone", lambda r: policy(r, "-account")["ingress"].append({"from": [{"podSelector": {}}]})),
    ("the_inner_port_is_for_redpacket_alone", lambda r: policy(r, "-account")["ingress"][2]["from"][0]["podSelector"]["matchLabels"].pop("app.kubernetes.io/component")),
    ("the_inner_port_is_for_redpacket_alone", lambda r: r.of("Ingress")[0]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="hongbao-account-inner")),
    ("policies_deny_by_default", lambda r: policy(r, "-nothing").update(ingress=[{}])),
    ("policies_deny_by_default", lambda r: policy(r, "-redpacket")["ingress"][0].pop("from")),
    ("policies_deny_by_default", lambda r: policy(r, "-monitor")["egress"].append({})),
    ("policies_deny_by_default", lambda r: policy(r, "-account")["egress"][1]["ports"].remove({"protocol": "TCP", "port": 5432})),
    ("policies_deny_by_default", lambda r: policy(r, "-webpage")["podSelector"]["matchLabels"].update({"app.kubernetes.io/component": "web"})),
    ("autoscalers_scale_what_is_there", lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"].update(name="hongbao-web")),
    ("autoscalers_scale_what_is_there", lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["behavior"]["scaleUp"]["policies"][0].update(value=4)),
    ("autoscalers_scale_what_is_there", lambda r: r.of("HorizontalPodAutoscaler")[0]["spec"]["behavior"]["scaleDown"].update(tolerance="0.1")),
    ("autoscalers_scale_what_is_there", lambda r: r.one("Deployment", "-redpacket")["spec"].update(replicas=2)),
    ("budgets_hold_one_at_a_time", lambda r: r.manifests.remove(r.one("PodDisruptionBudget", "-account"))),
    ("replicas_are_spread", lambda r: pod(r, "webpage")["topologySpreadConstraints"].pop()),
    ("a_replica_may_end_in_peace", lambda r: pod(r, "account").update(terminationGracePeriodSeconds=20)),
    ("a_replica_may_end_in_peace", lambda r: r.container("account")["readinessProbe"].update(periodSeconds=10)),
    ("routes_are_those_of_the_contract", lambda r: r.of("Ingress")[0]["spec"]["rules"][0]["http"]["paths"].pop(1)),
    ("metrics_are_read_once", lambda r: r.of("ServiceMonitor")[0]["spec"]["selector"].update(matchExpressions=[])),
    ("logs_reach_the_agent", lambda r: told(r, "redpacket").remove({"name": "aliyun_logs_hongbao-access", "value": "/var/log/redpacket_access.log"})),
]

# What the schemas of Kubernetes must see.
INVALID = [
    lambda r: pod(r, "account").update(readOnly=True),
    lambda r: r.one("Deployment", "-account")["spec"].pop("selector"),
    lambda r: r.container("monitor")["livenessProbe"].update(periodSeconds="often"),
    lambda r: policy(r, "-webpage").update(policyType=["Ingress"]),
]


def validate(rendered, seen):
    """Validates every manifest, each distinct one once; says how many there are."""
    for manifest in rendered.manifests:
        text = json.dumps(manifest, sort_keys=True)
        # The operator's own kind, which Kubernetes does not know; checks.py looks at it.
        if manifest["kind"] == "ServiceMonitor" or (rendered.minor, text) in seen:
            continue
        used = kubernetes_validate.validate(manifest, rendered.minor, strict=True)
        assert used == rendered.minor, f"there is no schema of {rendered.minor}, only of {used}"
        seen.add((rendered.minor, text))
    return len(rendered.manifests)


def fails(what, action, kind=Exception, saying=""):
    try:
        action()
    except kind as error:
        assert saying in str(error), f"{what}: refused without naming {saying!r}: {error}"
        return
    raise SystemExit(f"kubernetes: {what}: was not noticed")


def every_case_holds():
    seen, rendered = set(), 0
    for name, values in CASES.items():
        for minor in MINORS + OLD_MINORS:
            if minor == "1.29" and "drain" in values:
                continue
            case = Rendered(merged(TOLD, values), minor)
            rendered += validate(case, seen) if minor in MINORS else 0
            for check in checks.ALL:
                try:
                    check(case)
                except FOUND as error:
                    raise SystemExit(f"kubernetes: {name}, {minor}: {check.__name__}: {error!r}") from error
    print(f"kubernetes: {rendered} manifests of {len(CASES)} sets of values are valid for {', '.join(MINORS)}")


def every_check_can_fail():
    whole = merged(TOLD, {"serviceMonitor": {"enabled": True}, "aliyunLogs": {"enabled": True}})
    whole = Rendered(whole, MINORS[-1])
    by_name = {check.__name__: check for check in checks.ALL}
    for name, harm in BROKEN:
        broken = whole.copy()
        harm(broken)
        fails(name, lambda: by_name[name](broken), FOUND)
    for harm in INVALID:
        broken = whole.copy()
        harm(broken)
        fails("a manifest that Kubernetes refuses", lambda: validate(broken, set()), kubernetes_validate.ValidationError)
    unproved = set(by_name) - {name for name, _ in BROKEN}
    assert not unproved, f"never seen to fail: {unproved}"
    print(f"kubernetes: each of {len(checks.ALL)} checks notices what was broken on purpose")


def bad_values_are_refused():
    for values, reason in REFUSED:
        fails(f"{values}", lambda: render(merged(TOLD, values), MINORS[-1]), helm.HelmError, reason)
    sleeps = merged(TOLD, {"drain": {"preStopSleepSeconds": 5}})
    fails("a sleep before its time", lambda: render(sleeps, "1.29"), helm.HelmError, "1.30")
    print(f"kubernetes: {len(REFUSED) + 1} bad sets of values are refused, each with its reason")


def helm_has_no_complaint():
    found = [m for m in helm.lint(str(CHART), values=TOLD, strict=True)["messages"] if m["severity"] > 1]
    assert not found, f"helm lint: {found}"


if __name__ == "__main__":
    helm_has_no_complaint()
    every_case_holds()
    every_check_can_fail()
    bad_values_are_refused()
