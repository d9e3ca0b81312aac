"""DuckDB computes the charts by week, by month and of all time, global and by country, of the plays
of a lake.

    replay_duckdb.py LAKE THREADS latest|any

One pass counts by week, month, country and song; the charts are computed from these counts.
`latest` gives each song the title and artist of its newest day, as reprise does; `any` takes any of
them, which is less work.
"""

import json
import sys
import time

import duckdb

lake, threads, titles = sys.argv[1:]
TEXTS = {"latest": "arg_max(title, date) AS title, arg_max(artist, date) AS artist, max(date) AS date",
         "any": "any_value(title) AS title, any_value(artist) AS artist"}[titles]
# The day is taken from the names of the folders, which is faster than from the timestamps with time
# zone.
BASE = f"""
    CREATE TEMP TABLE base AS
    SELECT date_trunc('week', date) AS week, date_trunc('month', date) AS month, country, song_id,
           count(*) AS plays, {TEXTS}
    FROM read_parquet('{lake}/song_plays/date=*/hour=*/*.parquet', hive_partitioning = true, hive_types = {{'date': DATE}})
    WHERE completed GROUP BY 1, 2, 3, 4
"""
CHART = """
    SELECT {period} AS period, {scope} AS scope, song_id, sum(plays) AS total, {texts} FROM base GROUP BY 1, 2, 3
    QUALIFY row_number() OVER (PARTITION BY {period}, {scope} ORDER BY sum(plays) DESC, song_id) <= 100
"""

connection = duckdb.connect()
connection.execute(f"SET threads = {threads}")
began = time.monotonic()
connection.execute(BASE)
grouped = time.monotonic()
entries = plays = 0
for period in ("week", "month", "'all'"):
    for scope in ("country", "'global'"):
        rows = connection.execute(CHART.format(period=period, scope=scope, texts=TEXTS)).fetchall()
        entries, plays = entries + len(rows), plays + sum(row[3] for row in rows)
done = time.monotonic()
print(json.dumps({"job_s": done - began, "grouping_s": grouped - began, "entries": entries, "plays": int(plays)}))
