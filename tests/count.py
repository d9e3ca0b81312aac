"""Counts the Kafka offsets in a lake with third-party readers: delta-rs lists the files of the
tables, and DuckDB reads them.

    count.py LAKE

Prints JSON: for each table its number of rows, and its number of distinct pairs of partition and
offset.
"""

import json
import sys
from pathlib import Path

import deltalake
import duckdb


def count(table):
    files = [str(Path(uri.removeprefix("file://"))) for uri in deltalake.DeltaTable(table).file_uris()]
    if not files:
        return {"rows": 0, "distinct": 0}
    columns = "kafka_partition, kafka_offset"
    query = f"SELECT count(*), count(DISTINCT ({columns})) FROM read_parquet($files)"
    [(rows, distinct)] = duckdb.execute(query, {"files": files}).fetchall()
    return {"rows": rows, "distinct": distinct}


lake = Path(sys.argv[1])
print(json.dumps({name: count(lake / name) for name in ["song_plays", "dead_letters"]}))
