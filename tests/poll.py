"""Counts the plays of a lake repeatedly, by file name and by the log, until the file STOP exists.

    poll.py LAKE STOP

Prints one line per round: the count by name (DuckDB), and the count by the log (delta-rs and
DuckDB). A round in which a file is deleted while it is read fails, and prints nothing.
"""

import sys
import time
from pathlib import Path

import deltalake
import duckdb

plays, stop = Path(sys.argv[1]) / "song_plays", Path(sys.argv[2])


def count(files):
    return duckdb.execute("SELECT count(*) FROM read_parquet($files)", {"files": files}).fetchone()[0]


while not stop.exists():
    try:
        by_name = count(str(plays / "date=*/hour=*/*.parquet"))
        by_log = count([uri.removeprefix("file://") for uri in deltalake.DeltaTable(plays).file_uris()])
        print(by_name, by_log, flush=True)
    except (duckdb.Error, OSError):
        pass
    time.sleep(0.01)
