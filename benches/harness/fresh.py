"""Freshness: the time from producing a play to a changed count, while other plays arrive at a
steady rate.

For reprise it is the count that an HTTP client sees; for a peer the count inside its own process,
which serves no clients.
"""

import json
import os
import statistics
import subprocess
import time

from common import address_in, is_ready

from . import data, peers
from .measure import Failed, Process
from .results import against

US, US_ASKED, US_COMMITTING = "reprise", "reprise, a client that asks", "reprise, a commit every 5 s"
# Shows the cost of a second worker: in each epoch the workers wait for each other.
US_TWO = "reprise, two workers"
OURS = (US, US_ASKED, US_TWO, US_COMMITTING)
# In Python, in the same process as the sending thread, so some of its delay may be its own.
LIMIT = "a consumer that only looks"
LOW, HIGH = 10_000, 200_000
LOW_GOAL = "p99 ≤ 15 ms"
GOALS = {US: LOW_GOAL, US_ASKED: LOW_GOAL, US_TWO: LOW_GOAL, US_COMMITTING: "p99 ≤ 50 ms", "Spark": "", LIMIT: ""}
PEER_GOAL = "≤ 0.2"
JVM_MEMORY = "2g"
READY_S = 180
# The generator ends by itself after this, even if this script is killed.
GENERATOR_S = 900
# Time for the last counts of a peer to come out.
SETTLE_S = 3
HEAD = ["job", "plays/s", "p50 ms", "p90", "p99", "min – max", "max", "never seen", "reprise ÷ it, p99", "min – max", "goal"]
NOTES = """\
For reprise, a probe is observed by a client of its event stream (`every=0`), or by a client that polls
over HTTP every millisecond. For a peer, it is observed by the last operator of its own process.
Figures are medians of the rounds; `plays/s` is the rate that the generator reached. Probes are sent
immediately, the other plays after --linger."""


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def after_warm_up(seen, found):
    """The number of probes after the warm-up, and the latencies of those that were seen."""
    sent = [sent_us for sent_us in found["sent_us"] if sent_us >= found["from_us"]]
    latencies_ms = [latency_us / 1e3 for sent_us, latency_us in seen if sent_us >= found["from_us"]]
    if not latencies_ms:
        raise Failed("none of its probes was seen")
    return {"sent": len(sent), "latencies_ms": latencies_ms}


