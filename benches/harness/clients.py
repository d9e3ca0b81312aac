"""Clients of `/v1/stream` that read every event, until standard input closes.

    clients.py ADDRESS CLIENTS

Prints `ready` when each client has received its first event. At the end, prints as JSON the rate of
events, and how many clients were disconnected.
"""

import asyncio
import json
import sys
import time

WATCHED = ["trending", "trending&scope=US", "weekly", "weekly&scope=JP", "all-time"]


class Clients:
    def __init__(self, address, count):
        host, _, port = address.removeprefix("http://").partition(":")
        self.host, self.port, self.count = host, int(port), count
        self.events, self.lost, self.ready = 0, 0, 0

    async def watch(self, number):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET /v1/stream?chart={WATCHED[number % len(WATCHED)]} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        first = True
        while part := await reader.read(1 << 16):
            self.events += part.count(b"event: ")
            if first and b"event: cell" in part:
                first = False
                self.ready += 1
        self.lost += 1

    async def run(self):
        tasks = [asyncio.create_task(self.watch(number)) for number in range(self.count)]
        while self.ready < self.count:
            await asyncio.sleep(0.1)
            for task in tasks:
                if task.done():
                    task.result()
        print("ready", flush=True)
        began, before = time.monotonic(), self.events
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        seconds, events = time.monotonic() - began, self.events - before
        print(json.dumps({"events_per_s": events / seconds, "lost": self.lost}))
        for task in tasks:
            task.cancel()


asyncio.run(Clients(sys.argv[1], int(sys.argv[2])).run())
