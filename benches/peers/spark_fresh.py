"""Spark counts new completed plays of each song in windows of ten minutes that slide by one.

Micro-batches follow each other immediately, which is the default, and each outputs the counts that
have changed.
"""

from pyspark.sql.functions import col, count, window

from fresh_common import Probes
from spark_common import arguments, plays, session


def main():
    options = arguments(__doc__, "brokers", "topic", "folder", "jars").parse_args()
    parsed = plays(session(options, options.jars), options, "latest")
    probes = Probes()
    counts = (parsed.filter(col("completed")).withWatermark("event_time", "10 minutes")
              .groupBy(window(col("event_time"), "10 minutes", "1 minute"), col("song_id"), col("title"), col("artist"))
              .agg(count("*").alias("play_count")))
    # A batch without plays has no counts: the job is ready after the first batch with counts.
    def note(batch, _):
        songs = [row.song_id for row in batch.select("song_id").distinct().collect()]
        if songs:
            probes.note(songs)

    counts.writeStream.outputMode("update").option("checkpointLocation", f"{options.folder}/checkpoint").foreachBatch(note).start()
    probes.report()


main()
