"""What scripts/deploy-check asks of docker-compose.yml: what compose says of it, and whether its services agree with each other,
with the image, and with the options that the program has."""

import os
import re
import shutil
import subprocess
import sys

import yaml

from common import ROOT
from deploy_kubernetes import Loader
from deploy_options import COMMANDS, Run, is_below, options_of

OURS = "reprise"


def compose_says(complaints, path):
    """By the plugin of Docker, or by the program that Debian has. Neither needs an engine for this."""
    for command in ["docker", "compose"], ["docker-compose"]:
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            done = subprocess.run([*command, "-f", path, "config", "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True)
            if done.returncode != 0:
                complaints.add(path, f"{' '.join(command)}: {' '.join(done.stdout.split())}")
            return
    print("deploy-check: without docker compose (Debian: docker-compose) its schema is not checked", file=sys.stderr)


def with_variables(text, shift):
    """As compose reads it, with each port that is a variable `shift` higher than its default."""
    return re.sub(r"\$\{(\w+_PORT):-(\d+)\}", lambda found: str(int(found[2]) + shift), text)


class Compose:
    """The services, with ports that are `shift` higher than the defaults."""

    def __init__(self, complaints, path, root, image, shift):
        self.complaints, self.path, self.root, self.image, self.shift = complaints, path, root, image, shift
        with open(path) as file:
            self.services = yaml.load(with_variables(file.read(), shift), Loader)["services"]

    def unless(self, fits, what):
        self.complaints.unless(fits, self.path, what)

    def check(self):
        for name, service in self.services.items():
            self.service(name, service)
            self.reach(name, service)
        self.kafka(self.services["kafka"])
        runs = {name: self.program(name, service) for name, service in self.services.items() if self.is_ours(service)}
        self.reprise(self.services[OURS], runs[OURS])
        self.prometheus(runs[OURS])

    def is_ours(self, service):
        return service["image"].partition(":")[0] == OURS

    def service(self, name, service):
        """What each of them has to have."""
        image, tag = service["image"].rsplit(":", 1) if ":" in service["image"] else (service["image"], "")
        self.unless(re.search(r"\d+\.\d+", tag), f"{name}: {service['image']} is not the image of one version")
        fits = not self.is_ours(service) or tag == self.image.version()
        self.unless(fits, f"{name}: the image is {image}:{tag}, and Cargo.toml has version {self.image.version()}")
        for limit in "mem_limit", "pids_limit":
            self.unless(limit in service, f"{name} has no {limit}")
        self.unless("healthcheck" in service or self.is_ours(service), f"{name} has no health check")
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN", variable) and not str(value).startswith("${")
            self.unless(not secret, f"{name}: {variable} is a secret, and stands in the file")

    def reach(self, name, service):
        """Who reaches it, what it reaches, and what it waits for."""
        for port in service.get("ports", []):
            self.unless(str(port).startswith("127.0.0.1:"), f"{name}: port {port} is published to other machines")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = not source.startswith(".") or os.path.isfile(os.path.join(self.root, source))
            self.unless(there, f"{name}: {source} is mounted, and not there")
        for other, wait in service.get("depends_on", {}).items():
            healthy = wait["condition"] != "service_healthy" or "test" in self.services[other].get("healthcheck", {})
            self.unless(healthy, f"{name} waits until {other} is healthy, which nobody checks")

    def kafka(self, service):
        with open(os.path.join(ROOT, "scripts/kafka")) as file:
            version = re.search(r"(?m)^readonly KAFKA_VERSION=(\S+)", file.read())[1]
        self.unless(service["image"] == f"apache/kafka:{version}", f"kafka is {service['image']}, and scripts/kafka has {version}")
        listeners, advertised = (
            {name: address for name, _, address in (text.partition("://") for text in service["environment"][key].split(","))}
            for key in ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS"))
        for name, address in advertised.items():
            port = address.rpartition(":")[2]
            self.unless(listeners.get(name, "").endswith(f":{port}"), f"kafka advertises {name} at {address}, and does not listen")
            host, published = address.rpartition(":")[0], f"127.0.0.1:{port}:{port}" in service["ports"]
            self.unless(published == (host == "localhost"), f"kafka advertises {address}, and publishes {service['ports']}")
        inside = advertised["INSIDE"]
        for name, other in self.services.items():
            words = " ".join([*other.get("command", []), *other.get("environment", {}).values()] if name != "kafka" else [])
            for address in re.findall(r"\bkafka:\d+", words):
                self.unless(address == inside, f"{name} looks for Kafka at {address}, and it is at {inside}")

    def program(self, name, service):
        """How the program is started. Of the image's variables, those count that the command knows."""
        command = service["command"][0]
        if command not in COMMANDS:
            self.complaints.add(self.path, f"{name} starts `reprise {command}`, of which this script knows nothing")
            return None
        known = {option.env for option in options_of(command)}
        variables = {key: value for key, value in self.image.variables.items() if key in known} | service.get("environment", {})
        return Run(self.complaints, self.path, ["reprise", *service["command"]], list(variables.items()), command)

    def reprise(self, service, run):
        port = run.port("listen")
        self.unless(run.settings["listen"].startswith("0.0.0.0:"), "reprise listens where nobody outside its container reaches it")
        published = [f"127.0.0.1:{port + self.shift}:{port}"]
        self.unless(service["ports"] == published, f"reprise listens at {port}, and publishes {service['ports']}, not {published}")
        self.unless(self.image.value("EXPOSE") == str(port), f"reprise listens at {port}, and the Dockerfile exposes another port")
        lake, folders = run.settings["lake"], [volume.split(":")[1] for volume in service["volumes"]]
        self.unless(any(is_below(lake, folder) for folder in folders), f"the lake is {lake}, and the volumes are {folders}")

    def prometheus(self, run):
        """Whether it asks reprise, and Grafana asks it."""
        with open(os.path.join(self.root, "deploy/compose/prometheus.yml")) as file:
            job, = yaml.load(file, Loader)["scrape_configs"]
        targets = [target for static in job["static_configs"] for target in static["targets"]]
        wanted = f"{OURS}:{run.port('listen')}"
        self.unless(targets == [wanted], f"Prometheus asks {targets}, and reprise is {wanted}")
        with open(os.path.join(ROOT, "src/serve/routes.rs")) as file:
            routes = re.findall(r'route\("([^"]+)"', file.read())
        metrics = job.get("metrics_path", "/metrics")
        self.unless(metrics in routes, f"Prometheus asks for {metrics}, which reprise does not answer")
        with open(os.path.join(self.root, "deploy/compose/datasource.yml")) as file:
            source, = yaml.load(file, Loader)["datasources"]
        port = self.services["prometheus"]["ports"][0].rpartition(":")[2]
        fits = source["url"] == f"http://prometheus:{port}"
        self.unless(fits, f"Grafana asks {source['url']}, and Prometheus is at port {port}")


def check(complaints, path, root, image):
    compose_says(complaints, path)
    try:
        for shift in 0, 10000:
            Compose(complaints, path, root, image, shift).check()
    except (yaml.YAMLError, KeyError, ValueError, TypeError) as error:
        complaints.add(path, f"is not as this script reads it: {error!r}")