class Fresh:
    def __init__(self, bench):
        self.bench, self.options, self.turns = bench, bench.options, []
        self.prober = os.path.join(os.path.dirname(__file__), "prober.py")

    def jobs(self):
        """The jobs, each with its rate."""
        jobs = {US: (LOW, self.reprise("stream")), US_ASKED: (LOW, self.reprise("http")),
                US_TWO: (LOW, self.reprise("stream", workers=2)),
                US_COMMITTING: (HIGH, self.reprise("stream", "--commit-interval", "5s")), LIMIT: (LOW, self.limit)}
        for name, prepare in {"flink": self.flink, "pathway": self.pathway, "spark": self.spark}.items():
            if name in self.options.peers:
                try:
                    jobs.update({variant: (LOW, self.peer(command)) for variant, command in prepare().items()})
                except peers.Missing as why:
                    self.bench.leave_out(name, why)
        return jobs

    # Each peer with its defaults, and as its manual recommends for low latency.

    def flink(self):
        flink, common = peers.flink(JVM_MEMORY), ["--threads", self.options.workers]

        def command(timeout):
            return lambda topic, folder: [*flink, "fresh", *topic.source, "--folder", folder, *common,
                                          "--buffer-timeout", timeout]
        return {"Flink SQL": command("100ms"), "Flink SQL, buffer timeout 5 ms": command("5ms")}

    def pathway(self):
        python, job = peers.pathway(), os.path.join(peers.JOBS, "pathway_fresh.py")

        def command(autocommit_ms):
            return lambda topic, _: [python, job, self.bench.brokers, topic.name, autocommit_ms]
        return {"Pathway, autocommit 100 ms": command(100), "Pathway, autocommit 10 ms": command(10)}

    def spark(self):
        spark, job = peers.spark(), os.path.join(peers.JOBS, "spark_fresh.py")
        common = ["--jars", spark.jars, "--threads", self.options.workers, "--memory", JVM_MEMORY]
        return {"Spark": lambda topic, folder: [spark.python, job, *topic.source, "--folder", folder, *common]}

    def reprise(self, client, *more, workers=None):
        def measure(topic, folder):
            log, lake = os.path.join(folder, "run.log"), os.path.join(folder, "lake")
            command = [self.options.reprise, "run", *topic.source, "--lake", lake, "-w", workers or self.options.workers,
                       "--listen", "127.0.0.1:0", *more]
            with Process(command, log=log) as process:
                self.until(process, lambda: is_ready(log))
                found = self.probe(client, topic, address_in(log))
                process.stop()
            return zip(found["sent_us"], found["latencies_us"]), found
        return measure

    def limit(self, topic, _):
        found = self.probe("look", topic)
        return zip(found["sent_us"], found["latencies_us"]), found

    def peer(self, command):
        def measure(topic, folder):
            with Process(command(topic, folder), stdin=subprocess.PIPE) as process:
                self.until(process, lambda: "ready" in process.output().splitlines())
                found = self.probe("song", topic)
                time.sleep(SETTLE_S)
                # The job prints its latencies when its input closes.
                process.process.stdin.close()
                report = process.wait(60).report()
            return report["latencies_us"], found
        return measure

    def until(self, process, ready):
        deadline = time.monotonic() + READY_S
        while not ready():
            if not process.running() or time.monotonic() > deadline:
                raise Failed(f"the job did not become ready{process.last_errors()}")
            time.sleep(0.2)

    def probe(self, how, topic, *address):
        counts = [self.options.probes, self.options.warm_up]
        with Process([peers.tools(), self.prober, how, self.bench.brokers, topic.name, *address, *counts]) as process:
            return json.loads(process.wait(GENERATOR_S).out)

    def measure(self):
        jobs = self.jobs()
        for turn in range(1, self.options.rounds + 1):
            for name in list(jobs)[:: 1 if turn % 2 else -1]:
                try:
                    self.turn(name, *jobs[name], turn)
                except Failed as why:
                    if name == US:
                        raise
                    self.bench.leave_out(name, why)
                    del jobs[name]
        return self

    def turn(self, name, rate, job, turn):
        folder, topic = self.bench.empty("turn"), data.Topic(self.bench, "fresh")
        pace = ["--rate", rate, "--duration", f"{GENERATOR_S}s", "-X", f"linger.ms={self.options.linger}"]
        generate = [self.options.reprise, "generate", *topic.common, *pace, *data.KINDS[self.options.kind]]
        with Process(generate) as generator:
            # The generator creates the topic.
            time.sleep(2)
            seen, found = job(topic, folder)
            if not generator.running():
                raise Failed(f"the generator has ended{generator.last_errors()}")
            generator.stop()
            reached = data.sent_per_s(generator)
        self.bench.delete_topics()
        figures = after_warm_up(seen, found)
        latencies_ms = figures["latencies_ms"]
        self.turns.append({"job": name, "rate": rate, "rate_reached": reached, "round": turn, **figures})
        self.bench.say(f"round {turn}: {name} at {reached:,} plays/s: p50 {percentile(latencies_ms, 0.5):.1f} ms, "
                       f"p99 {percentile(latencies_ms, 0.99):.1f} ms")

    def series(self, name, figure):
        return [figure(turn) for turn in self.turns if turn["job"] == name]

    def percentiles(self, name, share):
        return self.series(name, lambda turn: percentile(turn["latencies_ms"], share))

    def show(self):
        names = list(dict.fromkeys(turn["job"] for turn in self.turns))
        names.sort(key=lambda name: name not in OURS)
        rows = []
        for name in names:
            p99, ours = self.percentiles(name, 0.99), self.percentiles(US, 0.99)
            p50, p90, most = (f"{statistics.median(self.percentiles(name, share)):.1f}" for share in (0.5, 0.9, 1))
            reached = statistics.median(self.series(name, lambda turn: turn["rate_reached"]))
            unseen = sum(self.series(name, lambda turn: turn["sent"] - len(turn["latencies_ms"])))
            ratio = ("", "") if name in OURS else against(ours, p99, 3)
            rows.append([name, f"{reached:,.0f}", p50, p90, f"{statistics.median(p99):.1f}",
                         f"{min(p99):.1f} – {max(p99):.1f}", most, unseen, *ratio, GOALS.get(name, PEER_GOAL)])
        title = (f"Freshness: from produce to a changed count, {self.options.rounds} rounds of {self.options.probes} probes, "
                 f"threads: {self.options.workers}")
        self.bench.show(title, HEAD, rows, NOTES)

    def keep(self):
        sizes = {name: getattr(self.options, name) for name in ("probes", "warm_up", "linger", "rounds", "kind", "workers")}
        self.bench.keep("fresh", sizes=sizes, turns=self.turns)


def fresh(bench):
    measured = Fresh(bench).measure()
    measured.show()
    measured.keep()
