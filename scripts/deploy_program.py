"""Facts about the program that scripts/deploy-check compares deploy files with: the options of each
subcommand, HTTP routes, metrics, and the version; and whether a text names only those. They are
read from the source, since the check runs before the first build."""

import glob
import json
import os
import re
import shlex
import sys
from typing import NamedTuple, Optional

import yaml

from common import ROOT

# The files of src/cli that declare the options of each subcommand.
COMMANDS = {
    "run": ["run.rs", "peers.rs", "options.rs", "mod.rs"],
    "generate": ["generate.rs", "mod.rs"],
    "health": ["health.rs", "instance.rs", "options.rs", "mod.rs"],
}
# Variables that the program reads and that set no option.
OTHER_VARIABLES = {"RUST_LOG", "REPRISE_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"}
METRIC = r"\breprise_[a-z_]+\b"


class Complaints:
    """Mistakes found, each with its file."""

    def __init__(self):
        self.lines = []

    def add(self, path, what):
        self.lines.append(f"{path}: {what}")

    def unless(self, fits, path, what):
        if not fits:
            self.add(path, what)


class Option(NamedTuple):
    # The long name, or the short one of an option without a long name.
    name: str
    long: Optional[str]
    short: Optional[str]
    env: Optional[str]
    takes_value: bool
    is_required: bool


def text_of(path):
    """The text of a file of the checkout."""
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def options_in(path):
    """The options that a file declares by clap's attributes."""
    found = []
    declared = r"#\[arg\((.*?)\)\]\s*(?:pub )?(\w+): ([^\n]+),"
    for how, field, kind in re.findall(declared, text_of(path), re.DOTALL):
        long = re.search(r'\blong(?: = "([^"]+)")?(?=\s*(?:,|$))', how)
        short = re.search(r"\bshort(?: = '(.)')?(?=\s*(?:,|$))", how)
        env = re.search(r'\benv = "([^"]+)"', how)
        if long or short:
            long = long and (long[1] or field.replace("_", "-"))
            short = short and (short[1] or field[0])
            is_optional = kind.startswith(("Option<", "Vec<", "bool")) or "default_value" in how
            found.append(Option(long or short, long, short, env and env[1], kind != "bool",
                                not is_optional))
    return found


def options_of(command):
    options = []
    for name in COMMANDS[command]:
        found = options_in(f"src/cli/{name}")
        if not found:
            sys.exit(f"deploy-check: src/cli/{name} declares no option: correct COMMANDS")
        options += found
    return options


def all_options():
    paths = glob.glob("src/cli/*.rs", root_dir=ROOT)
    return [option for path in paths for option in options_in(path)]


def routes(file="routes.rs"):
    """The paths that HTTP answers: of process 0, or with `follower.rs` of the others."""
    return set(re.findall(r'route\("([^"]+)"', text_of(f"src/serve/{file}")))


def metrics():
    paths = [path for path in glob.glob("src/**/*.rs", root_dir=ROOT, recursive=True)
             if os.path.basename(path) != "tests.rs"]
    return {name for path in paths for name in re.findall(rf'"[^"\n]*?({METRIC})', text_of(path))}


def version():
    return re.search(r'(?m)^version = "([^"]+)"', text_of("Cargo.toml"))[1]


def words(complaints, path):
    """Options, variables, the version of the image and links, in comments and prose too."""
    with open(path) as file:
        text = file.read()
    options = all_options()
    known = {option.env for option in options} | {f"--{option.long}" for option in options}
    named = re.findall(r"\bREPRISE_[A-Z][A-Z_]*", text) + re.findall(r"`(--[a-z][a-z-]*)", text)
    if path.endswith(".md"):
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("reprise "):
                    given = shlex.split(line, comments=True)
                    named += [word.split("=")[0] for word in given if word.startswith("--")]
        for target in re.findall(r"\]\(([^):#]+)\)", text):
            is_there = os.path.exists(os.path.join(os.path.dirname(path), target))
            complaints.unless(is_there, path, f"links to {target}, which does not exist")
    for name in sorted(set(named) - known - OTHER_VARIABLES - {"--"}):
        complaints.add(path, f"names {name}, which no option in src/cli/ declares")
    for found in re.findall(r'\breprise:(\d+\.\d+\.\d+[\w.-]*)|image\.version="([^"]+)"', text):
        is_current = "".join(found) == version()
        complaints.unless(is_current, path, f"has version {''.join(found)}, not {version()}")


def metric_names(complaints, folder):
    """Metrics in the dashboard and the alerts. A query for one that does not exist is no error in
    Grafana or Prometheus: the panel stays empty, and the alert never fires."""
    known = metrics()
    dashboard = os.path.join(folder, "dashboard.json")
    alerts = [os.path.join(folder, name) for name in ("alerts.yml", "alerts.test.yml")]
    for path in [dashboard, *alerts]:
        with open(path) as file:
            text = file.read()
        for name in sorted(set(re.findall(METRIC, text))):
            is_known = name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known
            complaints.unless(is_known, path, f"asks for {name}, which src/ does not have")
    with open(os.path.join(folder, "datasource.yml")) as file:
        source = yaml.safe_load(file)["datasources"][0]["uid"]
    with open(dashboard) as file:
        asked = {panel["datasource"]["uid"] for panel in json.load(file)["panels"]}
    complaints.unless(asked == {source}, dashboard, f"asks {asked}, and the source is {source}")


class Run:
    """The settings of one process, from its command line and variables. Complaints name `path`."""

    def __init__(self, complaints, path, words, variables, command="run"):
        self.complaints, self.path, self.settings = complaints, path, {}
        self.command, self.options = f"`reprise {command}`", options_of(command)
        for name, value in variables:
            self.take_variable(name, value)
        # A command line beats variables.
        if len(words) < 2 or os.path.basename(words[0]) != "reprise" or words[1] != command:
            self.complain(f"starts `{' '.join(words)}`, which is not {self.command}")
        else:
            self.take_words(iter(words[2:]))
        for option in self.options:
            if option.is_required and option.name not in self.settings:
                self.complain(f"{self.command} needs --{option.name}")

    def complain(self, what):
        self.complaints.add(self.path, what)

    def take_variable(self, name, value):
        option = next((option for option in self.options if option.env == name), None)
        if option and option.name in self.settings:
            self.complain(f"{name} is given twice")
        elif option:
            self.settings[option.name] = value
        elif name not in OTHER_VARIABLES:
            self.complain(f"{self.command} has no option that is set by {name}")

    def take_words(self, words):
        for word in words:
            name, has_value, value = word.partition("=")
            named = [option for option in self.options
                     if name in (f"--{option.long}", f"-{option.short}")]
            option = named[0] if named else None
            if not option:
                self.complain(f"{self.command} has no option {name}")
            elif option.takes_value:
                self.settings[option.name] = value if has_value else next(words, "")
            else:
                self.settings[option.name] = "true"

    def has(self, *names):
        """Whether all these options are set; complains of those that are not."""
        missing = [f"--{name}" for name in names if name not in self.settings]
        if missing:
            self.complain(f"does not set {', '.join(missing)}")
        return not missing

    def port(self, name):
        """The port in an address, or in a pattern of addresses."""
        return int(self.settings[name].rpartition(":")[2])


def is_below(path, folder):
    path, folder = os.path.normpath(path), os.path.normpath(folder)
    return path == folder or path.startswith(f"{folder}/")
