"""Polars computes the charts by week, by month and of all time, global and by country, of the plays
of a lake.

    replay_polars.py LAKE

One pass of the streaming engine counts by week, month, country and song; the charts are computed
from these counts. A song gets the title and artist of the last play read. POLARS_MAX_THREADS sets
the number of threads.
"""

import json
import sys
import time

import polars as pl

lake = sys.argv[1]


def main():
    began = time.monotonic()
    day = pl.col("date")
    plays = pl.scan_parquet(f"{lake}/song_plays/date=*/hour=*/*.parquet", hive_partitioning=True).filter("completed")
    base = plays.group_by(day.dt.truncate("1w").alias("week"), day.dt.truncate("1mo").alias("month"), "country", "song_id").agg(
        pl.last("title"), pl.last("artist"), pl.len().alias("plays")).collect(engine="streaming")
    grouped = time.monotonic()
    entries = total = 0
    for period in (["week"], ["month"], []):
        for scope in (["country"], []):
            cell = period + scope
            chart = base.lazy().group_by(cell + ["song_id"]).agg(pl.first("title"), pl.first("artist"), pl.sum("plays"))
            chart = chart.sort(["plays", "song_id"], descending=[True, False])
            chart = (chart.group_by(cell, maintain_order=True).head(100) if cell else chart.head(100)).collect()
            entries, total = entries + len(chart), total + chart["plays"].sum()
    done = time.monotonic()
    print(json.dumps({"job_s": done - began, "grouping_s": grouped - began, "entries": entries, "plays": int(total)}))


main()
