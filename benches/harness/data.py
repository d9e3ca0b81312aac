"""Input data: topics, and lakes that are kept between calls."""

import json
import os
import re
import shutil
import time

from . import peers
from .measure import Process, run

# A fixed date in the past.
START = "2025-11-20T14:30:00Z"
PLAYS_PER_EVENT_SECOND = 2000
# Fifty songs with the popularity of the reference implementation's, or a catalogue with a long
# tail.
KINDS = {"narrow": [], "wide": ["--songs", "100000", "--skew", "1.1", "--users", "100000"]}
LAKE_START = "2025-11-03"
# No checkpoint and no compaction may start during a measurement.
UNDISTURBED = ["--checkpoint-interval", "3000d", "--compact-after", "3000d"]
TIMEOUT_S = 3600
ROWS = """
import sys, pyarrow.parquet
print(sum(pyarrow.parquet.read_metadata(line.strip()).num_rows for line in open(sys.argv[1])))
"""


class Topic:
    """A topic of four partitions that `reprise generate` fills with the same plays at each call,
    uncompressed."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, f"bench-{name}-{os.getpid()}-{time.time_ns()}"
        self.plays = self.rate = 0
        self.source = ["--brokers", bench.brokers, "--topic", self.name]
        self.common = [*self.source, "--partitions", "4", "-X", "compression.type=none"]
        bench.topics.append(self.name)

    def fill(self, plays, start, span, *mix):
        """Generates plays with timestamps over `span` from `start` on, up to 20 s out of order."""
        when = ["--start", start, "--history", span, "--history-plays", plays, "--count", plays]
        command = [self.bench.options.reprise, "generate", *self.common, "--rate", "max", "--seed", "1", *when, *mix]
        with Process(command) as generator:
            generator.wait(TIMEOUT_S)
            self.rate = sent_per_s(generator)
        self.plays += plays
        return self


def sent_per_s(generator):
    """The rate that the generator has logged at its end."""
    found = re.search(r" s: ([\d,]+)/s", generator.errors())
    return int(found[1].replace(",", "")) if found else 0


def seconds_of(plays):
    """The span of event time for a number of plays."""
    return f"{max(plays // PLAYS_PER_EVENT_SECOND, 1)}s"


def live_topic(bench, kind, plays):
    return Topic(bench, kind).fill(plays, START, seconds_of(plays), *KINDS[kind])


def run_command(bench, topic, lake, *more):
    """`reprise run` with its defaults, to the end of the topic."""
    return [bench.options.reprise, "run", *topic.source, "--lake", lake, "-w", bench.options.workers,
            "--listen", "127.0.0.1:0", "--until-caught-up", *more]


def kept_lake(bench, plays, songs, users, days):
    """A compacted lake with that many plays, created once and kept."""
    path = os.path.join(peers.CACHE, "lakes", f"{plays}-plays-{songs}-songs-{users}-users-{days}-days")
    if not os.path.exists(os.path.join(path, "made.json")):
        began, partial = time.monotonic(), f"{path}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        bench.say(f"making a lake of {plays:,} plays, once: {os.path.relpath(path)}")
        mix = ["--songs", songs, "--skew", "1.05", "--users", users]
        topic = Topic(bench, "lake").fill(plays, LAKE_START, f"{days}d", *mix)
        run(run_command(bench, topic, partial, *UNDISTURBED), TIMEOUT_S)
        bench.reprise("lake", "compact", "--lake", partial, "--all")
        bench.reprise("lake", "vacuum", "--lake", partial, "--retain", "0s")
        bench.delete_topics()
        files = parquet_files(partial)
        made = {"plays": plays, "songs": songs, "users": users, "days": days, "files": len(files),
                "bytes": sum(map(os.path.getsize, files)), "seconds": round(time.monotonic() - began, 1)}
        with open(os.path.join(partial, "made.json"), "w") as file:
            json.dump(made, file)
        os.rename(partial, path)
    with open(os.path.join(path, "made.json")) as file:
        made = json.load(file)
    bench.say(f"the lake: {made['plays']:,} plays, {made['files']:,} files, {made['bytes'] / 1e6:.0f} MB, made in "
              f"{made['seconds']:.0f} s; kept in {os.path.relpath(path)} until you remove it")
    return path, made


def parquet_files(lake):
    """The files of plays in a lake, of reprise or of a peer."""
    found = []
    for folder, folders, files in os.walk(lake):
        # Folders with these prefixes hold unfinished files or no data.
        folders[:] = [name for name in folders if not name.startswith(("_", ".")) and name != "dead_letters"]
        # Flink's files have no extension.
        found += [os.path.join(folder, name) for name in files if name.endswith(".parquet") or name.startswith("part-")]
    return found


def rows(bench, lake):
    """The number of plays in a lake, by the footers of its files."""
    listed = bench.path("files")
    with open(listed, "w") as file:
        file.write("\n".join(parquet_files(lake)))
    return int(run([peers.readers(), "-c", ROWS, listed], TIMEOUT_S).out)
