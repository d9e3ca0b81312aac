"""Shared by all measurements: options, a broker, a folder, and peers that may be missing."""

import os
import shutil
import subprocess
import sys
import tempfile

from common import TARGET, broker, stop_broker

from . import peers, results
from .measure import Failed, run

# The folder in which `cargo build --release --examples` puts the limits.
LIMITS = os.path.join(TARGET, "release/examples")
TURN_TIMEOUT_S = 1800
# With 256 MiB, which is enough for tests, the broker collects garbage during measurements. Where
# milliseconds matter, each collection by the serial collector would show: it takes 30 to 90 ms.
BROKER = {"REPRISE_KAFKA_HEAP": "512m", "REPRISE_KAFKA_COLLECTOR": "SerialGC"}
TIMED_BROKER = {"REPRISE_KAFKA_HEAP": "1g", "REPRISE_KAFKA_COLLECTOR": "ZGC"}
TIMED = ("fresh", "serve")
# Variables set by the user take precedence.
GIVEN = dict(os.environ)
# Above this load average, ratios will be noisy.
LOAD_IDLE = 0.7


class Bench:
    """One measurement. As a context manager it starts a broker, and removes everything at the end.
    """

    def __init__(self, options):
        self.options, self.brokers, self.ours, self.folder = options, None, False, None
        self.left_out, self.topics, self.tables = {}, [], []

    def __enter__(self):
        if not os.access(self.options.reprise, os.X_OK):
            sys.exit(f"bench: {self.options.reprise} does not exist: run `cargo build --release` first")
        if (load := os.getloadavg()[0]) > LOAD_IDLE:
            self.say(f"this machine is busy (load {load:.1f}): wait, or the figures will be noisy")
        # `all` runs several measurements, one after the other.
        broker_of = TIMED_BROKER if self.options.measurement in TIMED else BROKER
        os.environ.update({name: GIVEN.get(name, value) for name, value in broker_of.items()})
        self.brokers, self.ours = broker()
        os.makedirs(os.path.join(peers.CACHE, "tmp"), exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="run-", dir=os.path.join(peers.CACHE, "tmp"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.ours:
            stop_broker()
        else:
            self.delete_topics()

    def path(self, name):
        return os.path.join(self.folder, name)

    def empty(self, name):
        """An empty folder inside the folder of the measurement."""
        shutil.rmtree(self.path(name), ignore_errors=True)
        os.makedirs(self.path(name))
        return self.path(name)

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def reprise(self, *arguments):
        return run([self.options.reprise, *arguments], TURN_TIMEOUT_S)

    def leave_out(self, name, why):
        """Records and prints that a job is left out."""
        self.left_out[name] = str(why)
        self.say(f"{name} is left out: {why}")

    def limit(self, name):
        """The program of a limit, or None."""
        path = os.path.join(LIMITS, name)
        if os.access(path, os.X_OK):
            return path
        return self.leave_out(name, f"it has not been built: cargo build --release --example {name}")

    def delete_topics(self):
        """Deletes the topics, which take gigabytes of a broker that is not stopped."""
        try:
            for topic in self.topics:
                run([peers.tools(), os.path.join(os.path.dirname(__file__), "topics.py"), self.brokers, topic], 60)
        except (Failed, peers.Missing) as error:
            self.say(f"the topics {', '.join(self.topics)} are still there: {error}")
        self.topics = []

    def show(self, title, head, rows, notes=""):
        self.tables.append({"title": title, "head": head, "rows": rows, "notes": notes})
        print(f"\n### {title}\n\n{results.table(head, rows)}\n", flush=True)
        if notes:
            print(notes, flush=True)

    def keep(self, name, **found):
        """Saves the raw run, and prints which jobs were left out."""
        for left, why in self.left_out.items():
            print(f"\nLeft out: {left}: {why.splitlines()[0]}", flush=True)
        program = subprocess.run([self.options.reprise, "--version"], capture_output=True, text=True).stdout.strip()
        found = {"program": program, "versions": peers.versions(), "left_out": self.left_out, "tables": self.tables, **found}
        path = results.keep(self.options.results, name, found)
        path = os.path.relpath(path)
        self.say(f"raw run: {path}; to keep its tables: scripts/bench summary {path}")
