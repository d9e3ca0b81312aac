"""What scripts/deploy-check asks of the objects for Kubernetes: first their schemas, then whether they agree with each other and
with the options of `reprise run`, of which no schema knows."""

import os
import re

import kubernetes_validate
import yaml

from common import ROOT
from deploy_options import Run, is_below

# The oldest and the newest that the package knows.
VERSIONS = ["1.25", "1.37"]
NEEDED = ["listen", "workers", "lake"]
NEEDED_BY_CLUSTER = [*NEEDED, "cluster-listen", "hosts", "process", "processes", "cluster-secret-file"]
# Labels that Kubernetes gives to the pods of a StatefulSet, for process 0.
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
PROBES = ["startupProbe", "livenessProbe", "readinessProbe"]


class Loader(yaml.SafeLoader):
    """Of a key that is given twice, YAML would take the second in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def check_schemas(complaints, path):
    """The objects in the file `path`; none if they do not keep to their schemas."""
    before = len(complaints.lines)
    try:
        with open(path) as file:
            objects = [item for item in yaml.load_all(file, Loader) if item is not None]
    except yaml.YAMLError as error:
        complaints.add(path, " ".join(str(error).split()))
        return []
    for item in objects:
        try:
            name = f"{item['kind']}/{item['metadata']['name']}"
            for version in VERSIONS:
                kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path)) or "at its top"
            complaints.add(path, f"{name}, {where}: {error.message} (Kubernetes {error.version})")
        except kubernetes_validate.SchemaNotFoundError as error:
            complaints.add(path, error.message)
        except (KeyError, TypeError):
            complaints.add(path, "holds something that has no kind, apiVersion or name")
    return objects if len(complaints.lines) == before else []


class Manifest:
    def __init__(self, complaints, path, objects):
        self.complaints, self.path = complaints, path
        self.objects = {(item["kind"], item["metadata"]["name"]): item["spec"] for item in objects}
        (self.name, self.set), = self.of_kind("StatefulSet").items()
        self.labels = self.set["template"]["metadata"]["labels"]
        self.pod = self.set["template"]["spec"]
        self.container, = self.pod["containers"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.is_cluster = "tcp-cluster" in self.ports
        variables = [(given["name"], given.get("value", "")) for given in self.container["env"]]
        words = [*self.container.get("command", []), *self.container.get("args", [])]
        self.run = Run(complaints, path, words, variables)

    def of_kind(self, wanted):
        return {name: spec for (kind, name), spec in self.objects.items() if kind == wanted}

    def unless(self, fits, what):
        self.complaints.unless(fits, self.path, what)

    def check(self):
        self.selectors()
        self.services()
        self.policies()
        if self.run.has(*(NEEDED_BY_CLUSTER if self.is_cluster else NEEDED)):
            if self.is_cluster:
                self.processes()
            else:
                self.unless(self.set["replicas"] == 1, f"there are {self.set['replicas']} replicas, and the lake has one writer")
            self.container_ports()
            self.probes()
            self.volumes()

    def selects(self, selector):
        """Whether a selector takes pods of the set."""
        first = {POD_NAME: f"{self.name}-0", POD_INDEX: "0"}
        return bool(selector) and selector.items() <= {**self.labels, **first}.items()

    def selectors(self):
        self.unless(self.selects(self.set["selector"]["matchLabels"]), f"StatefulSet/{self.name} does not select its own pods")
        for name, service in self.of_kind("Service").items():
            self.unless(self.selects(service.get("selector")), f"Service/{name} selects no pod of StatefulSet/{self.name}")

    def services(self):
        for name, service in self.of_kind("Service").items():
            for port in service["ports"]:
                target = port.get("targetPort", port["port"])
                number = self.ports.get(target, target)
                self.unless(number in self.ports.values(), f"Service/{name} goes to port {target}, which no container has")
                # Where a service has no address of its own, nobody translates its ports.
                fits = service.get("clusterIP") != "None" or port["port"] == number
                self.unless(fits, f"Service/{name} has port {port['port']}, and the container {number}")
                fits = not self.is_cluster or number != self.ports.get("http") or {POD_NAME, POD_INDEX} & set(service["selector"])
                self.unless(fits, f"Service/{name} goes to the charts, and not to process 0 alone")
        name = self.set["serviceName"]
        peers = self.of_kind("Service").get(name, {})
        if not self.is_cluster:
            self.unless(peers, f"Service/{name}, which the StatefulSet names, is not there")
            return
        fits = peers.get("clusterIP") == "None" and peers.get("publishNotReadyAddresses")
        self.unless(fits, f"Service/{name}, for the peers, is not there, not headless, or hides who is not ready")

    def policies(self):
        for name, policy in self.of_kind("NetworkPolicy").items():
            self.unless(self.selects(policy["podSelector"].get("matchLabels")), f"NetworkPolicy/{name} is not about the pods")
            there = set(self.ports.values())
            # A rule without ports is for all of them.
            rules = [({port["port"] for port in rule.get("ports", [])} or there, rule.get("from", [])) for rule in policy["ingress"]]
            for port in sorted(there):
                self.unless(any(port in ports for ports, _ in rules), f"NetworkPolicy/{name} lets nobody reach port {port}")
            for ports, sources in rules:
                self.unless(ports <= there, f"NetworkPolicy/{name} has ports {ports}, and the container {there}")
                selectors = [source.get("podSelector", {}).get("matchLabels") for source in sources]
                fits = self.ports.get("tcp-cluster") not in ports or (selectors and all(map(self.selects, selectors)))
                self.unless(fits, f"NetworkPolicy/{name} lets strangers reach the port of the cluster")

    def processes(self):
        given, replicas = self.run.settings, self.set["replicas"]
        processes, process = given["processes"], given["process"]
        self.unless(processes == str(replicas), f"there are {replicas} replicas, and REPRISE_PROCESSES is {processes}")
        self.unless(process == "ordinal", f"REPRISE_PROCESS is {process} in all pods, and not `ordinal`")
        policy, strategy = self.set.get("podManagementPolicy"), self.set.get("updateStrategy", {}).get("type")
        self.unless(policy == "Parallel", f"podManagementPolicy is {policy}: the first pod would wait for ever to be ready")
        self.unless(strategy == "OnDelete", f"updateStrategy is {strategy}: old and new pods do not let each other in")
        host, called = given["hosts"].rpartition(":")[0], f"{self.name}-{{}}.{self.set['serviceName']}"
        self.unless(host == called, f"REPRISE_HOSTS has {host}, and the pods are called {called}")

    def container_ports(self):
        wanted = {"http": self.run.port("listen")}
        if self.is_cluster:
            wanted["tcp-cluster"] = self.run.port("cluster-listen")
        self.unless(self.ports == wanted, f"the container has the ports {self.ports}, and its options {wanted}")
        if not self.is_cluster:
            return
        port = self.run.port("hosts")
        self.unless(port == wanted["tcp-cluster"], f"REPRISE_HOSTS has port {port}, and --cluster-listen {wanted['tcp-cluster']}")

    def probes(self):
        routes = []
        for name in "routes.rs", "follower.rs":
            with open(os.path.join(ROOT, "src/serve", name)) as file:
                routes.append(set(re.findall(r'route\("([^"]+)"', file.read())))
        for name in PROBES:
            asked = self.container.get(name, {}).get("httpGet", {})
            path, port = asked.get("path"), asked.get("port")
            answered = routes[0] & routes[1] if self.is_cluster else routes[0]
            fits = path in answered and self.ports.get(port, port) == self.ports["http"]
            self.unless(fits, f"the {name} asks for {path} at port {port}, which not every process answers")

    def volumes(self):
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        # A claim of each pod's own is mounted by the name of its template.
        templates = {claim["metadata"]["name"]: claim["spec"] for claim in self.set.get("volumeClaimTemplates", [])}
        volumes |= dict.fromkeys(templates)
        mounts = self.container["volumeMounts"]
        for option in "lake", "cluster-secret-file", "charts":
            path = self.run.settings.get(option)
            mount = next((mount for mount in mounts if path and is_below(path, mount["mountPath"])), None)
            self.unless(mount or path is None, f"--{option} is {path}, where nothing is mounted")
            if mount and option == "lake":
                volume = volumes.get(mount["name"]) or {}
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                claims = {**self.of_kind("PersistentVolumeClaim"), **templates}
                modes = claims.get(claim or mount["name"], {}).get("accessModes")
                wanted = "ReadWriteMany" if self.is_cluster else "ReadWriteOnce"
                fits = modes == [wanted] and not mount.get("readOnly")
                self.unless(fits, f"the lake is in the volume {mount['name']}, which is no claim that is {wanted}")
        for mount in mounts:
            self.unless(mount["name"] in volumes, f"the container mounts the volume {mount['name']}, which is not there")


def check(complaints, path):
    objects = check_schemas(complaints, path)
    if not objects:
        return
    try:
        manifest = Manifest(complaints, path, objects)
    except (KeyError, ValueError) as error:
        complaints.add(path, f"has not one StatefulSet of one container with ports and env, each thing once: {error!r}")
        return
    manifest.check()
