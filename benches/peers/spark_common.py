"""Shared by the jobs for Spark: a session on this machine, and the plays of a topic as columns."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json, to_timestamp
from pyspark.sql.types import BooleanType, IntegerType, StringType, StructField, StructType

TYPES = {"duration_ms": IntegerType(), "completed": BooleanType()}
NAMES = ["song_id", "title", "artist", "user_id", "timestamp", "duration_ms", "completed", "device", "country"]
PLAY = StructType([StructField(name, TYPES.get(name, StringType())) for name in NAMES])


def arguments(usage, *names):
    parser = argparse.ArgumentParser(usage=usage)
    for name in names:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--memory", default="2g")
    return parser


def session(options, jars=""):
    """A session with one shuffle partition per thread: the default of 200 is for clusters, and far
    slower here."""
    builder = (SparkSession.builder.appName("peer").master(f"local[{options.threads}]")
               .config("spark.sql.shuffle.partitions", options.threads)
               .config("spark.driver.memory", options.memory)
               .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
               .config("spark.local.dir", options.folder)
               .config("spark.sql.session.timeZone", "UTC")
               .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false"))
    if jars:
        builder = builder.config("spark.jars", jars)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def plays(spark, options, begin):
    records = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", options.brokers)
               .option("subscribe", options.topic).option("startingOffsets", begin).load())
    parsed = records.select(from_json(col("value").cast("string"), PLAY).alias("play")).select("play.*")
    return parsed.withColumn("event_time", to_timestamp(col("timestamp"), "yyyy-MM-dd HH:mm:ss"))
