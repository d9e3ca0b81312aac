"""Pathway counts new completed plays of each song in windows of ten minutes that slide by one.

    pathway_fresh.py BROKERS TOPIC AUTOCOMMIT_MS

Its freshness depends on how often its source commits: every 1.5 s by default.
"""

import sys
import threading
import time
from datetime import timedelta

import pathway

from fresh_common import Probes


class Play(pathway.Schema):
    song_id: str
    title: str
    artist: str
    user_id: str
    timestamp: str
    duration_ms: int
    completed: bool
    device: str
    country: str


def main():
    brokers, topic, autocommit_ms = sys.argv[1:]
    settings = {"bootstrap.servers": brokers, "group.id": f"peer-pathway-{time.time_ns()}", "auto.offset.reset": "latest",
                "session.timeout.ms": "6000"}
    plays = pathway.io.kafka.read(settings, topic=topic, format="json", schema=Play, autocommit_duration_ms=int(autocommit_ms),
                                  start_from_timestamp_ms=time.time_ns() // 1_000_000)
    completed = plays.filter(plays.completed)
    completed = completed.with_columns(happened=completed.timestamp.dt.strptime("%Y-%m-%d %H:%M:%S"))
    windows = pathway.temporal.sliding(hop=timedelta(minutes=1), duration=timedelta(minutes=10))
    counts = completed.windowby(completed.happened, window=windows, instance=completed.song_id).reduce(
        song_id=pathway.this._pw_instance, opens=pathway.this._pw_window_start, plays=pathway.reducers.count())
    probes = Probes()
    pathway.io.subscribe(counts, lambda key, row, time, is_addition: probes.note([row["song_id"]]))
    threading.Thread(target=probes.report, daemon=True).start()
    pathway.run(monitoring_level=pathway.MonitoringLevel.NONE)


main()
