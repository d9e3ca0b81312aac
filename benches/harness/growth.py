"""Growth: the cost of a play and the memory of a track as the numbers of plays, tracks and weeks
grow.

Costs are processor time, which other load on the machine disturbs least, minus the cost of a run
over an empty topic.
"""

import shutil
import statistics

from . import data, peers
from .measure import run

FACTORS = [1, 10, 100]
PLAYS_BASE, TRACKS_BASE, PLAYS_OF_TRACKS = 200_000, 10_000, 2_000_000
# The number of plays grows with the weeks, as in practice.
PLAYS_PER_WEEK, LATER_PLAYS = 400_000, 1_000_000
CATALOGUE = 100_000
# Mondays. All ranges of weeks end at the same Monday.
WEEK_STARTS, NEXT_WEEK = {1: "2025-11-03", 10: "2025-09-01", 100: "2023-12-11"}, "2025-11-10"
GOAL = "≤ 1.3"
# The scan decodes ids, titles, artists and countries, and sums. A replay reads hardly any titles,
# but also timestamps, and it ranks.
SCAN = "a scan"
# The number of distinct tracks, and of pairs of a track and a cell of the six charts.
COUNT = """
import sys, duckdb
cells = [f"song_id{time}{scope}" for time in ("", ", week", ", month") for scope in ("", ", country")]
duckdb.execute("SET enable_progress_bar = false")
counts = ", ".join(f"count(DISTINCT ({cell}))" for cell in cells)
print(*duckdb.execute(f'''
    SELECT {counts} FROM (
        SELECT DISTINCT song_id, country, date_trunc('week', date) AS week, date_trunc('month', date) AS month
        FROM read_parquet('{sys.argv[1]}/song_plays/date=*/hour=*/*.parquet', hive_types = {{'date': DATE}})
        WHERE completed)
''').fetchone())
"""
HEAD = ["what grows", "", "job", "plays", "tracks", "(track, cell)", "CPU µs/play", "of the first", "goal", "MB",
        "B per more track", "B per more (track, cell)"]
CLOSED_HEAD = ["closed weeks", "CPU µs/play", "of the first", "goal", "CPU s of the start", "MB"]


