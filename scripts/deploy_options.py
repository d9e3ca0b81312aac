"""What scripts/deploy-check knows of the command line: the options that there are, and what a process is started with."""

import glob
import os
import re
import sys
from typing import NamedTuple, Optional

from common import ROOT

SOURCES = os.path.join(ROOT, "src/cli")
# Where the options of each command are declared.
COMMANDS = {
    "run": ["run.rs", "peers.rs", "shared.rs", "mod.rs"],
    "generate": ["generate.rs", "mod.rs"],
    "trending": ["chart.rs", "instance.rs", "shared.rs", "mod.rs"],
    "health": ["health.rs", "instance.rs", "shared.rs", "mod.rs"],
}
# Some that are always there: if not, it is this script that cannot read the source any more.
SOME = {"run": {"lake", "hostfile"}, "generate": {"rate"}, "trending": {"url"}, "health": {"url", "ready"}}
# Variables of a process that are no options.
OTHER_VARIABLES = {"RUST_LOG", "REPRISE_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"}


class Complaints:
    """What is wrong, and in which file."""

    def __init__(self):
        self.lines = []

    def add(self, path, what):
        self.lines.append(f"{path}: {what}")

    def unless(self, fits, path, what):
        if not fits:
            self.add(path, what)


class Option(NamedTuple):
    # The long name, or the short one of an option that has no other.
    name: str
    long: Optional[str]
    short: Optional[str]
    env: Optional[str]
    takes_value: bool
    is_required: bool


def options_in(files):
    """The options that `files` declare. The source is asked, since the program may be older than it, or not there."""
    found = []
    for path in files:
        with open(path) as file:
            declared = re.findall(r"#\[arg\((.*?)\)\]\s*(?:pub )?(\w+): ([^\n]+),", file.read(), re.DOTALL)
        for how, field, kind in declared:
            long = re.search(r'\blong(?: = "([^"]+)")?(?=\s*(?:,|$))', how)
            short = re.search(r"\bshort(?: = '(.)')?(?=\s*(?:,|$))", how)
            env = re.search(r'\benv = "([^"]+)"', how)
            if long or short:
                long, short = long and (long[1] or field.replace("_", "-")), short and (short[1] or field[0])
                found.append(Option(
                    name=long or short, long=long, short=short, env=env and env[1], takes_value=kind != "bool",
                    is_required=not kind.startswith(("Option<", "Vec<", "bool")) and "default_value" not in how))
    return found


def options_of(command):
    return options_in(os.path.join(SOURCES, name) for name in COMMANDS[command])


def all_options():
    return options_in(sorted(glob.glob(os.path.join(SOURCES, "*.rs"))))


class Run:
    """What one process is started with, by its command line and its variables. `path` is the file to complain of."""

    def __init__(self, complaints, path, words, variables, command="run"):
        self.complaints, self.path, self.settings, self.command = complaints, path, {}, f"`reprise {command}`"
        self.options = options_of(command)
        if not SOME[command] <= {option.name for option in self.options}:
            sys.exit(f"deploy-check: the options of {self.command} are not to be found in {', '.join(COMMANDS[command])}")
        for name, value in variables:
            self.take_variable(name, value)
        self.take_command(words, command)
        for option in self.options:
            if option.is_required and option.name not in self.settings:
                self.complain(f"{self.command} cannot start without --{option.name} or {option.env}")

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

    def take_command(self, words, command):
        """A command line beats variables."""
        if len(words) < 2 or os.path.basename(words[0]) != "reprise" or words[1] != command:
            self.complain(f"starts `{' '.join(words)}`, which is not {self.command}")
            return
        words = iter(words[2:])
        for word in words:
            name, has_value, value = word.partition("=")
            option = next((o for o in self.options if name in (o.long and f"--{o.long}", o.short and f"-{o.short}")), None)
            if not option:
                self.complain(f"{self.command} has no option {name}")
            elif option.takes_value:
                self.settings[option.name] = value if has_value else next(words, "")
            else:
                self.settings[option.name] = "true"

    def has(self, *names):
        """Whether all these options are given. Complains of those that are not."""
        missing = [f"--{name}" for name in names if name not in self.settings]
        if missing:
            self.complain(f"what is deployed needs {', '.join(missing)}")
        return not missing

    def port(self, name):
        """The port in an address, or in a pattern of addresses."""
        return int(self.settings[name].rpartition(":")[2])


def is_below(path, folder):
    return os.path.normpath(path) == os.path.normpath(folder) or path.startswith(os.path.normpath(folder) + "/")
