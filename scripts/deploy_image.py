"""What scripts/deploy-check asks of the Dockerfile: what a linter says, and whether it agrees with the program and with Kubernetes.

Nothing is built. What the builder would be sent is compared with what Cargo reads, since that shows only in a build of minutes.
"""

import fnmatch
import glob
import json
import os
import re
import subprocess
import sys

from common import ROOT
from deploy_options import Run, is_below

# What the compiler takes from other files.
INCLUDED = r'include_(?:str|bytes)!\((?:concat!\()?\s*"([^"]+)"'


def text_of(path):
    """Of a file of the checkout, or of one at an absolute path."""
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def lint(complaints, path):
    """By the linter of the environment that this runs in."""
    linter = os.path.join(os.path.dirname(sys.executable), "hadolint")
    done = subprocess.run([linter, "--no-color", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in done.stdout.splitlines() or [f"status {done.returncode}"] * (done.returncode != 0):
        complaints.add(path, f"hadolint: {line.removeprefix(path)}")


class Image:
    """The last stage of the Dockerfile: what runs, and as whom."""

    def __init__(self, complaints, path, root):
        self.complaints, self.path, self.root = complaints, path, root
        with open(path) as file:
            lines = re.sub(r"(?m)^\s*#.*\n", "", file.read()).replace("\\\n", " ").splitlines()
        self.stages, self.steps = [], []
        for name, _, value in (line.partition(" ") for line in lines if line.strip()):
            if name == "FROM":
                self.stages.append(value)
                self.steps = []
            self.steps.append((name, value.strip()))
        self.text = "\n".join(lines)
        self.variables = dict(word.split("=", 1) for word in " ".join(self.values("ENV")).split())

    def unless(self, fits, what):
        self.complaints.unless(fits, self.path, what)

    def values(self, wanted):
        return [value for name, value in self.steps if name == wanted]

    def value(self, wanted):
        return (self.values(wanted) or [""])[-1]

    def check(self):
        self.build()
        self.context()
        self.user()
        self.health()
        version = re.search(r'org\.opencontainers\.image\.version="([^"]+)"', self.text)
        self.unless(version and version[1] == self.version(), f"its label says another version than {self.version()}")
        lake, volume = self.variables.get("REPRISE_LAKE"), self.value("VOLUME")
        self.unless(lake and is_below(lake, volume), f"the lake is {lake}, and the volume {volume or 'none'}")

    def version(self):
        return re.search(r'(?m)^version = "([^"]+)"', text_of("Cargo.toml"))[1]

    def build(self):
        cargo = text_of("Cargo.toml")
        oldest = re.search(r'(?m)^rust-version = "(\d+)\.(\d+)', cargo).groups()
        used = re.match(r"rust:(\d+)\.(\d+)", self.stages[0])
        fits = used and tuple(map(int, used.groups())) >= tuple(map(int, oldest))
        self.unless(fits, f"builds with {self.stages[0]}, and Cargo.toml wants Rust {'.'.join(oldest)}")
        features = cargo.partition("\n[features]\n")[2].partition("\n[")[0]
        for name in re.findall(r"--features (\S+)", self.text):
            self.unless(re.search(rf"(?m)^{name} = ", features), f"builds with the feature {name}, which Cargo.toml has not")

    def context(self):
        """What .dockerignore lets through has to be what Cargo reads, and what the source includes."""
        lines = [line for line in text_of(os.path.abspath(os.path.join(self.root, ".dockerignore"))).splitlines() if line and line[0] != "#"]
        self.unless(lines and lines[0] == "*", ".dockerignore does not begin with everything")
        sent = [os.path.normpath(line[1:]) for line in lines if line[0] == "!"]
        cargo = text_of("Cargo.toml")
        members = re.findall(r'"([^"]+)"', re.search(r"(?m)^members = \[(.*?)\]", cargo)[1])
        wanted = {"Cargo.toml", "Cargo.lock", "src", ".cargo/config.toml", *members} | set(glob.glob("build.rs", root_dir=ROOT))
        wanted |= {f"benches/{name}.rs" for name in re.findall(r'\[\[bench\]\]\nname = "(\w+)"', cargo)}
        for folder in ["src", *(f"{member}/src" for member in members)]:
            for path in glob.glob(f"{folder}/**/*.rs", root_dir=ROOT, recursive=True):
                if not re.search(r"/tests(\.rs$|/)", path):
                    included = re.findall(INCLUDED, text_of(path))
                    wanted |= {os.path.normpath(os.path.join(os.path.dirname(path), name)) for name in included}
        for path in sorted(wanted):
            fits = any(is_below(path, name) or fnmatch.fnmatch(path, name) for name in sent)
            self.unless(fits, f".dockerignore keeps {path} from the build")

    def user(self):
        """The same number everywhere, since it owns the lake."""
        user = self.value("USER").partition(":")[0]
        with open(os.path.join(self.root, "deploy/kubernetes/reprise.yaml")) as file:
            numbers = {str(number) for number in re.findall(r"runAsUser: (\d+)", file.read())}
        self.unless(user.isdigit() and user != "0", f"runs as `{user or 'root'}`, which is not a number other than root's")
        self.unless({user} == numbers, f"runs as {user}, and in Kubernetes it is {', '.join(sorted(numbers))}")

    def health(self):
        command = json.loads(self.value("HEALTHCHECK").partition(" CMD ")[2] or "null")
        entry = json.loads(self.value("ENTRYPOINT") or "null")
        fits = isinstance(entry, list) and len(entry) == 1 and os.path.basename(entry[0]) == "reprise"
        self.unless(fits, f"starts {entry}, and not `reprise` as a list of words")
        self.unless(isinstance(command, list), "has no HEALTHCHECK that is a list of words: there is no shell in the image")
        if isinstance(command, list):
            Run(self.complaints, self.path, command, [], "health")
            self.told(" ".join([os.path.basename(command[0]), *command[1:]]))

    def told(self, command):
        """What people read of the health check is the one that the image has."""
        readme = os.path.join(self.root, "deploy/README.md")
        with open(readme) as file:
            said = re.findall(r"[Hh]ealth\s+check\s+is\s+`([^`]+)`", file.read())
        fits = said == [command]
        self.complaints.unless(fits, os.path.relpath(readme), f"says that the health check is {said}, and {self.path} has `{command}`")


def check(complaints, path, root):
    lint(complaints, path)
    image = Image(complaints, path, root)
    image.check()
    return image
