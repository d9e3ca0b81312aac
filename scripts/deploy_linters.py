"""The off-the-shelf linters that scripts/deploy-check runs. One that is not installed is skipped,
with a message; those from PyPI are always there."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

from common import ROOT

# The oldest and the newest version of Kubernetes whose schemas the package has.
KUBERNETES = ["1.25", "1.37"]
PROMTOOL = os.path.join(ROOT, ".cache/promtool/promtool")
# Grafana replaces these before it sends a query.
GRAFANA = {"$__rate_interval": "1m", "$instance": ".*"}


def run(complaints, path, command):
    """Complains of `path` if `command` fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        message = " ".join(done.stdout.split()) or f"status {done.returncode}"
        complaints.add(path, f"{os.path.basename(command[0])}: {message}")


def skip(tool, package, what):
    print(f"deploy-check: SKIPPED: without {tool} (Debian: {package}) {what}", file=sys.stderr)


def from_pypi(name):
    return os.path.join(os.path.dirname(sys.executable), name)


def dockerfile(complaints, path):
    run(complaints, path, [from_pypi("hadolint"), "--no-color", path])


def workflows(complaints, folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.yml"))):
        schema = ["--builtin-schema", "vendor.github-workflows"]
        run(complaints, path, [from_pypi("check-jsonschema"), *schema, path])


def unit(complaints, path):
    """The unit's program is not installed here, so Python stands in for it."""
    if not shutil.which("systemd-analyze"):
        return skip("systemd-analyze", "systemd", "the unit is only compared with the options")
    with tempfile.TemporaryDirectory() as folder, open(path) as original:
        copy = os.path.join(folder, os.path.basename(path))
        with open(copy, "w") as file:
            file.write(re.sub(r"(?m)^(Exec\w+=)/\S+", rf"\1{sys.executable}", original.read()))
        # Other units of this machine are not part of the check. systemd warns with status 0.
        verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy]
        done = subprocess.run(verify, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in done.stdout.splitlines() or [f"status {done.returncode}"] * bool(done.returncode):
        complaints.add(path, f"systemd-analyze: {line.replace(f'{copy}:', 'line ')}")


def compose(complaints, path):
    for command in ["docker", "compose"], ["docker-compose"]:
        is_there = shutil.which(command[0])
        if is_there and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return run(complaints, path, [*command, "-f", path, "config", "--quiet"])
    skip("docker compose", "docker-compose", "its schema is not checked")


class Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error; by default the second one wins."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                what = f"{key} is given twice"
                raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        return super().construct_mapping(node, deep)


def kubernetes(complaints, path):
    """The objects in `path`; none if one does not conform to its schema."""
    before = len(complaints.lines)
    try:
        with open(path) as file:
            objects = [item for item in yaml.load_all(file, Loader) if item is not None]
        for item in objects:
            for version in KUBERNETES:
                kubernetes_validate.validate(item, version, strict=True)
    except yaml.YAMLError as error:
        complaints.add(path, " ".join(str(error).split()))
    except kubernetes_validate.ValidationError as error:
        where = f"{item['kind']}, {'.'.join(map(str, error.path)) or 'at its top'}"
        complaints.add(path, f"{where}: {error.message} (Kubernetes {error.version})")
    except (kubernetes_validate.SchemaNotFoundError, KeyError, TypeError) as error:
        complaints.add(path, f"holds an object of no known kind: {error!r}")
    return objects if len(complaints.lines) == before else []


def promtool():
    """Prometheus' checker: this machine's, or taken out of Debian's package without installing it,
    since that would start a Prometheus."""
    found = shutil.which("promtool") or (os.path.exists(PROMTOOL) and PROMTOOL)
    if found or not shutil.which("apt-get"):
        return found
    os.makedirs(os.path.dirname(PROMTOOL), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(PROMTOOL)) as folder:
        # apt's own user may not write to the folder.
        fetch = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "prometheus"]
        subprocess.run(fetch, cwd=folder, capture_output=True)
        packages = glob.glob(os.path.join(folder, "prometheus_*.deb"))
        if not packages:
            return None
        subprocess.run(["dpkg-deb", "--extract", packages[0], folder], check=True)
        os.replace(os.path.join(folder, "usr/bin/promtool"), PROMTOOL)
    return PROMTOOL


def prometheus(complaints, folder):
    """The configuration, the alerts by their tests, and the dashboard's queries as if each were a
    rule."""
    config, tests, dashboard = (os.path.join(folder, name) for name in
                                ("prometheus.yml", "alerts.test.yml", "dashboard.json"))
    tool = promtool()
    if not tool:
        return skip("promtool", "prometheus", "alerts and queries are not checked")
    run(complaints, config, [tool, "check", "config", config])
    run(complaints, tests, [tool, "test", "rules", tests])
    with open(dashboard) as file:
        shown = json.load(file)
    queries = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    queries += [note["expr"] for note in shown["annotations"]["list"]]
    for name, value in GRAFANA.items():
        queries = [query.replace(name, value) for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        run(complaints, dashboard, [tool, "check", "rules", "--lint=none", file.name])


def nginx(complaints, path):
    """The example of nginx in a page of Markdown."""
    if not shutil.which("nginx"):
        return skip("nginx", "nginx", "its example is not parsed")
    with open(path) as file:
        example, = re.findall(r"```nginx\n(.*?)```", file.read(), re.DOTALL)
    # Without certificates, and on a socket: a test by nginx opens the addresses that it listens to.
    with tempfile.TemporaryDirectory() as folder:
        example = re.sub(r"\blisten [^;]+;", f"listen unix:{folder}/socket;", example)
        example = re.sub(r"\bssl_certificate(_key)? [^;]+;", "", example)
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w") as file:
            file.write(f"pid {folder}/pid; error_log stderr; events {{}}\n"
                       f"http {{ access_log off;\n{example}\n}}\n")
        run(complaints, path, ["nginx", "-t", "-p", folder, "-c", config])
