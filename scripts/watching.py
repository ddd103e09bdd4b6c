#!/usr/bin/env python3
"""The alert rules and the dashboard: right by promtool, and each alert shown to be silent and to fire.

Needs promtool (Debian's prometheus; scripts/setup.sh test brings it). Starts no server.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

DEPLOY = pathlib.Path(__file__).parents[1] / "deploy"
HERE = DEPLOY / "prometheus"
# What an alert could wrongly ask: something that never holds, and something that always does.
WRONG = {"never fires": "vector(1) > 2", "always fires": "vector(1)"}


def promtool(*args):
    done = subprocess.run(["promtool", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def must(*args):
    right, said = promtool(*args)
    if not right:
        sys.exit(said)


def blocks(text, begin):
    """The parts of a text that begin with lines like this one, without what stands before."""
    return [begin + part for part in text.split(begin)[1:]]


def dashboard_is_promql(change=lambda expression: expression):
    """Whether promtool understands everything that the dashboard asks; a rule can be any expression."""
    dashboard = json.loads((DEPLOY / "grafana/hongbao.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = [target["expr"] for target in targets + dashboard["annotations"]["list"]]
    rules = [{"record": f"panel:{number}", "expr": change(expression.replace("$instance", ".*"))}
             for number, expression in enumerate(asked)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # JSON is YAML.
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        return len(asked), *promtool("check", "rules", file.name)


def main():
    asked, right, said = dashboard_is_promql()
    if not right:
        sys.exit(said)
    if dashboard_is_promql(lambda expression: expression.replace("sum by", "sum bye"))[1]:
        sys.exit("watching: an expression that is none was not noticed")
    print(f"watching: promtool understands {asked} expressions of the dashboard")
    must("check", "rules", HERE / "hongbao.rules.yml")
    must("check", "config", HERE / "prometheus.yml")
    must("test", "rules", HERE / "hongbao.tests.yml")

    rules = blocks((HERE / "hongbao.rules.yml").read_text(), "      - alert: ")
    tests = blocks((HERE / "hongbao.tests.yml").read_text(), "  - interval: ")
    # Whatever an alert asks, its tests notice when it never fires, and when it always does.
    with tempfile.TemporaryDirectory() as folder:
        folder, changed = pathlib.Path(folder), {}
        for rule in rules:
            name = rule.split()[2]
            rule = rule.split("\n  - name: ")[0]
            own = [test for test in tests if f"alertname: {name}\n" in test]
            for what, expression in WRONG.items():
                wrong, count = re.subn(r"expr: (.|\n          )*\n", f"expr: {expression}\n", rule, count=1)
                assert count == 1, f"{name} has no expression"
                stem = f"{name}-{expression.count('>')}"
                (folder / f"{stem}.rules.yml").write_text(f"groups:\n  - name: x\n    rules:\n{wrong}\n")
                test = folder / f"{stem}.tests.yml"
                test.write_text(f"rule_files: [{stem}.rules.yml]\nevaluation_interval: 15s\ntests:\n{''.join(own)}\n")
                changed[str(test)] = f"{name} {what}"
        _, said = promtool("test", "rules", *changed)
    for part in said.split("Unit Testing:  ")[1:]:
        # Failed by what was expected, not by a word that promtool does not understand.
        if "got:[" in part:
            changed.pop(part.splitlines()[0])
    if changed:
        sys.exit(f"watching: no test notices that {', '.join(changed.values())}")
    print(f"watching: {len(rules)} alerts are silent when all is well and fire when it is not")


if __name__ == "__main__":
    main()
