"""What scripts/deploy-check asks of what watches the program: of Prometheus' configuration, the alerts and their tests, and the
dashboard. A query for a metric that does not exist is no error anywhere; it is a panel that stays empty on the day it is needed."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

from common import ROOT

PROMETHEUS, ALERTS, TESTS = "prometheus.yml", "alerts.yml", "alerts.test.yml"
DASHBOARD, SOURCE = "dashboard.json", "datasource.yml"
# Kept beside the other things that are fetched once.
PROMTOOL = os.path.join(ROOT, ".cache/promtool/promtool")
METRIC = r"\breprise_[a-z_]+\b"
# What Grafana puts in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}
GRID_WIDTH = 24


def promtool():
    """Prometheus' own checker: of this machine, or out of Debian's package, of which nothing else is unpacked or started."""
    found = shutil.which("promtool") or (os.path.exists(PROMTOOL) and PROMTOOL)
    if found or not shutil.which("apt-get"):
        return found
    os.makedirs(os.path.dirname(PROMTOOL), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(PROMTOOL)) as folder:
        # Its user for downloads may not write here, and says so each time.
        fetch = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "prometheus"]
        done = subprocess.run(fetch, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        packages = glob.glob(os.path.join(folder, "prometheus_*.deb"))
        if not packages:
            print(f"deploy-check: Debian's package prometheus cannot be had: {done.stdout.strip()[-300:]}", file=sys.stderr)
            return None
        subprocess.run(["dpkg-deb", "--extract", packages[0], folder], check=True)
        os.replace(os.path.join(folder, "usr/bin/promtool"), PROMTOOL)
    return PROMTOOL


def ask_promtool(complaints, path, *arguments):
    done = subprocess.run([promtool(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        complaints.add(path, f"promtool: {' '.join(done.stdout.split())}")


def check_queries(complaints, path, queries):
    """As if each query of the dashboard were a rule, for which there is a checker."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        ask_promtool(complaints, path, "check", "rules", "--lint=none", file.name)


def known_metrics():
    """The names that the source has."""
    known = set()
    for path in glob.glob(os.path.join(ROOT, "src/**/*.rs"), recursive=True):
        if os.path.basename(path) == "tests.rs":
            continue
        with open(path) as file:
            known |= set(re.findall(rf'"[^"\n]*?({METRIC})', file.read()))
    return known


def check_names(complaints, path, text, known):
    for name in sorted(set(re.findall(METRIC, text))):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        complaints.unless(name in known or base in known, path, f"asks for {name}, which src/ does not have")


def queries_of(dashboard):
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [note["expr"] for note in dashboard["annotations"]["list"]]
    for name, value in VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


def check_panels(complaints, path, dashboard, source):
    """What Grafana would show, without a word: nothing, or one panel over another."""
    taken = {}
    numbers = [panel["id"] for panel in dashboard["panels"]]
    complaints.unless(len(set(numbers)) == len(numbers), path, "two panels have one id")
    for panel in dashboard["panels"]:
        title, at = panel["title"], panel["gridPos"]
        complaints.unless(panel.get("description"), path, f"the panel {title} does not say what it shows")
        complaints.unless(panel["datasource"]["uid"] == source, path, f"the panel {title} asks another source than {source}")
        complaints.unless(at["x"] + at["w"] <= GRID_WIDTH, path, f"the panel {title} is not on the screen")
        for place in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            other = taken.setdefault(place, title)
            complaints.unless(other == title, path, f"the panels {title} and {other} lie over each other")


def check(complaints, folder):
    prometheus, alerts, tests, dashboard, source = [
        os.path.join(folder, name) for name in (PROMETHEUS, ALERTS, TESTS, DASHBOARD, SOURCE)]
    try:
        with open(dashboard) as file:
            shown = json.load(file)
        with open(source) as file:
            check_panels(complaints, dashboard, shown, yaml.safe_load(file)["datasources"][0]["uid"])
        queries = queries_of(shown)
    except (ValueError, KeyError, yaml.YAMLError) as error:
        complaints.add(dashboard, f"is not as this script reads it: {error!r}")
        return
    if promtool():
        ask_promtool(complaints, prometheus, "check", "config", prometheus)
        ask_promtool(complaints, tests, "test", "rules", tests)
        check_queries(complaints, dashboard, queries)
    else:
        print("deploy-check: without promtool (Debian: prometheus) the alerts are not tried", file=sys.stderr)
    known = known_metrics()
    if not known:
        print("deploy-check: src/ names no metrics, so those that are asked for are not checked", file=sys.stderr)
        return
    check_names(complaints, dashboard, json.dumps(shown), known)
    for path in alerts, tests:
        with open(path) as file:
            check_names(complaints, path, file.read(), known)
