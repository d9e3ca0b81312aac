"""Whether the deploy files agree with each other and with the program. No linter knows the options,
ports, routes and metrics of reprise; scripts/deploy-check says which mistake each check is for."""

import fnmatch
import glob
import json
import os
import re
import shlex

import yaml

from common import ROOT
from deploy_linters import Loader
from deploy_program import COMMANDS, Run, is_below, options_of, routes, text_of

# Kubernetes labels the pods of a StatefulSet with these.
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
PROBES = ["startupProbe", "livenessProbe", "readinessProbe"]
# Files that the compiler reads besides the source.
INCLUDED = r'include_(?:str|bytes)!\((?:concat!\()?\s*"([^"]+)"'


def unit(complaints, path, variables):
    """The systemd unit, together with its file of variables."""
    def settings_in(name):
        with open(name) as file:
            lines = [line.strip() for line in file.read().replace("\\\n", " ").splitlines()]
        return [tuple(line.split("=", 1)) for line in lines if "=" in line and line[0] not in "#;["]

    settings = settings_in(path)

    def values(name):
        return [word for found, value in settings if found == name for word in shlex.split(value)]

    given = [tuple(word.split("=", 1)) for word in values("Environment")]
    run = Run(complaints, path, values("ExecStart"), given + settings_in(variables))
    if not run.has("process", "hostfile", "workers", "lake", "cluster-secret-file"):
        return
    secret, lake = run.settings["cluster-secret-file"], run.settings["lake"]
    loaded = ["%d/" + value.split(":")[0] for value in values("LoadCredential")]
    complaints.unless(secret in loaded, path, f"LoadCredential= does not bring {secret}")
    is_writable = any(is_below(lake, folder) for folder in values("ReadWritePaths"))
    complaints.unless(is_writable, path, f"ReadWritePaths= does not contain the lake, {lake}")


class Image:
    """The last stage of the Dockerfile."""

    def __init__(self, path):
        with open(path) as file:
            self.text = re.sub(r"(?m)^\s*#.*\n", "", file.read()).replace("\\\n", " ")
        self.base = re.search(r"(?m)^FROM (\S+)", self.text)[1]
        self.values = dict(re.findall(r"(?m)^([A-Z]+) +(.*)", self.text.rpartition("\nFROM ")[2]))
        self.variables = dict(word.split("=", 1) for word in self.values["ENV"].split())

    def check(self, complaints, path, root):
        cargo = text_of("Cargo.toml")
        oldest = re.search(r'(?m)^rust-version = "(\d+)\.(\d+)', cargo).groups()
        used = re.match(r"rust:(\d+)\.(\d+)", self.base)
        is_new = used and tuple(map(int, used.groups())) >= tuple(map(int, oldest))
        complaints.unless(is_new, path, f"builds with {self.base}, older than Cargo.toml allows")
        for name in re.findall(r"--features (\S+)", self.text):
            is_there = re.search(rf"(?m)^{name} = ", cargo.partition("\n[features]\n")[2])
            complaints.unless(is_there, path, f"builds with an unknown feature, {name}")
        user = self.values["USER"].partition(":")[0]
        with open(os.path.join(root, "deploy/kubernetes/reprise.yaml")) as file:
            users = set(re.findall(r"runAsUser: (\d+)", file.read()))
        complaints.unless({user} == users, path, f"runs as {user}, and in Kubernetes as {users}")
        lake, volume = self.variables["REPRISE_LAKE"], self.values["VOLUME"]
        complaints.unless(is_below(lake, volume), path, f"has its lake at {lake}, not in VOLUME")
        command = json.loads(self.values["HEALTHCHECK"].partition(" CMD ")[2] or "[]")
        Run(complaints, path, command, [], "health")
        self.context(complaints, os.path.join(root, ".dockerignore"), cargo)

    def context(self, complaints, path, cargo):
        """Whether .dockerignore lets through every file that Cargo and the compiler read."""
        with open(path) as file:
            sent = [os.path.normpath(line[1:].strip()) for line in file if line[0] == "!"]
        members = re.findall(r'"([^"]+)"', re.search(r"(?m)^members = \[(.*?)\]", cargo)[1])
        wanted = {"Cargo.toml", "Cargo.lock", "src", ".cargo/config.toml", *members}
        benches = re.findall(r'\[\[bench\]\]\nname = "(\w+)"', cargo)
        wanted |= {f"benches/{name}.rs" for name in benches}
        for folder in ["src", *(f"{member}/src" for member in members)]:
            for source in glob.glob(f"{folder}/**/*.rs", root_dir=ROOT, recursive=True):
                if not re.search(r"/tests(\.rs$|/)", source):
                    wanted |= {os.path.normpath(os.path.join(os.path.dirname(source), name))
                               for name in re.findall(INCLUDED, text_of(source))}
        for name in sorted(wanted):
            is_sent = any(is_below(name, rule) or fnmatch.fnmatch(name, rule) for rule in sent)
            complaints.unless(is_sent, path, f"keeps {name} from the build")


