"""Serving: what a thousand clients of the stream and two thousand requests a second cost those who wait for fresh charts.

In each round the same run is probed as in `fresh`, once alone and once beside them, while plays come in at 20,000 a second.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from common import address_in, is_ready

from . import data, peers
from .fresh import GENERATOR_S, Fresh, after_warm_up, percentile
from .measure import Failed, Process, run
from .results import against

ALONE, BESIDE = "alone", "beside the load"
RATE, CLIENTS, REQUESTS_PER_S = 20_000, 1000, 2000
VEGETA = "github.com/tsenart/vegeta/v12@v12.13.0"
PATHS = ["/v1/trending", "/v1/charts/weekly?scope=US", "/v1/charts/all-time?limit=20", "/v1/status"]
HEAD = ["", "plays/s", "never seen", "p50 ms", "p99", "min – max", "p99 ÷ alone", "min – max", "goal", "memory MB", "requests/s", "failed", "their p99 ms", "events/s"]
NOTES = f"""\
{CLIENTS:,} clients read /v1/stream, and vegeta asks {REQUESTS_PER_S:,} times a second, both on this machine. Memory is that of
the whole run, at most. The requests' times are vegeta's."""


def vegeta():
    """A load generator from Go's module proxy, built once."""
    folder = os.path.join(peers.CACHE, "go")
    program = os.path.join(folder, "vegeta")
    if not os.path.exists(program):
        if not shutil.which("go"):
            raise peers.Missing("there is no go to build vegeta with")
        build = subprocess.run(["go", "install", VEGETA], env={**os.environ, "GOBIN": folder}, capture_output=True, text=True)
        if build.returncode:
            raise peers.Missing(f"go install {VEGETA}: {build.stderr.strip()[-300:]}")
    return program


class Serve(Fresh):
    def measure(self):
        vegeta()
        for turn in range(1, self.options.rounds + 1):
            for name in [ALONE, BESIDE][:: 1 if turn % 2 else -1]:
                self.serve(name, turn)
        return self

    def serve(self, name, turn):
        folder, topic = self.bench.empty("turn"), data.Topic(self.bench, "serve")
        pace = ["--rate", RATE, "--duration", f"{GENERATOR_S}s"]
        log, lake = os.path.join(folder, "run.log"), os.path.join(folder, "lake")
        with Process([self.options.reprise, "generate", *topic.common, *pace, *data.KINDS["narrow"]]) as generator:
            # It makes the topic.
            time.sleep(2)
            command = [self.options.reprise, "run", *topic.source, "--lake", lake, "-w", self.options.workers,
                       "--listen", "127.0.0.1:0"]
            with Process(command, log=log) as process:
                self.until(process, lambda: is_ready(log))
                figures = self.beside(topic, address_in(log), folder) if name == BESIDE else self.probed(topic, address_in(log))
                process.stop()
            if not generator.running():
                raise Failed(f"the generator has ended{generator.last_words()}")
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
        targets = os.path.join(folder, "targets")
        with open(targets, "w") as file:
            file.writelines(f"GET {address}{path}\n" for path in PATHS)
        clients = os.path.join(os.path.dirname(__file__), "clients.py")
        attack = [vegeta(), "attack", "-targets", targets, "-rate", REQUESTS_PER_S, "-duration", f"{GENERATOR_S}s",
                  "-max-connections", 64, "-output", os.path.join(folder, "attack")]
        with Process([sys.executable, clients, address, CLIENTS], stdin=subprocess.PIPE) as watchers:
            self.until(watchers, lambda: "ready" in watchers.said().splitlines())
            with Process(attack) as attacker:
                figures = self.probed(topic, address)
                attacker.stop()
            watchers.process.stdin.close()
            heard = watchers.wait(60).said()
        report = run([vegeta(), "report", "-type", "json", os.path.join(folder, "attack")], 120)
        return {**figures, "watchers": heard, "requests": json.loads(report.out)}

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
            rows.append([*row, *against(p99, alone), "< 2", f"{memory:.0f}", f"{of(lambda t: t['requests']['throughput']):,.0f}",
                         f"{100 * (1 - of(lambda t: t['requests']['success'])):.2f} %",
                         f"{of(lambda t: t['requests']['latencies']['99th'] / 1e6):.1f}",
                         f"{of(lambda t: t['watchers']['events_per_s']):,.0f}"])
        self.bench.show(f"Freshness at {RATE:,} plays/s, alone and beside those who read", HEAD, rows, NOTES)

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
