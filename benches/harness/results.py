"""What was measured: ratios by pairs, tables for people, raw figures for who wants to look again."""

import datetime
import json
import os
import platform
import statistics
import subprocess

from common import ROOT


def spread(values, digits=2, unit=1):
    """The cells of a table for some figures: the median, and from where to where."""
    values = [value / unit for value in values]
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f} – {max(values):.{digits}f}"


def against(ours, theirs, digits=2):
    """The cells of a table for a ratio. By pairs: what slows a round down slows both that are of it."""
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
    """What the figures depend on, besides the programs."""
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
    """Which commit it is, and whether tracked files differ from it."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}


def keep(folder, name, found):
    """Writes what was found as JSON, never over what an earlier call has written. Gives the path."""
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
