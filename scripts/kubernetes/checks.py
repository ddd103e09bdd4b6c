"""What must hold of every rendering, whatever the values. Each is a function that asserts."""

import re
from urllib.parse import urlsplit

from chart import ROLES

SECRET_NAME = re.compile(r"SECRET|PASSWD|PASSWORD|_KEY$|_KEY_FILE$|TOKEN|DATABASE_URL|QUEUE_URL|ATTEMPTS_URL")


def matches(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def port_of(url):
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


def pods_are_confined(r):
    for role in ROLES:
        spec, container = r.pod(role)["spec"], r.container(role)
        assert spec["automountServiceAccountToken"] is False, f"{role} gets a token"
        assert spec["enableServiceLinks"] is False, f"{role} gets links in its environment"
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True and pod["runAsUser"] > 0, f"{role} may be root"
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, f"{role} has no seccomp"
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False, f"{role} may escalate"
        assert own["readOnlyRootFilesystem"] is True, f"{role} may write its root"
        assert own["capabilities"] == {"drop": ["ALL"]}, f"{role} has capabilities"
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"]:
            assert not spec.get(forbidden), f"{role} has {forbidden}"
        for volume in spec.get("volumes", []):
            kinds = set(volume) - {"name"}
            assert kinds <= {"secret", "emptyDir"}, f"{role} mounts {kinds}"
    accounts = r.of("ServiceAccount")
    assert [a["automountServiceAccountToken"] for a in accounts] == [False]


def probes_are_the_services_own(r):
    for role in ROLES:
        container = r.container(role)
        # What a probe of the public port says is whether more can come; too many are no reason to be killed.
        for probe, path, port in [("startupProbe", "/healthz", "metrics"), ("livenessProbe", "/healthz", "metrics"),
                                  ("readinessProbe", "/readyz", "http")]:
            asked = container[probe]["httpGet"]
            assert asked == {"path": path, "port": port}, f"{role}'s {probe} asks {asked}"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        wanted = {"http": 8080, "metrics": 9090, **({"inner": 8081} if role == "account" else {})}
        assert ports == wanted, f"{role} has ports {ports}"
        env = r.env(role)
        assert env["HONGBAO_LISTEN"].endswith(":8080") and env["HONGBAO_ADMIN_LISTEN"].endswith(":9090")
        assert container["args"] == [role], f"{role} runs {container['args']}"


def resources_are_told(r):
    for role in ROLES:
        resources = r.container(role)["resources"]
        assert resources["requests"]["cpu"] and resources["requests"]["memory"], f"{role} requests nothing"
        assert resources["limits"]["memory"], f"{role} has no limit of memory"


def no_secret_stands_in_the_clear(r):
    assert not r.of("Secret"), "the chart makes a Secret"
    assert not r.of("ConfigMap"), "the chart makes a ConfigMap"
    for role in ROLES:
        for name, value in r.env(role).items():
            if name.endswith("_FILE"):
                assert value.startswith("/run/secrets/hongbao/"), f"{role}: {name} is {value}"
                mounted = [item["path"] for volume in r.pod(role)["spec"]["volumes"]
                           for item in volume.get("secret", {}).get("items", [])]
                assert value.rsplit("/", 1)[1] in mounted, f"{role}: {name} is not mounted"
            elif SECRET_NAME.search(name) and name != "ACCESS_KEY_ID":
                assert isinstance(value, dict) and "secretKeyRef" in value, f"{role}: {name} stands in the clear"


def who_calls_the_cloud_has_its_key(r):
    for role in ROLES:
        env = r.env(role)
        calls = "MNS_URL" in env or "HONGBAO_SLS_ENDPOINT" in env
        assert ("ACCESS_KEY_ID" in env) == ("ACCESS_KEY_SECRET_FILE" in env) == calls, f"{role} and the access key"
    shipped = [role for role in ROLES if "HONGBAO_SLS_ENDPOINT" in r.env(role)]
    assert shipped == (["redpacket", "monitor"] if r.values["sls"]["endpoint"] else []), f"{shipped} know the log service"


def each_service_gets_its_own_secrets_only(r):
    for role, has, has_not in [
        ("account", ["token-secret", "service-key"], ["organiser-key"]),
        ("redpacket", ["token-secret", "service-key"], ["organiser-key"]),
        ("monitor", ["token-secret", "organiser-key"], ["service-key"]),
    ]:
        secrets = [v["secret"] for v in r.pod(role)["spec"]["volumes"] if "secret" in v]
        assert [s["secretName"] for s in secrets] == [r.values["secret"]["name"]], role
        paths = [item["path"] for item in secrets[0]["items"]]
        assert all(p in paths for p in has), f"{role} misses one of {has}"
        assert not any(p in paths for p in has_not), f"{role} gets one of {has_not}"
    assert "volumes" not in r.pod("webpage")["spec"], "webpage needs no secret"


def services_lead_to_pods(r):
    for service in r.of("Service"):
        selector = service["spec"]["selector"]
        found = [role for role in ROLES if matches(selector, r.pod(role)["metadata"]["labels"])]
        assert len(found) == 1, f"{service['metadata']['name']} leads to {found}"
        named = {port["name"] for port in r.container(found[0])["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in named, f"{service['metadata']['name']} leads to no port"
    inner = r.one("Service", "-account-inner")
    assert [p["port"] for p in inner["spec"]["ports"]] == [8081]
    assert r.env("redpacket")["HONGBAO_ACCOUNT_URL"] == "http://hongbao-account-inner:8081"
    for deployment in r.of("Deployment"):
        spec = deployment["spec"]
        assert matches(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"])


def the_inner_port_is_for_redpacket_alone(r):
    backends = [path["backend"]["service"]["name"] for ingress in r.of("Ingress")
                for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert "hongbao-account-inner" not in backends, "the Ingress leads to the inner port"
    if not r.values["networkPolicy"]["enabled"]:
        return
    # Of all that lets in to account's pods, what lets in to 8081?
    labels = r.pod("account")["metadata"]["labels"]
    rules = [rule for policy in r.of("NetworkPolicy")
             if matches(policy["spec"]["podSelector"].get("matchLabels", {}), labels)
             for rule in policy["spec"].get("ingress", [])]
    inner = [rule for rule in rules if 8081 in [p["port"] for p in rule.get("ports", [{"port": 8081}])]]
    assert len(inner) == 1, f"{len(inner)} rules let in to the inner port"
    assert len(inner[0]["from"]) == 1 and set(inner[0]["from"][0]) == {"podSelector"}, "from outside the release"
    let_in = inner[0]["from"][0]["podSelector"]["matchLabels"]
    who = [role for role in ROLES if matches(let_in, r.pod(role)["metadata"]["labels"])]
    assert who == ["redpacket"], f"{who} reach the inner port"


def policies_deny_by_default(r):
    policies = r.of("NetworkPolicy")
    if not r.values["networkPolicy"]["enabled"]:
        assert not policies
        return
    nothing = r.one("NetworkPolicy", "-nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in nothing and "egress" not in nothing
    for role in ROLES:
        labels = r.pod(role)["metadata"]["labels"]
        assert matches(nothing["podSelector"]["matchLabels"], labels), f"{role} is left out"
        own = r.one("NetworkPolicy", f"-{role}")["spec"]
        assert matches(own["podSelector"]["matchLabels"], labels)
        assert all(rule.get("from") and rule.get("ports") for rule in own["ingress"]), f"{role} lets everybody in"
        egress = own["egress"]
        assert all(rule.get("ports") for rule in egress), f"{role} may go anywhere"
        ports = {p["port"] for rule in egress for p in rule["ports"]}
        if role == "webpage":
            assert not egress, "webpage goes nowhere"
        else:
            env = r.env(role)
            usual = [int(env["DB_PORT"])] if "DB_PORT" in env else [3306, 5432]
            told = r.values["networkPolicy"]["database"]["ports"] or usual
            assert {53, *told} <= ports, f"{role} reaches {ports} and not its database"
            assert (port_of(env["MNS_URL"]) if "MNS_URL" in env else 6379) in ports, f"{role} does not reach its queue"
            assert "HONGBAO_ATTEMPTS_URL" not in env or 6379 in ports
            sls = env.get("HONGBAO_SLS_ENDPOINT")
            assert sls is None or port_of(sls) in ports, f"{role} does not reach the log service"
        assert (8081 in ports) == (role == "redpacket"), f"{role} and the inner port"


def autoscalers_scale_what_is_there(r):
    scalers = {s["spec"]["scaleTargetRef"]["name"]: s["spec"] for s in r.of("HorizontalPodAutoscaler")}
    deployments = {d["metadata"]["name"]: d["spec"] for d in r.of("Deployment")}
    assert set(scalers) <= set(deployments), f"{set(scalers)} of {set(deployments)}"
    for role in ROLES:
        name, told = f"hongbao-{role}", r.values[role]
        if not told["autoscaling"]["enabled"]:
            assert name not in scalers and deployments[name]["replicas"] == told["replicas"]
            continue
        spec = scalers[name]
        assert "replicas" not in deployments[name], f"an upgrade would undo the scaling of {role}"
        assert spec["minReplicas"] == told["replicas"] <= spec["maxReplicas"]
        metric, = spec["metrics"]
        assert metric["resource"]["name"] == "cpu"
        target = metric["resource"]["target"]["averageUtilization"]
        assert target == r.values["autoscaling"]["cpuPercent"]
        up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
        for way in [up, down]:
            assert [(p["type"], p["value"]) for p in way["policies"]] == [("Pods", 1)], "more than one at a time"
        assert down["stabilizationWindowSeconds"] > up["stabilizationWindowSeconds"]
        if r.minor >= "1.35":
            below = target * (1 - float(down["tolerance"]))
            assert abs(below - r.values["autoscaling"]["scaleDown"]["belowCpuPercent"]) < 0.1, f"down below {below} %"
        else:
            assert "tolerance" not in down, "this Kubernetes knows no tolerance"


def budgets_hold_one_at_a_time(r):
    for role in ROLES:
        spec = r.one("PodDisruptionBudget", f"-{role}")["spec"]
        assert spec["maxUnavailable"] == 1
        assert matches(spec["selector"]["matchLabels"], r.pod(role)["metadata"]["labels"])


def replicas_are_spread(r):
    for role in ROLES:
        keys = set()
        for constraint in r.pod(role)["spec"]["topologySpreadConstraints"]:
            assert matches(constraint["labelSelector"]["matchLabels"], r.pod(role)["metadata"]["labels"])
            keys.add(constraint["topologyKey"])
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def a_replica_may_end_in_peace(r):
    for role in ROLES:
        env, spec = r.env(role), r.pod(role)["spec"]
        sleep = r.container(role).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        # Eleven seconds for what runs in the background, and for what is still to be shipped.
        needs = sleep + int(env["HONGBAO_DRAIN_NOTICE_SECONDS"]) + int(env["HONGBAO_DRAIN_SECONDS"]) + 11
        grace = spec["terminationGracePeriodSeconds"]
        assert grace > needs, f"{role} is killed after {grace} s and needs {needs} s"
        probe = r.container(role)["readinessProbe"]
        notices = probe["periodSeconds"] * probe["failureThreshold"]
        assert int(env["HONGBAO_DRAIN_NOTICE_SECONDS"]) > notices, f"{role} closes before it is noticed"
        rolling = r.one("Deployment", f"-{role}")["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def routes_are_those_of_the_contract(r):
    if not r.values["ingress"]["enabled"]:
        assert not r.of("Ingress")
        return
    wanted = {"/redpacket": "redpacket", "/account": "account", "/test": "account", "/monitor": "monitor",
              "/docs": "monitor", "/openapi.json": "monitor", "/webpage": "webpage"}
    ingress, = r.of("Ingress")
    hosts = {}
    for rule in ingress["spec"]["rules"]:
        routes = {p["path"]: p["backend"]["service"]["name"].removeprefix("hongbao-") for p in rule["http"]["paths"]}
        rest = routes.pop("/")
        assert routes == wanted, f"{rule.get('host')} leads {routes}"
        hosts[rule.get("host")] = rest
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"]["port"] == {"name": "http"}
    domain = r.values["ingress"]["prefixDomain"]
    expected = {host: "webpage" for host in r.values["ingress"]["hosts"]}
    expected.update({f"{role}.{domain}": role for role in ROLES} if domain else {})
    assert hosts == (expected or {None: "webpage"}), f"hosts are {hosts}"


def metrics_are_read_once(r):
    for monitor in r.of("ServiceMonitor"):
        spec = monitor["spec"]
        out = {e["key"]: e["values"] for e in spec["selector"]["matchExpressions"]}
        found = []
        for service in r.of("Service"):
            labels = service["metadata"]["labels"]
            if matches(spec["selector"]["matchLabels"], labels) and not any(labels.get(k) in v for k, v in out.items()):
                assert "metrics" in [p["name"] for p in service["spec"]["ports"]]
                found.append(labels[spec["jobLabel"]])
        assert sorted(found) == sorted(ROLES), f"read are {found}"
        assert [e["port"] for e in spec["endpoints"]] == ["metrics"]
    assert bool(r.of("ServiceMonitor")) == r.values["serviceMonitor"]["enabled"]


def logs_reach_the_agent(r):
    for role in ROLES:
        told = {k: v for k, v in r.env(role).items() if k.startswith("aliyun_logs_")}
        if not r.values["aliyunLogs"]["enabled"]:
            assert not told
            continue
        prefix = r.values["aliyunLogs"]["prefix"]
        assert told[f"aliyun_logs_{prefix}-{role}"] == "stdout"
        if role == "redpacket":
            path = told[f"aliyun_logs_{prefix}-access"]
            assert path == r.env(role)["HONGBAO_ACCESS_LOG"] == "/var/log/redpacket_access.log"
            mounts = {m["name"]: m["mountPath"] for m in r.container(role)["volumeMounts"]}
            assert mounts["log"] == "/var/log"


ALL = [check for name, check in list(globals().items())
       if callable(check) and getattr(check, "__module__", "") == __name__ and name not in ("matches", "port_of")]
