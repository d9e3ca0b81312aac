"""Reads a lake with common third-party readers, and compares their counts with those of the API.

    readers.py LAKE PLAYS DEAD_LETTERS

Each reader finds the files in its own way: DuckDB, Polars and pyarrow by the names of folders and
files, and delta-rs by the log of each table. Exits with status 1 and a line that names the first
reader that differs.
"""

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import deltalake
import duckdb
import polars
import pyarrow
import pyarrow.dataset

FILES = "date=*/hour=*/*.parquet"


def same(reader, what, found, expected):
    if found != expected:
        sys.exit(f"{reader}: {what} is {found}, but should be {expected}")


def read_with_duckdb(plays, rows):
    files = f"read_parquet('{plays / FILES}', hive_partitioning = true)"
    [(count, kind)] = duckdb.sql(f"SELECT count(*), any_value(typeof(timestamp)) FROM {files}").fetchall()
    same("DuckDB", "the number of rows", count, rows)
    same("DuckDB", "the type of timestamp", kind, "TIMESTAMP WITH TIME ZONE")
    misplaced = "strftime(timestamp AT TIME ZONE 'UTC', '%Y-%m-%d/%-H') <> date || '/' || hour"
    [(count,)] = duckdb.sql(f"SELECT count(*) FROM {files} WHERE {misplaced}").fetchall()
    same("DuckDB", "the number of rows in the wrong folder", count, 0)
    kinds = duckdb.sql(f"SELECT DISTINCT type, logical_type FROM parquet_schema('{plays / FILES}') WHERE name = 'timestamp'")
    kinds = kinds.fetchall()
    same("DuckDB", "the number of ways in which files store timestamp", len(kinds), 1)
    same("DuckDB", "the physical type of timestamp", kinds[0][0], "INT64")
    compression = duckdb.sql(f"SELECT DISTINCT compression FROM parquet_metadata('{plays / FILES}')").fetchall()
    same("DuckDB", "the compression", compression, [("SNAPPY",)])
    return duckdb.sql(f"SELECT song_id, count(*) FROM {files} WHERE completed GROUP BY song_id").fetchall()


def read_with_polars(plays, rows):
    frame = polars.scan_parquet(plays / FILES, hive_partitioning=True)
    same("Polars", "the number of rows", frame.select(polars.len()).collect().item(), rows)
    same("Polars", "the type of timestamp", frame.collect_schema()["timestamp"], polars.Datetime("us", "UTC"))
    return frame.filter(polars.col("completed")).group_by("song_id").len().collect().rows()


def read_with_pyarrow(plays, rows):
    files = [str(path) for path in plays.glob(FILES)]
    dataset = pyarrow.dataset.dataset(files, format="parquet", partitioning="hive", partition_base_dir=str(plays))
    same("pyarrow", "the number of rows", dataset.count_rows(), rows)
    same("pyarrow", "the type of timestamp", dataset.schema.field("timestamp").type, pyarrow.timestamp("us", tz="UTC"))
    table = dataset.to_table(columns=["song_id"], filter=pyarrow.dataset.field("completed"))
    counts = table.group_by("song_id").aggregate([("song_id", "count")])
    return list(zip(counts["song_id"].to_pylist(), counts["song_id_count"].to_pylist()))


def read_with_deltalake(lake, plays, rows, dead_letters):
    table = deltalake.DeltaTable(plays)
    same("deltalake", "the number of plays", table.to_pyarrow_dataset().count_rows(), rows)
    same("deltalake", "the partition columns", table.metadata().partition_columns, ["date", "hour"])
    listed = {Path(path).name for path in table.file_uris()}
    same("deltalake", "the set of files in the log", listed, {path.name for path in plays.glob(FILES)})
    counted = sum(pyarrow.table(table.get_add_actions(flatten=True))["num_records"].to_pylist())
    same("deltalake", "the number of rows in the statistics", counted, rows)
    letters = deltalake.DeltaTable(lake / "dead_letters").to_pyarrow_dataset()
    same("deltalake", "the number of dead letters", letters.count_rows(), dead_letters)
    prune(table)
    found = table.to_pyarrow_dataset().to_table(columns=["song_id"], filter=pyarrow.dataset.field("completed"))
    counts = found.group_by("song_id").aggregate([("song_id", "count")])
    return list(zip(counts["song_id"].to_pylist(), counts["song_id_count"].to_pylist()))


def prune(table):
    """Checks the bounds in the log: a filter by time must count the same plays as a full scan."""
    times = table.to_pyarrow_dataset().to_table(columns=["timestamp"])["timestamp"].to_pylist()
    middle = sorted(times)[len(times) // 2]
    late = pyarrow.dataset.field("timestamp") >= pyarrow.scalar(middle, pyarrow.timestamp("us", tz="UTC"))
    expected = sum(time >= middle for time in times)
    same("deltalake", "the number of plays from then on", table.to_pyarrow_dataset().count_rows(filter=late), expected)
    same("deltalake", "the zone of time", middle.tzinfo is not None and middle.utcoffset().total_seconds(), 0.0)
    if not datetime(2000, 1, 1, tzinfo=timezone.utc) <= middle < datetime(2100, 1, 1, tzinfo=timezone.utc):
        sys.exit(f"deltalake: a play at {middle}")


def main():
    lake, rows, dead_letters = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    plays = lake / "song_plays"
    counts = {
        "DuckDB": read_with_duckdb(plays, rows),
        "Polars": read_with_polars(plays, rows),
        "pyarrow": read_with_pyarrow(plays, rows),
        "deltalake": read_with_deltalake(lake, plays, rows, dead_letters),
    }
    expected = sorted(counts["DuckDB"])
    for reader, found in counts.items():
        same(reader, "the completed plays of each song", sorted(found), expected)
    print(f"{len(counts)} readers agree on {rows} plays of {len(expected)} songs")


if __name__ == "__main__":
    main()
    # Skip the normal exit: unloading four libraries with their threads occasionally aborts.
    sys.stdout.flush()
    os._exit(0)
