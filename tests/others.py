"""Does to a lake's plays what other tools do to a Delta table: VACUUM, OPTIMIZE, and a checkpoint of the log.

    others.py LAKE WHAT

Prints the operations of the newest commits.
"""

import sys
from pathlib import Path

import deltalake

plays, what = Path(sys.argv[1]) / "song_plays", sys.argv[2]
table = deltalake.DeltaTable(plays)
if what == "vacuum":
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
elif what == "optimize":
    table.optimize.compact()
elif what == "checkpoint":
    table.create_checkpoint()
print([commit["operation"] for commit in deltalake.DeltaTable(plays).history(3)])
