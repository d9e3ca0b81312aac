"""Base class of the trials of scripts/chaos, and the plain trial: one `reprise run` that is killed.

`Trial` starts the generator and the program, waits, runs the last checks and counts records.
`Alone` kills a single process, at random moments or at a step. chaos_cluster.py and
chaos_takeovers.py have the other trials.
"""

import collections
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time

from common import ROOT, address_in, is_ready, readers_python

PARTITIONS = 3
# Steps at which a process can be made to abort, and up to which occurrence of the step.
STEPS = {
    "staged": 4, "intended": 4, "renaming": 6, "renamed": 4, "appended": 4,
    "checkpoint-writing": 20, "checkpoint-written": 1, "checkpoint-renamed": 1,
    "compact-staged": 1, "compact-intended": 1, "compact-renaming": 1, "compact-renamed": 1, "compact-appended": 1, "vacuum": 1,
}
# How long a trial waits for a process to reach its step.
STEP_S = 8
TIMEOUT_S = 120
# The generator ends by itself after this, in case this script is killed.
GENERATOR_MIN_M = 30
# Commits, checkpoints and compaction as often as possible.
BUSY = ["--commit-interval", "200ms", "--checkpoint-interval", "700ms", "--compact-after", "1s", "--retain", "2s"]
# The defaults of users, so that files are not deleted while `verify` reads them.
CALM = ["--commit-interval", "200ms"]
# The part of a log that is shown with a failure.
LOG_CHARS = 6000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_us():
    """Lets the kernel kill a child when this script is killed, since nothing else would stop it."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Trial:
    def __init__(self, options, brokers, folder):
        self.options, self.brokers, self.folder = options, brokers, folder
        self.random = random.Random(options.seed)
        self.topic = f"chaos-{os.getpid()}-{time.time_ns()}"
        self.lake = options.lake or os.path.join(folder, "lake")
        self.plays = os.path.join(folder, "plays.jsonl")
        # The log of the newest start.
        self.log = None
        self.starts = 0
        self.aborts = 0
        # Faults that did not end the trial, by their text.
        self.faults = collections.Counter()
        self.processes = []

    def run(self, *arguments, failpoint=None, pace=BUSY):
        """Starts the process that is to be killed."""
        raise NotImplementedError

    def kill(self):
        """Kills once."""
        raise NotImplementedError

    def settle(self):
        """Ends the processes that still run after the last kill."""

    def kills(self):
        """The number of kills so far."""
        raise NotImplementedError

    def report_kills(self):
        raise NotImplementedError

    def program(self, *arguments, **more):
        """Starts the program, without the REPRISE_ variables of the shell."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REPRISE_")}
        environment.pop("RUST_LOG", None)
        environment.update(more.pop("environment", {}))
        process = subprocess.Popen([self.options.reprise, *arguments], env=environment, stdin=subprocess.DEVNULL,
                                   preexec_fn=die_with_us, **more)
        self.processes.append(process)
        return process

    def source(self):
        return ["--brokers", self.brokers, "--topic", self.topic]

    def start(self, *arguments, failpoint=None):
        """Starts the program with a log of its own."""
        self.starts += 1
        self.log = os.path.join(self.folder, f"run-{self.starts}.log")
        environment = {"REPRISE_FAILPOINT": failpoint} if failpoint else {}
        with open(self.log, "w") as log:
            return self.program(*arguments, environment=environment, stderr=log, stdout=subprocess.DEVNULL)

    def end(self):
        """Kills every process that was started."""
        for process in self.processes:
            process.kill()
            process.wait()

    def until(self, what, is_so, seconds=TIMEOUT_S):
        """Waits until `is_so` is true, and fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                self.fail(f"{what}: not after {seconds} s")
            # Polling takes processor time from the polled process.
            time.sleep(0.02)

    def until_ready(self, process):
        """Waits until the charts are served."""
        def is_served():
            if process.poll() is not None:
                self.fail(f"reprise ended with status {process.returncode} before it was ready")
            return is_ready(self.log)

        self.until("the charts are served", is_served)

    def fail(self, what):
        log = ""
        if self.log:
            with open(self.log, errors="replace") as text:
                log = f"; the end of {self.log}:\n{text.read()[-LOG_CHARS:]}"
        sys.exit(f"chaos: {what} (seed {self.options.seed}){log}")

    def generate(self):
        minutes = GENERATOR_MIN_M + self.options.kills
        self.generator = self.program(
            "generate", *self.source(), "--partitions", str(PARTITIONS), "--rate", str(self.options.rate), "--late", "0.001",
            "--malformed", "0.005", "--duplicates", "0.01", "--seed", str(self.options.seed), "--duration", f"{minutes}m",
            "--out", self.plays, stderr=subprocess.DEVNULL)

        def has_begun():
            if self.generator.poll() is not None:
                self.fail("the generator ended before its first play")
            return os.path.exists(self.plays) and os.path.getsize(self.plays) > 0

        self.until("the generator writes plays", has_begun)

    def finish(self):
        """Reads the rest of the topic, and runs `verify` on the lake and against a live run."""
        self.settle()
        self.generator.send_signal(signal.SIGINT)
        if self.generator.wait(TIMEOUT_S) != 0:
            self.fail("the generator failed")
        if self.run("--until-caught-up", pace=CALM).wait(TIMEOUT_S) != 0:
            self.fail("the last run did not end with success")
        live = self.run(pace=CALM)
        self.until_ready(live)
        for check in (["--lake", self.lake], ["--lake", self.lake, "--against", address_in(self.log)]):
            verified = subprocess.run([self.options.reprise, "verify", *check], capture_output=True, text=True,
                                      timeout=TIMEOUT_S)
            print(verified.stdout + verified.stderr)
            if verified.returncode != 0:
                self.fail("verify " + " ".join(check))
        live.send_signal(signal.SIGTERM)
        if live.wait(TIMEOUT_S) != 0:
            self.fail("the live instance did not stop with success")

    def count(self):
        """The number of records sent, by table, and how many are lost and doubled."""
        def lines(path):
            with open(path, "rb") as file:
                return sum(1 for _ in file)

        sent = {"song_plays": lines(self.plays), "dead_letters": lines(self.plays + ".bad")}
        counted = subprocess.run([readers_python(), os.path.join(ROOT, "tests/count.py"), self.lake],
                                 check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
        found = json.loads(counted.stdout)
        lost = sum(sent.values()) - sum(table["distinct"] for table in found.values())
        doubled = sum(table["rows"] - table["distinct"] for table in found.values())
        for table, count in sent.items():
            if found[table]["distinct"] != count:
                print(f"{table}: {found[table]['distinct']} of {count}")
                lost = lost or 1
        return sent, lost, doubled

    def report(self, sent, lost, doubled):
        self.report_kills()
        print(f"\n{self.kills()} kills, {self.starts} starts, {sent['song_plays']} plays and "
              f"{sent['dead_letters']} dead letters: lost {lost}, doubled {doubled} (seed {self.options.seed})")


class Alone(Trial):
    """`reprise run` in one process, killed at random instants or at a step."""

    # The share of kills that are to happen at a step.
    AIMED = 0.6

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.workers = 0
        self.killed = collections.Counter()
        self.ready_s = []

    def kills(self):
        return sum(self.killed.values())

    def run(self, *arguments, failpoint=None, pace=BUSY):
        # A different number of workers than in the run before.
        self.workers = self.random.choice([n for n in (1, 2, 3, 4) if n != self.workers])
        return self.start("run", *self.source(), "--lake", self.lake, "-w", str(self.workers), "--listen", "127.0.0.1:0",
                          *pace, *arguments, failpoint=failpoint)

    def kill(self):
        """Starts a process and kills it."""
        step = self.random.choice(list(STEPS)) if self.random.random() < self.AIMED else None
        failpoint = f"{step}*{self.random.randint(1, STEPS[step])}" if step else None
        # Some are killed while they start, and some later.
        wait_s = STEP_S if step else self.random.choice([0.1, 1, 4]) * self.random.random()
        process = self.run(failpoint=failpoint)
        self.watch(process, wait_s)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            step = None if step is None else f"(did not reach {step})"
        elif process.returncode == -signal.SIGABRT:
            self.aborts += 1
        else:
            self.fail(f"reprise run ended by itself with status {process.returncode}")
        process.wait(TIMEOUT_S)
        self.killed[step or "a random instant"] += 1

    def watch(self, process, wait_s):
        """Waits for the end of a process, and notes when it was ready."""
        began = time.monotonic()
        was_ready = False
        while process.poll() is None and time.monotonic() - began < wait_s:
            if not was_ready and is_ready(self.log):
                was_ready = True
                self.ready_s.append(time.monotonic() - began)
            time.sleep(0.01)

    def report_kills(self):
        print("| killed at | times |\n|---|---|")
        for step, times in sorted(self.killed.items()):
            print(f"| {step} | {times} |")
        ready = sorted(self.ready_s)
        if ready:
            print(f"\nFrom start to ready: median {ready[len(ready) // 2]:.2f} s, at most {ready[-1]:.2f} s, of {len(ready)}")
