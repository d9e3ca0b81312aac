"""Finds, signals and watches the processes of a `reprise cluster`, for chaos_cluster.py.

Children are found through /proc and held by pidfd, so this is for Linux only. `Machine` notices
when the whole machine has stalled, which a cluster may take for a frozen process.
"""

import os
import re
import select
import signal
import time

from common import is_ready, starts_in


class Member:
    """A process of a cluster, held by a descriptor, since its id may be reused after its end."""

    def __init__(self, pid, descriptor):
        self.pid, self.descriptor = pid, descriptor
        # Its number in the cluster; none until the child has executed `reprise`.
        self.number = None

    def __del__(self):
        os.close(self.descriptor)

    def send(self, wish):
        try:
            signal.pidfd_send_signal(self.descriptor, wish)
        except ProcessLookupError:
            # It has ended.
            pass

    def has_ended(self, within_s=0):
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def name(self):
        return "process 0" if self.number == 0 else "another process"

    def look(self):
        """Reads its number from its command line."""
        words = contents(f"/proc/{self.pid}/cmdline").split("\0")
        if self.number is None and "--stop-with-stdin" in words:
            self.number = int(words[words.index("-p") + 1])


class Supervisor:
    """`reprise cluster`, which runs as `process` and writes `log`."""

    def __init__(self, process, log, processes):
        self.process, self.log, self.processes = process, log, processes
        self.known = {}

    def children(self):
        """The processes that it has started and not yet waited for."""
        tasks = f"/proc/{self.process.pid}/task"
        pids = [int(pid) for task in folder(tasks) for pid in contents(f"{tasks}/{task}/children").split()]
        self.known = {pid: member for pid, member in self.known.items() if not member.has_ended()}
        for pid in pids:
            if pid not in self.known:
                try:
                    self.known[pid] = Member(pid, os.pidfd_open(pid))
                except ProcessLookupError:
                    # It has ended meanwhile.
                    pass
        return list(self.known.values())

    def members(self):
        """The live processes of the cluster, by their numbers."""
        for member in self.children():
            member.look()
        return {member.number: member for member in self.known.values() if member.number is not None}

    def is_whole(self):
        return len(self.members()) == self.processes

    def is_ready(self):
        return is_ready(self.log)

    def deaths(self):
        """How often it has started all processes again."""
        return len(starts_in(self.log)) - 1

    def reasons(self):
        """The reason for each of these restarts, as it logged them."""
        with open(self.log, errors="replace") as log:
            return re.findall(r"WARN (.*): starting all again in", log.read())

    def has_missed_a_peer(self):
        """Whether a process has taken another one for frozen since the last start but one."""
        return any("has sent nothing for" in start for start in starts_in(self.log)[-2:])

    def died_at(self):
        """The process that aborted at its step, by number, and the step."""
        with open(self.log, errors="replace") as log:
            found = re.search(r"^\[(\d+)\] failpoint (\S+): the process dies", log.read(), re.MULTILINE)
        return (int(found[1]), found[2]) if found else None

    def kill(self):
        """Kills it alone, and returns the processes that it leaves behind."""
        # Stopped first, so that it starts no process after its children were listed.
        self.process.send_signal(signal.SIGSTOP)
        left = self.children()
        self.process.kill()
        self.process.wait()
        return left

    def end(self):
        """Kills it and every process that it has started."""
        left = self.kill() if self.process.poll() is None else list(self.known.values())
        for member in left:
            member.send(signal.SIGKILL)


class Machine:
    """Notices stalls of the whole machine: a cluster may take them for a death without fault."""

    INTERVAL_S = 0.05

    def __init__(self):
        self.last = time.monotonic()
        # For each stall, the moment of its end and its length.
        self.stops = []
        # A timer needs no thread, and children do not get it.
        signal.signal(signal.SIGALRM, self.tick)
        signal.setitimer(signal.ITIMER_REAL, self.INTERVAL_S, self.INTERVAL_S)

    def end(self):
        """Ends the timer. A signal after the interpreter has removed its handlers would kill it."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def tick(self, *_):
        now = time.monotonic()
        if now - self.last > 2 * self.INTERVAL_S:
            self.stops.append((now, now - self.last))
        self.last = now

    def stood_still(self, for_s, since):
        """Whether a stall of at least `for_s` seconds ended after `since`."""
        return any(length >= for_s for moment, length in self.stops if moment > since)


def have_ended(members, within_s):
    """Whether all `members` end within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    return all(member.has_ended(max(0, deadline - time.monotonic())) for member in members)


def contents(path):
    """The text of a file of /proc; empty if the process is gone."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def folder(path):
    try:
        return os.listdir(path)
    except OSError:
        return []
