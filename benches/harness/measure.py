"""Measures a process with all its children: seconds, processor seconds, memory."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

SAMPLE_S = 0.05
# Finding the processes of a session means reading all of /proc.
FIND_EVERY = 10
GRACE_S = 15
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A command that failed."""


@dataclass
class Cost:
    seconds: float
    cpu_s: float
    # The peak of the sum over all processes. None where there is no /proc.
    memory_bytes: int | None
    # Its stdout.
    out: str

    def figures(self):
        return {"seconds": self.seconds, "cpu_s": self.cpu_s, "memory_bytes": self.memory_bytes}

    def report(self):
        """The last line of stdout that is a JSON object, which is how jobs report."""
        for line in reversed(self.out.splitlines()):
            if line.startswith("{"):
                return json.loads(line)
        return {}


class Process:
    """A command in its own session, by which its children are found and ended.

    As a context manager it ends the command at the end of the block. `log` is a path for its
    stderr.
    """

    def __init__(self, command, log=None, **how):
        self.command = [str(part) for part in command]
        self.out = tempfile.TemporaryFile()
        self.log = open(log, "w+b") if log else tempfile.TemporaryFile()
        self.memory_bytes, self.cpu_of, self.rusage, self.seconds = 0, {}, None, 0
        self.began = time.monotonic()
        how = {"stdin": subprocess.DEVNULL, "start_new_session": True, **how}
        self.process = subprocess.Popen(self.command, stdout=self.out, stderr=self.log, **how)
        self.ending = threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)
        self.sampler.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.out.close()
        self.log.close()

    def sample(self):
        turn = 0
        while not self.ending.wait(SAMPLE_S):
            if turn < FIND_EVERY or turn % FIND_EVERY == 0:
                members = session(self.process.pid)
            turn += 1
            total = 0
            for pid in members:
                fields = stat(pid)
                if fields:
                    self.cpu_of[pid] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
                    total += int(fields[21]) * PAGE_BYTES
            self.memory_bytes = max(self.memory_bytes, total)

    def running(self):
        if self.rusage is None:
            pid, status, rusage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.seconds, self.rusage = time.monotonic() - self.began, rusage
                self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.rusage is None

    def wait(self, timeout_s):
        """Waits for the end with status 0, and returns the cost."""
        deadline = time.monotonic() + timeout_s
        while self.running():
            if time.monotonic() > deadline:
                self.end()
                raise Failed(f"{self.command[0]} did not finish within {timeout_s:.0f} s{self.last_errors()}")
            time.sleep(0.002)
        # A JVM outlives the Python that started it for a moment, to clean up.
        deadline = time.monotonic() + GRACE_S
        while session(self.process.pid) and time.monotonic() < deadline:
            time.sleep(SAMPLE_S)
        self.end()
        if self.process.returncode != 0:
            raise Failed(f"{self.command[0]} ended with {self.process.returncode}{self.last_errors()}")
        return self.cost()

    def stop(self, timeout_s=60):
        """Sends SIGINT, and waits for the end."""
        if self.running():
            self.process.send_signal(signal.SIGINT)
        return self.wait(timeout_s)

    def cost(self):
        cpu_s = max(self.rusage.ru_utime + self.rusage.ru_stime, sum(self.cpu_of.values()))
        # The kernel's figure for the largest process is exact; the sum over all is only sampled.
        memory_bytes = max(self.rusage.ru_maxrss << 10, self.memory_bytes) if os.path.isdir("/proc/self") else None
        return Cost(self.seconds, cpu_s, memory_bytes, self.output())

    def output(self):
        """Its stdout so far."""
        return content(self.out)

    def errors(self):
        return content(self.log)

    def end(self):
        """Kills it and all its children, which are those of its session."""
        self.ending.set()
        self.sampler.join()
        for pid in session(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        while self.running():
            self.process.kill()
            time.sleep(0.002)

    def last_errors(self):
        return "".join(f"\n  {line[:300]}" for line in self.errors().splitlines()[-15:])


def run(command, timeout_s, **how):
    """Runs a command to its end."""
    with Process(command, **how) as process:
        return process.wait(timeout_s)


def content(file):
    """The content of a file so far. The writing process shares the file position, so it must not be
    moved."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def stat(pid):
    """The fields of /proc/PID/stat from the state on, or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The process name before these fields may contain spaces and parentheses.
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def session(leader):
    """The live processes of a session."""
    if not os.path.isdir("/proc/self"):
        return []
    fields_of = {int(name): stat(name) for name in os.listdir("/proc") if name.isdigit()}
    return [pid for pid, fields in fields_of.items() if fields and int(fields[3]) == leader and fields[0] != "Z"]
