"""Writes small Delta lakes of the same plays as other tools would: `python foreign_lakes.py FOLDER
PLAYS`.

PLAYS has one play per line, as JSON with times in RFC 3339. Each lake in FOLDER stores them
differently, some with rows that are not plays; `tests/e2e/foreign_lakes.rs` has the expected result
of each. The logs are written by hand, because no Delta writer produces all variants that occur,
except in lakes whose names begin with `deltalake`.
"""

import datetime
import json
import os
import sys
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

UTC = datetime.timezone.utc
TEXTS = ["song_id", "title", "artist", "user_id", "device", "country"]
TYPES = {pa.string(): "string", pa.int32(): "integer", pa.int64(): "long", pa.bool_(): "boolean", pa.float64(): "double",
         pa.date32(): "date", pa.timestamp("us", "UTC"): "timestamp", pa.timestamp("us"): "timestamp_ntz"}

folder, plays = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])]
for play in plays:
    play["timestamp"] = datetime.datetime.fromisoformat(play["timestamp"].replace("Z", "+00:00"))
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("timestamp", pa.timestamp("us", "UTC")),
                    ("duration_ms", pa.int32()), ("completed", pa.bool_())])
TABLE = pa.Table.from_pylist(plays, schema=SCHEMA)


def with_column(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def by_hour(table, zone=UTC):
    """The rows of each hour of a zone, with the partition values of its folder. Rows without a time
    are a group of their own."""
    parts = {}
    for row, time in enumerate(table["timestamp"].to_pylist()):
        local = time and time.astimezone(zone)
        parts.setdefault((local.date().isoformat(), str(local.hour)) if local else (None, None), []).append(row)
    return [(dict(zip(("date", "hour"), key)), table.take(rows)) for key, rows in sorted(parts.items(), key=str)]


def write(name, parts, logical=None, statistics=True, properties=None, features=(), add=None, **parquet):
    """Writes a table. Each part has the partition values of a folder, and its rows. `logical` has
    the types in the log that differ from those in the files."""
    root = os.path.join(folder, name, "song_plays")
    os.makedirs(os.path.join(root, "_delta_log"))
    fields = [{"name": field.name, "type": (logical or {}).get(field.name) or TYPES[field.type], "nullable": True,
               "metadata": {}} for field in parts[0][1].schema]
    keys = list(parts[0][0])
    fields += [{"name": key, "type": {"date": "date", "hour": "integer"}[key], "nullable": True, "metadata": {}} for key in keys]
    if "columnMapping" in features:
        for number, field in enumerate(fields, 1):
            field["metadata"] = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": field["name"]}
    protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
    if features:
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    actions = [{"protocol": protocol},
               {"metaData": {"id": name, "format": {"provider": "parquet", "options": {}}, "partitionColumns": keys,
                             "schemaString": json.dumps({"type": "struct", "fields": fields}),
                             "configuration": properties or {}, "createdTime": 0}}]
    for number, (values, rows) in enumerate(parts):
        below = [f"{key}={value or '__HIVE_DEFAULT_PARTITION__'}" for key, value in values.items()]
        path = "/".join([*below, f"part-{number}.parquet"])
        os.makedirs(os.path.join(root, *below), exist_ok=True)
        pq.write_table(rows, os.path.join(root, path), **parquet)
        entry = {"path": path, "partitionValues": values, "size": os.path.getsize(os.path.join(root, path)),
                 "modificationTime": 0, "dataChange": True, **(add or {})}
        if statistics:
            times = [time for time in rows["timestamp"].to_pylist() if time]
            bound = lambda time: time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
            entry["stats"] = json.dumps({"numRecords": len(rows), "nullCount": {"timestamp": len(rows) - len(times)}} | (
                {"minValues": {"timestamp": bound(min(times))}, "maxValues": {"timestamp": bound(max(times))}} if times else {}))
        actions.append({"add": entry})
    with open(os.path.join(root, "_delta_log", f"{0:020}.json"), "w") as log:
        log.writelines(json.dumps(action) + "\n" for action in actions)


def required(table):
    return table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))


def partitioned(zone):
    local = [play["timestamp"].astimezone(zone) for play in plays]
    hours = pa.array([time.hour for time in local], pa.int32())
    return TABLE.append_column("date", pa.array([time.date() for time in local])).append_column("hour", hours)


