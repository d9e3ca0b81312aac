"""Spark SQL computes the charts by week, by month and of all time, global and by country, of the
plays of a lake.

One pass counts by week, month, country and song, and is cached; the charts are computed from it. A
song gets the title and artist of the first play read. `startup_s` is the time until the session
exists.
"""

import json
import time

STARTED = time.monotonic()

from pyspark.sql import Window, functions as F  # noqa: E402

from spark_common import arguments, session  # noqa: E402


def main():
    options = arguments(__doc__, "lake", "folder").parse_args()
    spark = session(options)
    began = time.monotonic()
    plays = spark.read.parquet(f"{options.lake}/song_plays").where("completed")
    texts = [F.first("title").alias("title"), F.first("artist").alias("artist")]
    base = plays.groupBy(F.date_trunc("week", "date").alias("week"), F.date_trunc("month", "date").alias("month"), "country",
                         "song_id").agg(*texts, F.count("*").alias("plays")).cache()
    base.count()
    grouped = time.monotonic()
    entries = total = 0
    for period in (["week"], ["month"], []):
        for scope in (["country"], []):
            cell = period + scope
            chart = base.groupBy(*cell, "song_id").agg(*texts, F.sum("plays").alias("plays"))
            rank = Window.partitionBy(*(cell or [F.lit(1)])).orderBy(F.desc("plays"), "song_id")
            rows = chart.withColumn("rank", F.row_number().over(rank)).where("rank <= 100").collect()
            entries, total = entries + len(rows), total + sum(row.plays for row in rows)
    done = time.monotonic()
    print(json.dumps({"startup_s": began - STARTED, "job_s": done - began, "grouping_s": grouped - began, "entries": entries,
                      "plays": total}), flush=True)


main()
