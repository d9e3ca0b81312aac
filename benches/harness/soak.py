"""Half an hour of steady plays, over a topic with a short retention: lag and memory must stay
constant.

The topic keeps 2 GiB per partition in segments of 256 MiB, so after a quarter of an hour the broker
starts to delete records.
"""

import json
import os
import statistics
import time
import urllib.request

from common import address_in, is_ready

from . import data, peers
from .measure import Failed, Process, run

RATE = 50_000
RETENTION = {"retention.bytes": 2 << 30, "segment.bytes": 256 << 20, "cleanup.policy": "delete"}
SAMPLE_S = 5
PARTS = 6
# Time for charts and buffers to reach their final size.
SETTLE_S = 120
HEAD = ["from – to, min", "plays/s", "lag, records", "most", "freshness ms, median", "memory MB, median", "most", "lake version"]


def soak(bench):
    minutes = bench.options.minutes
    topic, folder = data.Topic(bench, "soak"), bench.empty("soak")
    settings = json.dumps({name: str(value) for name, value in RETENTION.items()})
    run([peers.tools(), os.path.join(os.path.dirname(__file__), "topics.py"), bench.brokers, topic.name, "4", settings], 60)
    pace = ["--rate", RATE, "--duration", f"{60 * minutes + SETTLE_S + 60}s"]
    log, lake = os.path.join(folder, "run.log"), os.path.join(folder, "lake")
    samples = []
    with Process([bench.options.reprise, "generate", *topic.common, *pace, *data.KINDS["wide"]]) as generator:
        command = [bench.options.reprise, "run", *topic.source, "--lake", lake, "-w", bench.options.workers,
                   "--listen", "127.0.0.1:0", "--retain", "1m", "--compact-after", "10m"]
        with Process(command, log=log) as process:
            while not is_ready(log):
                if not process.running():
                    raise Failed(f"it did not become ready{process.last_errors()}")
                time.sleep(0.2)
            status = f"{address_in(log)}/v1/status"
            time.sleep(SETTLE_S)
            began = time.monotonic()
            while time.monotonic() < began + 60 * minutes:
                time.sleep(SAMPLE_S)
                samples.append({"at_s": time.monotonic() - began, **look(status, process)})
                if not (process.running() and generator.running()):
                    raise Failed(f"it ended after {time.monotonic() - began:.0f} s{process.last_errors()}")
            process.stop()
        generator.stop()
    bench.delete_topics()
    bench.show(f"{minutes} minutes at {RATE:,} plays/s, 100,000 songs", HEAD, rows(samples, 60 * minutes))
    bench.keep("soak", sizes={"rate": RATE, "minutes": minutes, **RETENTION}, samples=samples)


def look(url, process):
    with urllib.request.urlopen(url, timeout=30) as answer:
        status = json.load(answer)
    with open(f"/proc/{process.process.pid}/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"lag": status["lag"], "memory_bytes": resident, "accepted": status["accepted"],
            "freshness_ms": status["freshness_ms"], "lake_version": status["lake_version"]}


def rows(samples, seconds):
    table = []
    for part in range(PARTS):
        start, end = seconds * part / PARTS, seconds * (part + 1) / PARTS
        within = [sample for sample in samples if start <= sample["at_s"] < end]
        first, last = within[0], within[-1]
        rate = (last["accepted"] - first["accepted"]) / (last["at_s"] - first["at_s"])
        # The lag is unknown while the broker has not reported the ends of the partitions.
        lag = [sample["lag"] for sample in within if sample["lag"] is not None]
        memory = [sample["memory_bytes"] for sample in within]
        fresh = [sample["freshness_ms"] for sample in within if sample["freshness_ms"] is not None]
        table.append([f"{start / 60:.0f} – {end / 60:.0f}", f"{rate:,.0f}", f"{statistics.median(lag):,.0f}", f"{max(lag):,}",
                      f"{statistics.median(fresh):.0f}", f"{statistics.median(memory) / 1e6:.0f}", f"{max(memory) / 1e6:.0f}",
                      last["lake_version"]])
    return table