NOTHING = pa.table({field.name: pa.nulls(1, field.type) for field in SCHEMA})
NONSENSE = pa.Table.from_pylist([plays[0] | change for change in (
    {"timestamp": datetime.datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)}, {"duration_ms": -1}, {"song_id": ""},
    {"title": "é" * 513}, {"country": None}, {"device": "x" * 1025}, {"timestamp": datetime.datetime(9999, 12, 31, tzinfo=UTC)},
)], schema=SCHEMA)
RAW = {"statistics": False}

write("required", [(values, required(rows)) for values, rows in by_hour(TABLE)])
write("nullable", by_hour(TABLE))
write("plain", by_hour(TABLE), use_dictionary=False, compression="none")
write("second-version", by_hour(TABLE), data_page_version="2.0")
write("int96", by_hour(TABLE), use_deprecated_int96_timestamps=True, **RAW)
nanoseconds = with_column(TABLE, "timestamp", TABLE["timestamp"].cast(pa.timestamp("ns", "UTC")))
write("nanoseconds", by_hour(nanoseconds), logical={"timestamp": "timestamp"}, **RAW)
milliseconds = with_column(TABLE, "timestamp", TABLE["timestamp"].cast(pa.timestamp("ms", "UTC")))
write("milliseconds", by_hour(milliseconds), logical={"timestamp": "timestamp"}, **RAW)
naive = with_column(TABLE, "timestamp", TABLE["timestamp"].cast(pa.timestamp("us")))
write("without-zone", [({}, naive)], features=["timestampNtz"], **RAW)
texts = with_column(TABLE, "timestamp", pa.array([play["timestamp"].isoformat() for play in plays]))
write("times-as-texts", [({}, texts)], **RAW)
epochs = with_column(TABLE, "timestamp", pa.array([int(play["timestamp"].timestamp() * 1000) for play in plays], pa.int64()))
write("times-as-numbers", [({}, epochs)], **RAW)


def with_texts(table, kind):
    """The table with its text columns in another Arrow type."""
    for name in TEXTS:
        column = table[name].combine_chunks()
        table = with_column(table, name, column.dictionary_encode() if kind == "dictionary" else column.cast(kind))
    return table


for name, kind in {"large-texts": pa.large_string(), "text-views": pa.string_view(), "bytes": pa.binary(),
                   "dictionaries": "dictionary"}.items():
    parts = [(values, with_texts(rows, kind)) for values, rows in by_hour(TABLE)]
    write(name, parts, logical={column: "string" for column in TEXTS})
wide = with_column(TABLE, "duration_ms", TABLE["duration_ms"].cast(pa.int64()))
write("wide-durations", by_hour(wide))
write("without-folders", [({}, TABLE)])
write("without-users", by_hour(TABLE.drop_columns(["user_id"])))
local = ZoneInfo("America/Los_Angeles")
write("local-folders", by_hour(TABLE, local))
write("local-folders-without-statistics", by_hour(TABLE, local), **RAW)
write("null-row", by_hour(pa.concat_tables([TABLE, NOTHING])))
write("null-row-among-others", [({}, pa.concat_tables([NOTHING, TABLE]))])
write("nonsense", by_hour(pa.concat_tables([NONSENSE, TABLE, NONSENSE])))
write("huge-duration", by_hour(pa.concat_tables([wide, with_column(wide.slice(0, 1), "duration_ms", pa.array([1 << 31]))])))
write_deltalake(os.path.join(folder, "deltalake", "song_plays"), partitioned(UTC), partition_by=["date", "hour"])
write_deltalake(os.path.join(folder, "deltalake-local", "song_plays"), partitioned(local), partition_by=["date", "hour"])

for column in ("completed", "device", "country", "timestamp"):
    statistics = column != "timestamp"
    write(f"no-{column}", [({}, TABLE.drop_columns([column]))], statistics=statistics)
write_deltalake(os.path.join(folder, "by-country", "song_plays"), TABLE, partition_by=["country"])
write("renamed", by_hour(TABLE.rename_columns({"song_id": "track_id"})))
write("completed-as-number", by_hour(with_column(TABLE, "completed", TABLE["completed"].cast(pa.int32()))))
write("fractions", by_hour(with_column(TABLE, "duration_ms", TABLE["duration_ms"].cast(pa.float64()))))
write("deleted-rows", by_hour(TABLE), features=["deletionVectors"], add={"deletionVector": {
    "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 1}})
write("mapped-columns", by_hour(TABLE), features=["columnMapping"], properties={
    "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "11"})
