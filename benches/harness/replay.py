"""Replaying a lake: all charts of reprise, compared with other programs for the same six charts,
and a scan that only sums."""

import json
import os
import statistics

from . import data, peers
from .measure import Failed, run
from .results import against, spread

US, LIMIT = "reprise", "scan that only adds up"
GOALS = {"DuckDB": "≥ 5", "DuckDB, any title": "", "Polars": "≥ 8", "Spark SQL": "≥ 50", LIMIT: "≥ 0.6"}
SONGS, USERS, DAYS = 100_000, 200_000, 30
SPARK_MEMORY = "4g"
HEAD = ["job", "s", "min – max", "reprise is faster", "min – max", "goal", "CPU s", "MB", "charts"]
NOTES = """\
Reprise is timed as a whole process, from start to exit, and counts the trending window in addition to
the six charts. The others are timed by the job time that they report, without the start of Python or
of a JVM. "The same" charts have the same number of entries and of plays."""


class Replay:
    def __init__(self, bench):
        self.bench, self.options = bench, bench.options
        self.turns, self.answers = [], {}
        self.lake, self.made = data.kept_lake(bench, self.options.plays, SONGS, USERS, DAYS)

    def jobs(self):
        threads = self.options.workers
        jobs = {US: [self.options.reprise, "replay", "--lake", self.lake, "--format", "json", "-w", threads]}
        if scan := self.bench.limit("scan_lake"):
            jobs[LIMIT] = [scan, self.lake, threads]
        for name, prepare in {"duckdb": self.duckdb, "polars": self.polars, "spark": self.spark}.items():
            if name in self.options.peers:
                try:
                    jobs.update(prepare(threads))
                except peers.Missing as why:
                    self.bench.leave_out(name, why)
        return jobs

    def duckdb(self, threads):
        job = [peers.readers(), os.path.join(peers.JOBS, "replay_duckdb.py"), self.lake, threads]
        return {"DuckDB": [*job, "latest"], "DuckDB, any title": [*job, "any"]}

    def polars(self, _):
        return {"Polars": [peers.readers(), os.path.join(peers.JOBS, "replay_polars.py"), self.lake]}

    def spark(self, threads):
        job = [peers.spark().python, os.path.join(peers.JOBS, "replay_spark.py"), "--lake", self.lake]
        return {"Spark SQL": [*job, "--folder", self.bench.path("turn"), "--threads", threads, "--memory", SPARK_MEMORY]}

    def measure(self):
        jobs = self.jobs()
        # The first round loads the files into the page cache, and is not measured.
        for turn in range(self.options.rounds + 1):
            for name in list(jobs)[:: 1 if turn % 2 == 0 else -1]:
                try:
                    self.turn(name, jobs[name], turn)
                except Failed as why:
                    if name == US:
                        raise
                    self.bench.leave_out(name, why)
                    del jobs[name]
        return self

    def turn(self, name, command, turn):
        self.bench.empty("turn")
        cost = run(command, self.options.timeout, env={**os.environ, "POLARS_MAX_THREADS": self.options.workers})
        report = counted(cost.out) if name == US else cost.report()
        if "entries" in report:
            self.answers[name] = {"entries": report["entries"], "plays": report["plays"]}
        job_s = report.get("job_s") or report.get("seconds") or cost.seconds
        self.bench.say(f"round {turn}: {name} {job_s:.2f} s")
        if turn > 0:
            self.turns.append({"job": name, "round": turn, "job_s": job_s, "startup_s": report.get("startup_s"),
                               "grouping_s": report.get("grouping_s"), **cost.figures()})

    def series(self, name, figure):
        return [turn[figure] for turn in self.turns if turn["job"] == name]

    def show(self):
        rows = []
        for name in (US, *GOALS):
            theirs, memory = self.series(name, "job_s"), self.series(name, "memory_bytes")
            if not theirs:
                continue
            # The figures are times, so the ratio is theirs to ours.
            ratio = ("", "") if name == US else against(theirs, self.series(US, "job_s"))
            cpu_s = f"{statistics.median(self.series(name, 'cpu_s')):.2f}"
            megabytes = f"{statistics.median(memory) / 1e6:.0f}" if all(memory) else "–"
            rows.append([name, *spread(theirs), *ratio, GOALS.get(name, ""), cpu_s, megabytes, self.same(name)])
        title = (f"Replay: {self.made['plays']:,} plays in {self.made['files']:,} files, "
                 f"{self.made['bytes'] / 1e6:.0f} MB, {self.options.workers} threads")
        self.bench.show(title, HEAD, rows, NOTES)

    def same(self, name):
        if name not in self.answers:
            return ""
        return "the same" if self.answers[name] == self.answers[US] else f"differ: {self.answers[name]}"

    def keep(self):
        sizes = {**self.made, "rounds": self.options.rounds, "workers": self.options.workers}
        self.bench.keep("replay", sizes=sizes, answers=self.answers, turns=self.turns)


def counted(out):
    """The number of entries in the calendar charts, and of the plays that they count."""
    cells = [json.loads(line) for line in out.splitlines()]
    entries = [entry for cell in cells if cell["chart"] != "trending" for entry in cell["entries"]]
    return {"entries": len(entries), "plays": sum(entry["plays"] for entry in entries)}


def replay(bench):
    measured = Replay(bench).measure()
    measured.show()
    measured.keep()
