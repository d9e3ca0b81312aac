"""Sends probes, which are distinctive plays, and measures when they are counted. Runs with the
Python of `peers.tools`.

    prober.py stream BROKERS TOPIC ADDRESS PROBES WARM_UP_S   reads http://ADDRESS's event stream, with an event per epoch
    prober.py http BROKERS TOPIC ADDRESS PROBES WARM_UP_S     polls http://ADDRESS every millisecond
    prober.py look BROKERS TOPIC PROBES WARM_UP_S             only consumes the topic: the limit
    prober.py song BROKERS TOPIC PROBES WARM_UP_S             only sends; a job of a peer observes them

In `stream` and `http` all probes are one song from one country without other plays. That country's
trending list counts them: the n-th probe has been seen when the count is n. In `song` each probe
has its own song, named P and the microsecond of sending.

Probes are sent on schedule, whatever happens to earlier ones, so a slow answer delays all probes
that it should have shown. Prints JSON: the end of the warm-up, the times of sending, and except for
`song` the latency of each probe, all in µs.
"""

import http.client
import json
import random
import socket
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

PROBES_PER_S = 20
POLL_S = 0.001
# Time for the last probes to be seen.
LINGER_S = 10
COUNTRY = "ZZ"


def now_us():
    return time.time_ns() // 1000


class Sender(threading.Thread):
    """Sends a probe every 50 ms on average, at random intervals, so that nothing in the system can
    be in step with it."""

    def __init__(self, brokers, topic, own_songs, seconds):
        super().__init__(daemon=True)
        self.topic, self.own_songs, self.seconds = topic, own_songs, seconds
        self.producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "acks": "all"})
        # Otherwise the first probe waits for the metadata.
        self.producer.list_topics(topic, timeout=10)
        self.sent_us, self.began = [], time.monotonic()

    def run(self):
        dice, due = random.Random(1), self.began
        while due < self.began + self.seconds:
            time.sleep(max(due - time.monotonic(), 0))
            self.send()
            due += dice.uniform(0.5, 1.5) / PROBES_PER_S
        self.producer.flush(LINGER_S)

    def send(self):
        sent_us = now_us()
        song = f"P{sent_us}" if self.own_songs else "probe"
        happened = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sent_us // 1_000_000))
        play = {"song_id": song, "title": "Probe", "artist": "Probe", "user_id": "U1", "timestamp": happened,
                "duration_ms": 180_000, "completed": True, "device": "mobile", "country": COUNTRY}
        # Recorded before sending, because the watcher may be faster than this thread.
        self.sent_us.append(sent_us)
        self.producer.produce(self.topic, key="probe", value=json.dumps(play))
        self.producer.poll(0)


class Listener:
    """A client of the event stream."""

    def __init__(self, address):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        # The status event, sent every second, keeps a read from blocking for long.
        connection.request("GET", f"/v1/stream?chart=trending&scope=country:{COUNTRY}&limit=1&every=0&status=true")
        self.answer, self.seen = connection.getresponse(), 0
        if self.answer.status != 200:
            sys.exit(f"prober: {self.answer.status} {self.answer.read().decode()}")

    def count(self):
        line = self.answer.readline()
        if not line:
            sys.exit("prober: the stream has ended")
        if line.startswith(b"data:"):
            entries = json.loads(line.removeprefix(b"data:")).get("entries")
            self.seen = entries[0]["plays"] if entries else self.seen
        return self.seen


class Poller:
    """A client that polls over one connection."""

    def __init__(self, address):
        self.due = time.monotonic()
        host, _, port = address.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = (f"GET /v1/trending?scope=country:{COUNTRY}&limit=1 HTTP/1.1\r\nHost: {host}\r\n\r\n").encode()

    def count(self):
        time.sleep(max(self.due - time.monotonic(), 0))
        self.due = time.monotonic() + POLL_S
        self.socket.sendall(self.request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.received()
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"prober: {head.decode()}\n{body.decode()}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.received()
        entries = json.loads(body)["entries"]
        return entries[0]["plays"] if entries else 0

    def received(self):
        part = self.socket.recv(65536)
        if not part:
            sys.exit("prober: the connection was closed")
        return part


class Looker:
    """A consumer that only looks for probes."""

    def __init__(self, brokers, topic):
        self.consumer, self.seen = Consumer({"bootstrap.servers": brokers, "group.id": "looker"}), 0
        partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
        partitions = [TopicPartition(topic, partition) for partition in partitions]
        for partition in partitions:
            # Starts at the current end, before any probe is sent: the n-th probe seen must be the
            # n-th sent.
            _, partition.offset = self.consumer.get_watermark_offsets(partition, timeout=10)
        self.consumer.assign(partitions)

    def count(self):
        self.seen += sum(record.key() == b"probe" for record in self.consumer.consume(1000, POLL_S))
        return self.seen


def watch(watcher, sender):
    """The latency of each probe that was seen; probes that were never seen are missing."""
    latencies_us, deadline = [], None
    while sender.is_alive() or len(latencies_us) < len(sender.sent_us):
        count = watcher.count()
        seen_us = now_us()
        latencies_us += [seen_us - sent_us for sent_us in sender.sent_us[len(latencies_us):count]]
        if not sender.is_alive():
            deadline = deadline or time.monotonic() + LINGER_S
            if time.monotonic() > deadline:
                break
    return latencies_us


def main():
    how, brokers, topic, *rest = sys.argv[1:]
    probes, warm_up_s = int(rest[-2]), float(rest[-1])
    # Both threads mostly wait; a short interval keeps each from waiting for the other's turn.
    sys.setswitchinterval(0.0002)
    sender = Sender(brokers, topic, how == "song", warm_up_s + probes / PROBES_PER_S)
    watchers = {"stream": lambda: Listener(rest[0]), "http": lambda: Poller(rest[0]), "look": lambda: Looker(brokers, topic)}
    watcher = watchers[how]() if how in watchers else None
    from_us = now_us() + int(warm_up_s * 1e6)
    sender.start()
    latencies_us = watch(watcher, sender) if watcher else []
    sender.join()
    print(json.dumps({"from_us": from_us, "sent_us": sender.sent_us, "latencies_us": latencies_us}))


main()