class Growth:
    def __init__(self, bench):
        self.bench, self.options = bench, bench.options
        self.points, self.closed, self.idle_cpu_s = [], [], {}
        self.scan = bench.limit("scan_lake")
        self.factors = FACTORS[:2] if self.options.quick else FACTORS

    def measure(self):
        self.idle()
        tracks_plays = self.scaled(PLAYS_OF_TRACKS)
        for factor in self.factors:
            plays = self.scaled(PLAYS_BASE) * factor
            self.point("plays", factor, plays, CATALOGUE, data.START, data.seconds_of(plays))
        for factor in self.factors:
            tracks = self.scaled(TRACKS_BASE) * factor
            self.point("tracks", factor, tracks_plays, tracks, data.START, data.seconds_of(tracks_plays))
        for factor in self.factors:
            plays, tracks = self.scaled(PLAYS_BASE) * factor, self.scaled(TRACKS_BASE) * factor
            self.point("plays-and-tracks", factor, plays, tracks, data.START, data.seconds_of(plays))
        for factor in self.factors:
            plays = self.scaled(PLAYS_PER_WEEK) * factor
            self.point("weeks", factor, plays, CATALOGUE, WEEK_STARTS[factor], f"{7 * factor}d", then=self.later)
        return self

    def scaled(self, number):
        """Scales a number in proportion to `--plays`, the smallest number of plays."""
        return max(number * self.options.plays // PLAYS_BASE, 100)

    def idle(self):
        """Measures the cost of starting and ending."""
        topic = data.Topic(self.bench, "nothing").fill(1, data.START, "1s")
        lake = self.bench.path("lake")
        self.idle_cpu_s = {job: cpu_s for job, (cpu_s, _) in self.costs(topic, lake).items()}

    def costs(self, topic, lake):
        """The cost of each job: a run, which creates the lake, and the jobs that read the lake."""
        costs = {"run": self.runs(topic, lake), "replay": self.replays(lake)}
        if self.scan:
            command = [self.scan, lake, self.options.workers]
            costs[SCAN] = medians([run(command, self.options.timeout) for _ in range(self.options.rounds)])
        return costs

    def runs(self, topic, lake, begin=None):
        """The cost of runs over `topic`, into a new lake or a copy of the one at `begin`."""
        costs = []
        for _ in range(self.options.rounds):
            shutil.rmtree(lake, ignore_errors=True)
            if begin:
                shutil.copytree(begin, lake)
            command = data.run_command(self.bench, topic, lake, *data.UNDISTURBED)
            costs.append(run(command, self.options.timeout))
        return medians(costs)

    def replays(self, lake):
        command = ["replay", "--lake", lake, "--format", "json", "-w", self.options.workers]
        return medians([self.bench.reprise(*command) for _ in range(self.options.rounds)])

    def point(self, dimension, factor, plays, tracks, start, span, then=None):
        mix = ["--songs", tracks, "--skew", "1.1", "--users", "100000"]
        topic = data.Topic(self.bench, dimension).fill(plays, start, span, *mix)
        lake = self.bench.path("lake")
        costs = self.costs(topic, lake)
        cells = [int(number) for number in run([peers.readers(), "-c", COUNT, lake], data.TIMEOUT_S).out.split()]
        for job, (cpu_s, memory_bytes) in costs.items():
            us = max(cpu_s - self.idle_cpu_s[job], 0) / plays * 1e6
            self.points.append({"dimension": dimension, "factor": factor, "job": job, "plays": plays,
                                "tracks": cells[0], "cells": sum(cells), "us": us, "memory_bytes": memory_bytes})
            self.bench.say(f"{dimension} × {factor}: {job} {us:.2f} µs/play, {megabytes(memory_bytes)} MB")
        if then:
            then(topic, lake, factor, mix)
        shutil.rmtree(lake)
        self.bench.delete_topics()

    def later(self, topic, lake, weeks, mix):
        """Measures plays of the next week over a lake of closed weeks, minus the cost of the start.
        """
        self.bench.reprise("lake", "checkpoint", "--lake", lake)
        again, plays = self.bench.path("again"), self.scaled(LATER_PLAYS)
        start_s, _ = self.runs(topic, again, begin=lake)
        topic.fill(plays, NEXT_WEEK, "7d", *mix)
        cpu_s, memory_bytes = self.runs(topic, again, begin=lake)
        shutil.rmtree(again)
        us = (cpu_s - start_s) / plays * 1e6
        self.closed.append({"weeks": weeks, "start_cpu_s": start_s, "us": us, "memory_bytes": memory_bytes})
        self.bench.say(f"after {weeks} closed weeks: {us:.2f} µs/play, the start {start_s:.2f} s")

    def show(self):
        rows = []
        for dimension in dict.fromkeys(point["dimension"] for point in self.points):
            for job in self.idle_cpu_s:
                points = [point for point in self.points if (point["dimension"], point["job"]) == (dimension, job)]
                rows += [self.row(point, points[0]) for point in points]
        idle = ", ".join(f"{job} {cpu_s:.2f} s" for job, cpu_s in self.idle_cpu_s.items())
        self.bench.show("Growth: the cost of a play and the memory of a track", HEAD, rows,
                        f"Processor time excludes that of a start and an end: {idle}.")
        rows = [[point["weeks"], f"{point['us']:.2f}", ratio(point, self.closed[0]), "1",
                 f"{point['start_cpu_s']:.2f}", megabytes(point["memory_bytes"])] for point in self.closed]
        self.bench.show("Closed weeks: the cost of plays of the week after them, with a checkpoint", CLOSED_HEAD, rows)

    def row(self, point, base):
        goal = GOAL if point["factor"] == 10 and point["job"] != SCAN else ""
        return [point["dimension"], f"× {point['factor']}", point["job"], f"{point['plays']:,}", f"{point['tracks']:,}",
                f"{point['cells']:,}", f"{point['us']:.2f}", ratio(point, base), goal, megabytes(point["memory_bytes"]),
                per_more(point, base, "tracks"), per_more(point, base, "cells")]

    def keep(self):
        sizes = {name: getattr(self.options, name) for name in ("plays", "rounds", "workers")}
        sizes |= {"plays_of_tracks": self.scaled(PLAYS_OF_TRACKS), "plays_per_week": self.scaled(PLAYS_PER_WEEK)}
        self.bench.keep("growth", sizes=sizes, idle_cpu_s=self.idle_cpu_s, points=self.points, closed=self.closed)


def medians(costs):
    memory = [cost.memory_bytes for cost in costs]
    return statistics.median(cost.cpu_s for cost in costs), statistics.median(memory) if all(memory) else None


def megabytes(memory_bytes):
    return f"{memory_bytes / 1e6:.0f}" if memory_bytes else "–"


def ratio(point, base):
    return "" if point is base else f"{point['us'] / base['us']:.2f}" if base["us"] > 0 else "–"


def per_more(point, base, what):
    """The additional memory per additional track or cell."""
    more = point[what] - base[what]
    if not point["memory_bytes"] or more <= 0:
        return ""
    return f"{(point['memory_bytes'] - base['memory_bytes']) / more:.0f}"


def growth(bench):
    measured = Growth(bench).measure()
    measured.show()
    measured.keep()
