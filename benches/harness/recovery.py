"""Time from SIGKILL to a ready instance, with and without a checkpoint, and of a replay of the same
lake in the same round."""

import os
import shutil
import signal
import subprocess
import sys
import time

from common import is_ready

TIMEOUT_S = 300
# No checkpoint may be made in the background while a start without one is measured.
NEVER = ["--checkpoint-interval", "3000d"]


class Recovery:
    def __init__(self, options, brokers, folder):
        self.options, self.folder = options, folder
        self.topic = f"recovery-{os.getpid()}-{time.time_ns()}"
        self.lake, self.log = os.path.join(folder, "lake"), os.path.join(folder, "run.log")
        self.source = ["--brokers", brokers, "--topic", self.topic]

    def reprise(self, *arguments):
        began = time.monotonic()
        subprocess.run([self.options.reprise, *arguments], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        return time.monotonic() - began

    def fill(self):
        plays = str(self.options.plays)
        self.reprise("generate", *self.source, "--partitions", "4", "--rate", "max", "--songs", "100000", "--skew", "1",
                     "--history", "30d", "--history-plays", plays, "--count", plays)
        self.reprise("run", *self.source, "--lake", self.lake, "-w", self.options.workers, "--until-caught-up",
                     "--listen", "127.0.0.1:0", *NEVER)

    def start(self):
        with open(self.log, "w") as log:
            return subprocess.Popen([self.options.reprise, "run", *self.source, "--lake", self.lake, "--listen",
                                     "127.0.0.1:0", "-w", self.options.workers, *NEVER], stderr=log)

    def until_ready(self, process):
        began = time.monotonic()
        while not is_ready(self.log):
            if process.poll() is not None or time.monotonic() - began > TIMEOUT_S:
                with open(self.log) as log:
                    sys.exit(f"bench: the instance does not become ready\n{log.read()[-3000:]}")
            # Polling takes processor time from the polled process.
            time.sleep(0.03)

    def recovery(self):
        """Seconds from the SIGKILL of one instance to the readiness of the next."""
        process = self.start()
        try:
            self.until_ready(process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        killed = time.monotonic()
        again = self.start()
        try:
            self.until_ready(again)
            return time.monotonic() - killed
        finally:
            again.kill()
            again.wait()

    def checkpoints(self, wanted):
        shutil.rmtree(os.path.join(self.lake, "_checkpoints"), ignore_errors=True)
        return self.reprise("lake", "checkpoint", "--lake", self.lake) if wanted else None

    def measure(self):
        self.fill()
        print("| round | without | replay | without/replay | making one | with |\n|---|---|---|---|---|---|")
        for turn in range(1, self.options.rounds + 1):
            self.checkpoints(False)
            without = self.recovery()
            replay = self.reprise("replay", "--lake", self.lake, "-w", self.options.workers, "--format", "json")
            making = self.checkpoints(True)
            with_one = self.recovery()
            print(f"| {turn} | {without:.2f} s | {replay:.2f} s | {without / replay:.2f} | {making:.2f} s | "
                  f"{with_one:.2f} s |", flush=True)


def recovery(bench):
    Recovery(bench.options, bench.brokers, bench.folder).measure()
