"""The trial of `scripts/chaos --takeovers N --updates M`: runs replace each other on one lake.

- A takeover: a new run starts while the old one commits ten times a second. The new run must serve,
  and the old one must end by itself and say why.
- A rolling update: the old run also gets SIGTERM, at a random moment from 300 ms before the start
  of the new run to 300 ms after it.

The new run must never be refused, and one of both must always run. Faults are counted and the trial
continues with another run, so that two versions of the program can be compared.
"""

import collections
import signal
import subprocess
import time

from chaos_trial import TIMEOUT_S, Trial
from common import is_ready

PACE = ["--commit-interval", "100ms"]
TAKE_OVER = "--take-over"
# The most time between the start of the new run and SIGTERM to the old one.
OFFSET_MAX_S = 0.3
# The most time that a run serves before the next takeover.
CALM_MAX_S = 0.4


class Takeovers(Trial):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        usage = subprocess.run([self.options.reprise, "run", "--help"], capture_output=True, text=True, check=True)
        # Earlier releases lack the option and always take over.
        self.take_over = [TAKE_OVER] if TAKE_OVER in usage.stdout else []
        self.done = collections.Counter()
        self.ends = collections.Counter()
        self.current = self.current_log = None

    def kills(self):
        return sum(self.done.values())

    def run(self, *arguments, failpoint=None, pace=None):
        workers = str(self.random.choice([1, 2]))
        return self.start("run", *self.source(), "--lake", self.lake, "-w", workers, "--listen", "127.0.0.1:0", *PACE, *arguments,
                          failpoint=failpoint)

    def kill(self):
        """One change of the writer."""
        if self.current is None:
            self.current, self.current_log = self.first(), self.log
        time.sleep(self.random.random() * CALM_MAX_S)
        old, old_log = self.current, self.current_log
        kind = "takeover" if self.done["takeover"] < self.options.takeovers else "rolling update"
        new = self.replace(old) if kind == "takeover" else self.update(old)
        self.done[kind] += 1
        serves = self.comes_to_serve(new)
        if not serves:
            self.note(f"{kind}: the new run was refused: {last_error(self.log)}")
            if kind == "takeover" and old.poll() is None:
                self.note("(the old run continues)")
                return
            self.note(f"{kind}: no run is left")
            self.current = None
        else:
            self.current, self.current_log = new, self.log
        self.await_end(old, old_log, kind)

    def first(self):
        process = self.run()
        self.until_ready(process)
        return process

    def replace(self, _old):
        return self.run(*self.take_over)

    def update(self, old):
        offset_s = self.random.uniform(-OFFSET_MAX_S, OFFSET_MAX_S)
        if offset_s < 0:
            old.send_signal(signal.SIGTERM)
            time.sleep(-offset_s)
            return self.run(*self.take_over)
        new = self.run(*self.take_over)
        time.sleep(offset_s)
        old.send_signal(signal.SIGTERM)
        return new

    def comes_to_serve(self, process):
        """Waits until the run serves or has ended."""
        self.until("the new run serves or ends", lambda: process.poll() is not None or is_ready(self.log))
        return process.poll() is None

    def await_end(self, old, log, kind):
        try:
            status = old.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.fail(f"the old run has not ended {TIMEOUT_S} s after a {kind}")
        reason = "overtaken" if "has taken over" in last_error(log) else "normally" if status == 0 else f"status {status}"
        self.ends[f"{kind}: the old run ended {reason}"] += 1
        if reason.startswith("status"):
            self.note(f"{kind}: the old run ended with {last_error(log)}")

    def note(self, what):
        self.faults[what] += 1

    def settle(self):
        if self.current:
            self.current.send_signal(signal.SIGTERM)
            if self.current.wait(TIMEOUT_S) != 0:
                self.fail("the last run did not stop with success")

    def report_kills(self):
        for what, times in [*sorted(self.done.items()), *sorted(self.ends.items())]:
            print(f"{what}: {times}")
        print(f"\nWrong: {sum(self.faults.values())}")
        for what, times in self.faults.most_common():
            print(f"{times} × {what}")


def last_error(log):
    """The last error that a run has logged."""
    with open(log, errors="replace") as text:
        errors = [line.strip() for line in text if line.startswith("error: ")]
    # Digits are masked, so that errors which differ in offsets only are counted together.
    return "".join("N" if character.isdigit() else character for character in errors[-1][:160]) if errors else "(no reason given)"
