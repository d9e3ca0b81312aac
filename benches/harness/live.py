"""Catching up with a topic: reprise with all charts and its lake, compared with peers and a
consumer that only counts."""

import os
import statistics

from . import data, peers
from .measure import Failed, run
from .results import against, spread

US, LIMIT = "reprise", "one consumer that only counts"
NAMES = {"spark": "Spark: trending + lake, two queries", "flink": "Flink SQL: trending + weekly + lake"}
# On a wide topic it had not finished after 90 s with a heap of 2 GB when first tried. It runs if
# --peers names it.
NARROW_ONLY = {"flink"}
GOALS = {("narrow", "spark"): "≥ 16", ("wide", "spark"): "≥ 13", ("narrow", "flink"): "≥ 16",
         ("narrow", LIMIT): "≥ 0.65", ("wide", LIMIT): "≥ 0.5"}
MEMORY_GOALS = {"spark": "≤ 0.2"}
JVM_MEMORY = "2g"
HEAD = ["plays", "job", "plays/s", "min – max", "reprise ÷ it", "min – max", "goal", "CPU µs/play", "its start"]
NOTES = """\
Reprise is timed as a whole process, from start to exit. A peer is timed by the job time that it
reports, without the start of its JVM; the consumer from the assignment of partitions to the last
record. CPU is that of whole processes."""


def rate(turn):
    return turn["plays"] / turn["job_s"]


def memory_of(turn):
    return turn["memory_bytes"] or 0


class Live:
    def __init__(self, bench):
        self.bench, self.options = bench, bench.options
        self.turns, self.generated = [], {}

    def jobs(self):
        """The jobs: names, and functions that give the command for a topic and an empty folder."""
        jobs = {US: self.reprise}
        if counter := self.bench.limit("count_records"):
            jobs[LIMIT] = lambda topic, _: [counter, self.bench.brokers, topic.name]
        for name, prepare in {"spark": self.spark, "flink": self.flink}.items():
            if name in self.options.peers:
                try:
                    jobs[name] = prepare()
                except peers.Missing as why:
                    self.bench.leave_out(name, why)
        return jobs

    def reprise(self, topic, folder):
        return data.run_command(self.bench, topic, os.path.join(folder, "lake"))

    def spark(self):
        spark, job = peers.spark(), os.path.join(peers.JOBS, "spark_live.py")
        common = ["--jars", spark.jars, "--threads", self.options.workers, "--memory", JVM_MEMORY]
        return lambda topic, folder: [spark.python, job, *topic.source, "--folder", folder, *common]

    def flink(self):
        flink, common = peers.flink(JVM_MEMORY), ["--threads", self.options.workers]
        return lambda topic, folder: [*flink, "live", *topic.source, "--folder", folder, *common]

    def measure(self):
        jobs = self.jobs()
        for kind in self.options.kinds:
            topic = data.live_topic(self.bench, kind, self.options.plays)
            self.generated[kind] = topic.rate
            taking_part = {name: start for name, start in jobs.items() if kind == "narrow" or self.is_wide(name)}
            # The first round warms the broker's cache, and is not measured.
            for turn in range(self.options.rounds + 1):
                # The order alternates, so that no job always follows the most demanding one.
                for name in list(taking_part)[:: 1 if turn % 2 == 0 else -1]:
                    try:
                        self.turn(kind, topic, name, taking_part[name], turn)
                    except Failed as why:
                        if name == US:
                            raise
                        self.bench.leave_out(f"{name}, {kind}", why)
                        del taking_part[name]
            self.bench.delete_topics()
        return self

    def is_wide(self, name):
        if name in NARROW_ONLY and not self.options.has_explicit_peers:
            self.bench.leave_out(f"{name}, wide", "not by default: it may not end. Name it with --peers")
            return False
        return True

    def turn(self, kind, topic, name, start, turn):
        folder = self.bench.empty("turn")
        cost = run(start(topic, folder), self.options.timeout)
        if name != LIMIT and (rows := data.rows(self.bench, folder)) != topic.plays:
            raise Failed(f"its lake has {rows:,} of {topic.plays:,} plays")
        report = cost.report()
        job_s = report.get("job_s") or report.get("seconds") or cost.seconds
        self.bench.say(f"{kind}, round {turn}: {name} {topic.plays / job_s:,.0f} plays/s")
        if turn > 0:
            self.turns.append({"kind": kind, "job": name, "round": turn, "plays": topic.plays, "job_s": job_s,
                               "startup_s": report.get("startup_s"), **cost.figures()})

    def series(self, kind, name, figure):
        return [figure(turn) for turn in self.turns if (turn["kind"], turn["job"]) == (kind, name)]

    def names(self, kind):
        found = {turn["job"] for turn in self.turns if turn["kind"] == kind}
        return [name for name in (US, *NAMES, LIMIT) if name in found]

    def show_live(self):
        rows = []
        for kind in self.options.kinds:
            for name in self.names(kind):
                theirs = self.series(kind, name, rate)
                median, reach = spread(theirs, 0, 1e3)
                ratio = ("", "") if name == US else against(self.series(kind, US, rate), theirs)
                cpu_us = statistics.median(self.series(kind, name, lambda turn: turn["cpu_s"] / turn["plays"] * 1e6))
                startup = [value for value in self.series(kind, name, lambda turn: turn["startup_s"]) if value]
                rows.append([kind, NAMES.get(name, name), f"{median}k", reach, *ratio, GOALS.get((kind, name), ""),
                             f"{cpu_us:.2f}", f"{statistics.median(startup):.1f} s" if startup else ""])
        generated = ", ".join(f"{rate:,} plays/s {kind}" for kind, rate in self.generated.items())
        title = f"Live: {self.options.plays:,} plays from the earliest offset, {self.options.workers} threads"
        self.bench.show(title, HEAD, rows, f"{NOTES}\n\nThe generator made {generated}; the goal is 500,000.")

    def show_memory(self):
        rows = []
        for kind in self.options.kinds:
            for name in self.names(kind):
                theirs = self.series(kind, name, memory_of)
                if all(theirs):
                    # The counter stores nothing, so its memory is no comparison.
                    ratio = ("", "") if name in (US, LIMIT) else against(self.series(kind, US, memory_of), theirs)
                    goal = MEMORY_GOALS.get(name, "")
                    rows.append([kind, NAMES.get(name, name), *spread(theirs, 0, 1e6), *ratio, goal])
        head = ["plays", "job", "MB", "min – max", "reprise ÷ it", "min – max", "goal"]
        title = f"Peak memory of the same runs: {self.options.plays:,} plays, all processes of a job together"
        self.bench.show(title, head, rows)

    def keep(self, name):
        sizes = {name: getattr(self.options, name) for name in ("plays", "rounds", "workers")}
        self.bench.keep(name, sizes=sizes, generator=self.generated, turns=self.turns)


def live(bench):
    measured = Live(bench).measure()
    measured.show_live()
    measured.show_memory()
    measured.keep("live")


def memory(bench):
    measured = Live(bench).measure()
    measured.show_memory()
    measured.keep("memory")