def image(complaints, path, root):
    found = Image(path)
    found.check(complaints, path, root)
    return found


def kubernetes(complaints, path, objects):
    Manifest(complaints, path, objects).check()


class Manifest:
    """The objects for Kubernetes: one StatefulSet of one container, and what belongs to it."""

    def __init__(self, complaints, path, objects):
        self.complaints, self.path = complaints, path
        self.objects = {(item["kind"], item["metadata"]["name"]): item["spec"] for item in objects}
        (self.name, self.set), = self.of_kind("StatefulSet").items()
        self.pod = self.set["template"]["spec"]
        self.container, = self.pod["containers"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.is_cluster = "tcp-cluster" in self.ports
        variables = [(given["name"], given.get("value", "")) for given in self.container["env"]]
        self.run = Run(complaints, path, self.container["command"], variables)

    def of_kind(self, wanted):
        return {name: spec for (kind, name), spec in self.objects.items() if kind == wanted}

    def unless(self, fits, what):
        self.complaints.unless(fits, self.path, what)

    def check(self):
        needed = ["listen", "workers", "lake"]
        if self.is_cluster:
            needed += ["cluster-listen", "hosts", "process", "processes", "cluster-secret-file"]
        if not self.run.has(*needed):
            return
        wanted = {"http": self.run.port("listen")}
        if self.is_cluster:
            wanted["tcp-cluster"] = self.run.port("cluster-listen")
            self.cluster()
        else:
            self.unless(self.set["replicas"] == 1, "has several replicas, and a lake one writer")
        self.unless(self.ports == wanted, f"has container ports {self.ports}, and options {wanted}")
        self.services()
        self.policies()
        self.probes()
        self.volumes()

    def cluster(self):
        peers = self.of_kind("Service").get(self.set["serviceName"], {})
        hosts = f"{self.name}-{{}}.{self.set['serviceName']}:{self.run.port('cluster-listen')}"
        wanted = {
            "REPRISE_PROCESSES": (self.run.settings["processes"], str(self.set["replicas"])),
            "REPRISE_PROCESS": (self.run.settings["process"], "ordinal"),
            "REPRISE_HOSTS": (self.run.settings["hosts"], hosts),
            # No pod is ready before all have come, so none may wait for the one before it.
            "podManagementPolicy": (self.set.get("podManagementPolicy"), "Parallel"),
            "updateStrategy": (self.set.get("updateStrategy"), {"type": "OnDelete"}),
            "clusterIP of the peers": (peers.get("clusterIP"), "None"),
            "publishNotReadyAddresses of the peers": (peers.get("publishNotReadyAddresses"), True),
        }
        for what, (found, value) in wanted.items():
            self.unless(found == value, f"{what} is {found}, and must be {value}")

    def selects(self, selector):
        """Whether a selector takes the first pod of the set."""
        first = {POD_NAME: f"{self.name}-0", POD_INDEX: "0"}
        labels = self.set["template"]["metadata"]["labels"]
        return bool(selector) and selector.items() <= {**labels, **first}.items()

    def services(self):
        for name, service in self.of_kind("Service").items():
            selector = service.get("selector", {})
            self.unless(self.selects(selector), f"Service/{name} selects no pod")
            for port in service["ports"]:
                target = port.get("targetPort", port["port"])
                number = self.ports.get(target, target)
                is_there = number in self.ports.values()
                self.unless(is_there, f"Service/{name}: no container port {target}")
                is_first = not self.is_cluster or {POD_NAME, POD_INDEX} & set(selector)
                fits = number != self.ports["http"] or is_first
                self.unless(fits, f"Service/{name} leads to charts that only process 0 has")

    def policies(self):
        for name, policy in self.of_kind("NetworkPolicy").items():
            about = policy["podSelector"].get("matchLabels")
            self.unless(self.selects(about), f"NetworkPolicy/{name} selects no pod")
            reached = set()
            for rule in policy["ingress"]:
                # A rule without ports is for all of them.
                ports = {port["port"] for port in rule.get("ports", [])} or set(self.ports.values())
                reached |= ports
                peers = [peer.get("podSelector", {}).get("matchLabels")
                         for peer in rule.get("from", [])]
                is_closed = bool(peers) and all(map(self.selects, peers))
                fits = self.ports.get("tcp-cluster") not in ports or is_closed
                self.unless(fits, f"NetworkPolicy/{name} opens the cluster's port to other pods")
            fits = reached == set(self.ports.values())
            self.unless(fits, f"NetworkPolicy/{name} opens {reached}, and the pod has {self.ports}")

    def probes(self):
        answered = routes() & routes("follower.rs") if self.is_cluster else routes()
        for name in PROBES:
            probe = self.container[name]["httpGet"]
            fits = probe["path"] in answered and self.ports.get(probe["port"]) == self.ports["http"]
            self.unless(fits, f"{name} asks for {probe}, which not every process answers")

    def volumes(self):
        mounts = self.container["volumeMounts"]
        claims = {claim["metadata"]["name"]: claim["spec"]
                  for claim in self.set.get("volumeClaimTemplates", [])}
        for volume in self.pod["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            claims[volume["name"]] = self.of_kind("PersistentVolumeClaim").get(claim, {})
        for option in "lake", "cluster-secret-file", "charts":
            path = self.run.settings.get(option)
            mounted = [mount for mount in mounts if path and is_below(path, mount["mountPath"])]
            self.unless(mounted or not path, f"--{option} is {path}, where nothing is mounted")
            if mounted and option == "lake":
                wanted = "ReadWriteMany" if self.is_cluster else "ReadWriteOnce"
                modes = claims.get(mounted[0]["name"], {}).get("accessModes")
                self.unless(modes == [wanted], f"the claim of the lake is {modes}, not {wanted}")


def compose(complaints, path, root, image):
    """docker-compose.yml. The name of a variable stands in for a port, so that places which must
    agree hold the same text."""
    with open(path) as file:
        text = re.sub(r"\$\{(\w+):-\d+\}", r"\1", file.read())
    services = yaml.load(text, Loader)["services"]

    def unless(fits, what):
        complaints.unless(fits, path, what)

    runs = {}
    for name, service in services.items():
        for port in service.get("ports", []):
            unless(port.startswith("127.0.0.1:"), f"{name}: port {port} is open to other machines")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            is_there = source[0] != "." or os.path.isfile(os.path.join(root, source))
            unless(is_there, f"{name}: {source} is mounted, and does not exist")
        if service["image"].startswith("reprise:"):
            command = service["command"][0]
            if command not in COMMANDS:
                unless(False, f"{name} starts {command}: add it to COMMANDS in deploy_program.py")
                continue
            known = {option.env for option in options_of(command)}
            given = {key: value for key, value in image.variables.items() if key in known}
            given |= service.get("environment", {})
            words = ["reprise", *service["command"]]
            runs[name] = Run(complaints, path, words, list(given.items()), command)
    kafka(unless, services)
    run, service = runs["reprise"], services["reprise"]
    host, _, port = run.settings["listen"].partition(":")
    is_reached = host == "0.0.0.0" and service["ports"][0].endswith(f":{port}")
    unless(is_reached, f"reprise listens at {host}:{port}, and {service['ports']} is published")
    folders = [volume.split(":")[1] for volume in service["volumes"]]
    is_kept = any(is_below(run.settings["lake"], folder) for folder in folders)
    unless(is_kept, f"no volume contains the lake, {run.settings['lake']}")
    watching(unless, services, os.path.join(root, "deploy/compose"), f"reprise:{port}")


def kafka(unless, services):
    """Clients continue with the address that the broker advertises."""
    variables = services["kafka"]["environment"]
    listening, advertised = (dict(part.split("://") for part in variables[key].split(","))
                             for key in ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS"))
    for name, address in advertised.items():
        host, _, port = address.rpartition(":")
        is_open = listening.get(name, "").endswith(f":{port}")
        if host == "localhost":
            is_open = is_open and f"127.0.0.1:{port}:{port}" in services["kafka"]["ports"]
        unless(is_open, f"kafka advertises {address}, where it cannot be reached")
    for name, service in services.items():
        used = [*service.get("command", []), *service.get("environment", {}).values()]
        for address in re.findall(r"\bkafka:\d+", " ".join(map(str, used))):
            fits = address == advertised["INSIDE"]
            unless(fits, f"{name} looks for Kafka at {address}, not at {advertised['INSIDE']}")


def watching(unless, services, folder, target):
    """Whether Prometheus scrapes reprise, and Grafana asks Prometheus."""
    with open(os.path.join(folder, "prometheus.yml")) as file:
        job, = yaml.load(file, Loader)["scrape_configs"]
    targets = [target for static in job["static_configs"] for target in static["targets"]]
    fits = targets == [target] and job.get("metrics_path", "/metrics") in routes()
    unless(fits, f"Prometheus scrapes {targets}, and reprise is {target}")
    with open(os.path.join(folder, "datasource.yml")) as file:
        source, = yaml.load(file, Loader)["datasources"]
    port = services["prometheus"]["ports"][0].rpartition(":")[2]
    fits = source["url"] == f"http://prometheus:{port}"
    unless(fits, f"Grafana asks {source['url']}, and Prometheus is at port {port}")
