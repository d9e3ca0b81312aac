"""Figures of a measurement: ratios by pairs, Markdown tables, raw runs as JSON, their summaries.

A raw run goes to RAW, which git ignores. `scripts/bench summary` makes one small Markdown file per
bench of chosen raw runs; that file is committed.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess

from common import ROOT

SUMMARIES = os.path.join(ROOT, "benches/results")
RAW = os.path.join(SUMMARIES, "raw")


def spread(values, digits=2, unit=1):
    """The table cells for some figures: the median, and the range."""
    values = [value / unit for value in values]
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f} – {max(values):.{digits}f}"


def against(ours, theirs, digits=2):
    """The table cells for a ratio, computed by pairs: a slow round slows both figures of the round.
    """
    pairs = [our / their for our, their in zip(ours, theirs)]
    return spread(pairs, digits) if pairs else ("–", "–")


def table(head, rows):
    """A table in Markdown."""
    texts = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in texts]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine():
    """The machine on which the figures were measured."""
    return {
        "cores": os.cpu_count(),
        "cpu": line_of("/proc/cpuinfo", "model name") or platform.processor(),
        "memory_kb": int((line_of("/proc/meminfo", "MemTotal") or "0 kB").split()[0]),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_at_the_end": os.getloadavg(),
    }


def line_of(path, name):
    try:
        with open(path) as file:
            found = [line.partition(":")[2].strip() for line in file if line.startswith(name)]
    except OSError:
        return None
    return found[0] if found else None


def checkout():
    """The commit of the checkout, and whether tracked files differ from it."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}


def keep(folder, name, found):
    """Writes a raw run as JSON to a new file, and returns its path."""
    os.makedirs(folder, exist_ok=True)
    today = datetime.date.today().isoformat()
    path, number = os.path.join(folder, f"{name}-{today}.json"), 1
    while os.path.exists(path):
        number += 1
        path = os.path.join(folder, f"{name}-{today}-{number}.json")
    found = {"bench": name, "date": today, "machine": machine(), "checkout": checkout(), **found}
    with open(path, "x") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return path


def summarise(paths, folder=SUMMARIES):
    """Writes the tables of raw runs of one bench to FOLDER/BENCH.md, and returns that path."""
    runs = []
    for path in paths:
        with open(path) as file:
            runs.append((os.path.basename(path), json.load(file)))
    bench, *others = dict.fromkeys(run["bench"] for _, run in runs)
    if others:
        raise ValueError(f"these are runs of several benches: {', '.join([bench, *others])}")
    parts = [f"# {bench}\n\n{PREFACE}", *(section(name, run) for name, run in runs)]
    path = os.path.join(folder, f"{bench}.md")
    with open(path, "w") as file:
        file.write("\n\n".join(parts) + "\n")
    return path


PREFACE = """\
Written by `scripts/bench summary`, the newest run first. Figures are medians of the rounds, and
`min – max` is their spread; a run of one round has no spread. Machines are noisy: compare figures
of one run, not of two."""


def section(name, run):
    """The section of one raw run: its machine, its commit, and its tables."""
    where, made = run["machine"], run["checkout"]
    changed = " with uncommitted changes" if made["changed"] else ""
    sizes = ", ".join(f"{size.replace('_', ' ')} {value}" for size, value in run["sizes"].items())
    left_out = [f"Left out: {left}: {why.splitlines()[0]}" for left, why in run["left_out"].items()]
    lines = [f"## {name.removesuffix('.json')}",
             f"Commit {made['commit'][:9]}{changed}. {where['cores']} cores ({where['cpu']}), "
             f"{where['memory_kb'] / (1 << 20):.0f} GiB, {where['kernel']}.\nSizes: {sizes}.", *left_out]
    for shown in run["tables"]:
        lines += [f"### {shown['title']}", table(shown["head"], shown["rows"])]
        # Older runs have no notes.
        lines += [shown["notes"]] if shown.get("notes") else []
    return "\n\n".join(lines)
