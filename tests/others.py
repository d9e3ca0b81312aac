"""Runs a maintenance operation of other tools on a lake's plays: vacuum, optimize, or a checkpoint
of the log.

    others.py LAKE OPERATION

Prints the operations of the newest commits.
"""

import sys
from pathlib import Path

import deltalake

plays, operation = Path(sys.argv[1]) / "song_plays", sys.argv[2]
table = deltalake.DeltaTable(plays)
if operation == "vacuum":
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
elif operation == "optimize":
    table.optimize.compact()
elif operation == "checkpoint":
    table.create_checkpoint()
print([commit["operation"] for commit in deltalake.DeltaTable(plays).history(3)])
