"""Shared by the scripts that drive a real broker and the real program."""

import http.client
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where Cargo builds: a relative CARGO_TARGET_DIR is relative to the checkout, from which the
# scripts call it.
TARGET = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR") or "target")
PROGRAM = os.path.join(TARGET, "release/reprise")


def scratch(prefix):
    """A new folder for lakes and logs, on the disk that Cargo builds on; /tmp is often small and in
    memory."""
    os.makedirs(TARGET, exist_ok=True)
    return tempfile.mkdtemp(prefix=prefix, dir=TARGET)


def broker():
    """The address of the broker, and whether it is ours to stop."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return os.environ["KAFKA_BOOTSTRAP_SERVERS"], False
    kafka = os.path.join(ROOT, "scripts/kafka")
    runs = subprocess.run([kafka, "env"], capture_output=True).returncode == 0
    return subprocess.run([kafka, "start"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), not runs


def stop_broker():
    subprocess.run([os.path.join(ROOT, "scripts/kafka"), "stop"], check=False)


def starts_in(log):
    """The log of a run, split by starts: `reprise cluster` restarts its processes."""
    with open(log, errors="replace") as text:
        return re.split("starting all again in", re.sub(r"\x1b\[[0-9;]*m", "", text.read()))


def address_in(log):
    """The HTTP address that a run has logged since its last start; `None` before that."""
    found = re.search(r"address=(http://[0-9.:]+)\s", starts_in(log)[-1])
    return found and found[1]


def is_ready(log):
    """Whether the run that writes `log` serves the charts of its lake."""
    address = address_in(log)
    try:
        return address is not None and urllib.request.urlopen(f"{address}/readyz", timeout=1).status == 200
    except (OSError, http.client.HTTPException):
        return False


def pins():
    """The packages of the third-party readers in the tests."""
    with open(os.path.join(ROOT, "tests/requirements.txt")) as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def readers_python():
    """The Python of the readers' environment, which the tests use too; created if it is missing."""
    return python_with(pins())


def python_with(packages, sources=()):
    """The Python of an environment with these packages; created if it is missing. `sources` are
    packages without wheels."""
    cache = os.path.join(ROOT, os.environ.get("REPRISE_CACHE") or ".cache")
    folder = os.path.join(cache, "venv", "_".join(packages).replace("==", "-"))
    python, complete = os.path.join(folder, "bin/python"), os.path.join(folder, "complete")
    if not os.path.exists(complete):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        exceptions = [argument for name in sources for argument in ("--no-binary", name)]
        subprocess.run([*pip, *exceptions, *packages], check=True)
        open(complete, "w").close()
    return python
