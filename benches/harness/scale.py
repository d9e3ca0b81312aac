"""The cost of processes: the same plays counted by one process and by several.

On a machine with as many cores as threads, this shows the cost of sending tallies through sockets
instead of memory, and of running several processes. It does not show the gain from more machines.
"""

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

# Numbers of processes, and of workers per process; the first shape is the baseline.
SHAPES = [(1, 2), (2, 1), (4, 1)]
SONGS = {"narrow": ["--songs", "50", "--skew", "0.5"], "wide": ["--songs", "100000", "--skew", "1.1"]}
EXCHANGED = re.compile(r"([\d,]+) bytes exchanged")


def cpu_s():
    """Processor seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Scale:
    def __init__(self, options, brokers, folder):
        self.options, self.brokers, self.folder = options, brokers, folder
        self.lake = os.path.join(folder, "lake")

    def generate(self, kind):
        topic = f"scale-{kind}-{os.getpid()}-{time.time_ns()}"
        subprocess.run([self.options.reprise, "generate", "--brokers", self.brokers, "--topic", topic, "--partitions", "4",
                        "--rate", "max", "--seed", "1", "--count", str(self.options.plays), "--users", "100000", *SONGS[kind]],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return topic

    def turn(self, topic, processes, workers):
        """Seconds, processor seconds, and bytes exchanged of one run from the first offset to the
        last."""
        shutil.rmtree(self.lake, ignore_errors=True)
        command = [self.options.reprise, "cluster", "--processes", str(processes), "--restarts", "0", "--", "run", "--brokers",
                   self.brokers, "--topic", topic, "--lake", self.lake, "--listen", "127.0.0.1:0", "-w", str(workers),
                   "--until-caught-up"]
        cpu_before_s, began = cpu_s(), time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True)
        seconds = time.monotonic() - began
        if ended.returncode != 0:
            sys.exit(f"bench: {' '.join(command)} ended with {ended.returncode}\n{ended.stderr[-3000:]}")
        exchanged = EXCHANGED.findall(ended.stderr)
        return seconds, cpu_s() - cpu_before_s, int(exchanged[-1].replace(",", "")) if exchanged else 0

    def measure(self):
        print("| plays | processes × workers | plays/s (median) | min – max | of 1×2, by pairs | CPU µs/play | of 1×2 | bytes/play |\n"
              "|---|---|---|---|---|---|---|---|")
        for kind in SONGS:
            topic = self.generate(kind)
            turns = {shape: [] for shape in SHAPES}
            # The shapes alternate, so that a slow phase of the machine affects all of them.
            for turn in range(self.options.rounds + 1):
                for shape in SHAPES:
                    figures = self.turn(topic, *shape)
                    # The first round warms the broker's caches.
                    if turn > 0:
                        turns[shape].append(figures)
            for shape in SHAPES:
                self.report(kind, shape, turns[shape], turns[SHAPES[0]])

    def report(self, kind, shape, turns, base):
        plays = self.options.plays
        rates = [plays / seconds for seconds, _, _ in turns]
        against = statistics.median(theirs[0] / ours[0] for ours, theirs in zip(turns, base))
        cpu = statistics.median(cpu for _, cpu, _ in turns)
        base_cpu = statistics.median(cpu for _, cpu, _ in base)
        sent = statistics.median(sent for _, _, sent in turns)
        print(f"| {kind} | {shape[0]}×{shape[1]} | {statistics.median(rates) / 1e3:.0f}k | {min(rates) / 1e3:.0f}k – "
              f"{max(rates) / 1e3:.0f}k | {against:.2f} | {cpu / plays * 1e6:.2f} | {cpu / base_cpu:.2f} | {sent / plays:.1f} |",
              flush=True)


def scale(bench):
    Scale(bench.options, bench.brokers, bench.folder).measure()
