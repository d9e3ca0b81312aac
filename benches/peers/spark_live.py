"""The same job for Spark: the reference implementation's two queries at once, from a topic's first
offset to its current end.

One counts the completed plays of each song in windows of ten minutes and sorts them, in complete
mode, as the reference does; the other writes all plays as Parquet by date and hour. It counts less
than reprise: its window does not slide, and it has no chart by week, month or country. `startup_s`
is the time until the session exists; `job_s` is that of the two queries.
"""

import json
import time

STARTED = time.monotonic()

from pyspark.sql.functions import col, count, date_format, desc, hour, window  # noqa: E402

from spark_common import arguments, plays, session  # noqa: E402


def trending(parsed):
    counts = (parsed.filter(col("completed")).withWatermark("event_time", "10 minutes")
              .groupBy(window(col("event_time"), "10 minutes"), col("song_id"), col("title"), col("artist"))
              .agg(count("*").alias("play_count")).orderBy(desc("play_count")))
    return counts.writeStream.outputMode("complete").format("noop").trigger(availableNow=True).start()


def lake(parsed, folder):
    rows = parsed.withColumn("date", date_format(col("event_time"), "yyyy-MM-dd"))
    return (rows.withColumn("hour", hour(col("event_time"))).writeStream.outputMode("append").format("parquet")
            .option("path", f"{folder}/lake").option("checkpointLocation", f"{folder}/checkpoint")
            .partitionBy("date", "hour").trigger(availableNow=True).start())


def main():
    options = arguments(__doc__, "brokers", "topic", "folder", "jars").parse_args()
    spark = session(options, options.jars)
    ready = time.monotonic()
    parsed = plays(spark, options, "earliest")
    queries = [trending(parsed), lake(parsed, options.folder)]
    for query in queries:
        query.awaitTermination()
    done = time.monotonic()
    records = [sum(progress["numInputRows"] for progress in query.recentProgress) for query in queries]
    print(json.dumps({"startup_s": ready - STARTED, "job_s": done - ready, "records": records}), flush=True)


main()
