"""Renders the chart with Helm's own engine, and looks manifests up in what came out."""

import copy
import pathlib

import helm_python as helm
import yaml

ROLES = ["webpage", "redpacket", "account", "monitor"]
CHART = pathlib.Path(__file__).parents[2] / "deploy/kubernetes/hongbao"
# What has no default.
TOLD = {"publicUrl": "https://rain.example.com", "trustedProxies": ["10.244.0.0/16"]}


def values_file(name):
    return yaml.safe_load((CHART / name).read_text())


def merged(*all_values):
    """Values over values, as Helm lays them."""
    out = {}
    for values in all_values:
        for key, value in values.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else copy.deepcopy(value)
    return out


class Rendered:
    """The manifests of one rendering."""

    def __init__(self, values, minor, manifests=None):
        self.minor = minor
        self.values = merged(values_file("values.yaml"), values)
        self.manifests = manifests if manifests is not None else render(values, minor)

    def copy(self):
        return Rendered(self.values, self.minor, copy.deepcopy(self.manifests))

    def of(self, kind):
        return [m for m in self.manifests if m["kind"] == kind]

    def one(self, kind, name):
        """The manifest of this kind whose name ends so."""
        found = [m for m in self.of(kind) if m["metadata"]["name"] == f"hongbao{name}"]
        assert len(found) == 1, f"there are {len(found)} of {kind} hongbao{name}"
        return found[0]

    def pod(self, role):
        return self.one("Deployment", f"-{role}")["spec"]["template"]

    def container(self, role):
        containers = self.pod(role)["spec"]["containers"]
        assert len(containers) == 1, f"{role} has {len(containers)} containers"
        return containers[0]

    def env(self, role):
        """A service's environment by name: the value, or the reference."""
        entries = self.container(role)["env"]
        names = [entry["name"] for entry in entries]
        assert len(set(names)) == len(names), f"{role} is told something twice: {names}"
        return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def render(values, minor):
    """All manifests for Kubernetes `minor`. Fails as `helm install` would, the schema included."""
    told = merged(values, {"kubeVersion": f"{minor}.0"})
    with helm.Chart.load(str(CHART)) as chart:
        whole = chart.merge_values(told)
        chart.validate_schema(whole)
        files = chart.render(told, name="hongbao", namespace="rain")
    texts = [text for path, text in files.items() if not path.endswith("NOTES.txt")]
    return [m for text in texts for m in yaml.safe_load_all(text) if m]
