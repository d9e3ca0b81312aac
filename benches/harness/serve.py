"""Serving: how a thousand clients of the stream and two thousand requests per second affect
freshness.

In each round a run is probed as in `fresh`, by a client that polls, once alone and once under that
load, while plays arrive at 20,000 per second.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time

from common import address_in, is_ready

from . import data, peers
from .fresh import GENERATOR_S, Fresh, after_warm_up, percentile
from .measure import Failed, Process
from .results import against

ALONE, BESIDE = "alone", "beside the load"
RATE, CLIENTS, REQUESTS_PER_S = 20_000, 1000, 2000
CONNECTIONS = 64
PATHS = ["/v1/trending", "/v1/charts/weekly?scope=US", "/v1/charts/all-time?limit=20", "/v1/status"]
HEAD = ["", "plays/s", "never seen", "p50 ms", "p99", "min – max", "p99 ÷ alone", "min – max", "goal", "memory MB", "requests/s", "failed", "their p99 ms", "events/s"]
NOTES = f"""\
{CLIENTS:,} clients read /v1/stream, and h2load sends {REQUESTS_PER_S:,} requests per second, both on
this machine. Memory is the peak of the run. Request times are h2load's, over {CONNECTIONS}
connections, from the sending of each request."""


def load_generator():
    """h2load, of Debian's nghttp2-client: it takes little processor time itself, and shares two
    cores with the run."""
    if not shutil.which("h2load"):
        raise peers.Missing("h2load is missing: apt install nghttp2-client")
    return "h2load"


def requests_in(path):
    """Figures of h2load's log, whose lines have the start of a request in µs, its status, and its
    duration in µs."""
    with open(path) as file:
        rows = [line.split("\t") for line in file if line.endswith("\n")]
    if len(rows) < 2:
        raise Failed("h2load has sent no requests")
    times_us = [int(row[2]) for row in rows]
    seconds = (max(int(row[0]) for row in rows) - min(int(row[0]) for row in rows)) / 1e6
    return {"per_s": len(rows) / seconds, "failed": sum(row[1] != "200" for row in rows) / len(rows),
            "p99_ms": percentile(times_us, 0.99) / 1e3}


class Serve(Fresh):
    def measure(self):
        load_generator()
        for turn in range(1, self.options.rounds + 1):
            for name in [ALONE, BESIDE][:: 1 if turn % 2 else -1]:
                self.serve(name, turn)
        return self

    def serve(self, name, turn):
        folder, topic = self.bench.empty("turn"), data.Topic(self.bench, "serve")
        pace = ["--rate", RATE, "--duration", f"{GENERATOR_S}s"]
        log, lake = os.path.join(folder, "run.log"), os.path.join(folder, "lake")
        with Process([self.options.reprise, "generate", *topic.common, *pace, *data.KINDS["narrow"]]) as generator:
            # The generator creates the topic.
            time.sleep(2)
            command = [self.options.reprise, "run", *topic.source, "--lake", lake, "-w", self.options.workers,
                       "--listen", "127.0.0.1:0"]
            with Process(command, log=log) as process:
                self.until(process, lambda: is_ready(log))
                figures = self.beside(topic, address_in(log), folder) if name == BESIDE else self.probed(topic, address_in(log))
                process.stop()
            if not generator.running():
                raise Failed(f"the generator has ended{generator.last_errors()}")
            generator.stop()
            reached = data.sent_per_s(generator)
        self.bench.delete_topics()
        self.turns.append({"job": name, "round": turn, "memory_bytes": process.memory_bytes, "rate_reached": reached,
                           **figures})
        if figures.get("watchers", {}).get("lost"):
            raise Failed(f"{figures['watchers']['lost']} clients were lost")
        self.bench.say(f"round {turn}: {name} at {reached:,} plays/s: p99 {percentile(figures['latencies_ms'], 0.99):.1f} ms, "
                       f"{process.memory_bytes / 1e6:.0f} MB")

    def probed(self, topic, address):
        found = self.probe("http", topic, address)
        return after_warm_up(zip(found["sent_us"], found["latencies_us"]), found)

    def beside(self, topic, address, folder):
        targets, log = os.path.join(folder, "targets"), os.path.join(folder, "requests")
        with open(targets, "w") as file:
            file.writelines(f"{address}{path}\n" for path in PATHS)
        clients = os.path.join(os.path.dirname(__file__), "clients.py")
        attack = [load_generator(), "--h1", "--input-file", targets, "--clients", CONNECTIONS, "--rps", REQUESTS_PER_S / CONNECTIONS,
                  "--duration", GENERATOR_S, "--log-file", log]
        with Process([sys.executable, clients, address, CLIENTS], stdin=subprocess.PIPE) as watchers:
            self.until(watchers, lambda: "ready" in watchers.output().splitlines())
            with Process(attack) as attacker:
                figures = self.probed(topic, address)
                if not attacker.running():
                    raise Failed(f"h2load has ended{attacker.last_errors()}")
            watchers.process.stdin.close()
            events = watchers.wait(60).report()
        return {**figures, "watchers": events, "requests": requests_in(log)}

    def show(self):
        rows = []
        for name in (ALONE, BESIDE):
            p99, alone = self.percentiles(name, 0.99), self.percentiles(ALONE, 0.99)
            memory = statistics.median(self.series(name, lambda turn: turn["memory_bytes"] / 1e6))
            unseen = sum(self.series(name, lambda turn: turn["sent"] - len(turn["latencies_ms"])))
            reached = statistics.median(self.series(name, lambda turn: turn["rate_reached"]))
            row = [name, f"{reached:,.0f}", unseen, f"{statistics.median(self.percentiles(name, 0.5)):.1f}", f"{statistics.median(p99):.1f}",
                   f"{min(p99):.1f} – {max(p99):.1f}"]
            if name == ALONE:
                rows.append([*row, "", "", "", f"{memory:.0f}", "", "", "", ""])
                continue
            of = lambda figure: statistics.median(self.series(BESIDE, figure))  # noqa: E731
            rows.append([*row, *against(p99, alone), "< 2", f"{memory:.0f}", f"{of(lambda t: t['requests']['per_s']):,.0f}",
                         f"{100 * of(lambda t: t['requests']['failed']):.2f} %",
                         f"{of(lambda t: t['requests']['p99_ms']):.1f}",
                         f"{of(lambda t: t['watchers']['events_per_s']):,.0f}"])
        self.bench.show(f"Freshness at {RATE:,} plays/s, alone and under load", HEAD, rows, NOTES)

    def keep(self):
        sizes = {name: getattr(self.options, name) for name in ("probes", "warm_up", "rounds", "workers")}
        self.bench.keep("serve", sizes={**sizes, "clients": CLIENTS, "requests_per_s": REQUESTS_PER_S}, turns=self.turns)


def serve(bench):
    try:
        measured = Serve(bench).measure()
    except peers.Missing as why:
        sys.exit(f"bench: {why}")
    measured.show()
    measured.keep()
