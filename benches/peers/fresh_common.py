"""Shared by the jobs that measure freshness: recording when a probe is first counted, and reporting
at the end.

A probe is a play of a song named P and the microsecond of sending. A job prints `ready` after its
first counts, and its latencies when stdin closes, or after ten minutes.
"""

import json
import os
import sys
import threading
import time

SECONDS_MAX = 600


class Probes:
    def __init__(self):
        self.latencies, self.counted = {}, threading.Event()

    def note(self, songs):
        """Records the current time for songs that have been counted."""
        now_us = time.time_ns() // 1000
        for song in songs:
            if song[0] == "P":
                sent_us = int(song[1:])
                self.latencies.setdefault(sent_us, now_us - sent_us)
        self.counted.set()

    def report(self):
        """Waits until stdin closes, prints the latencies, and ends the process."""
        if self.counted.wait(SECONDS_MAX):
            print("ready", flush=True)
            waiting = threading.Thread(target=sys.stdin.read, daemon=True)
            waiting.start()
            waiting.join(SECONDS_MAX)
        print(json.dumps({"latencies_us": sorted(self.latencies.items())}), flush=True)
        # The engine's own threads would keep the process alive.
        os._exit(0)
