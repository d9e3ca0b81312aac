"""What the jobs that measure freshness have in common: noting when a probe is first counted, and telling at the end.

A probe is a play of a song named P and the microsecond at which it was sent. A job says `ready` when its first counts have come
out, and tells what it has noted when its input ends, or after ten minutes.
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
        """These have been counted; takes the time now."""
        now_us = time.time_ns() // 1000
        for song in songs:
            if song[0] == "P":
                sent_us = int(song[1:])
                self.latencies.setdefault(sent_us, now_us - sent_us)
        self.counted.set()

    def tell(self):
        """Waits for the end of input, tells, and ends the process."""
        if self.counted.wait(SECONDS_MAX):
            print("ready", flush=True)
            waiting = threading.Thread(target=sys.stdin.read, daemon=True)
            waiting.start()
            waiting.join(SECONDS_MAX)
        print(json.dumps({"latencies_us": sorted(self.latencies.items())}), flush=True)
        # The engines' own threads would go on.
        os._exit(0)
