"""`reprise cluster` and its processes, as one who means them ill sees them. Linux only: it is /proc that knows children."""

import os
import re
import select
import signal
import time

from common import is_ready, starts_in


class Member:
    """A process of a cluster, held by a descriptor: once it has ended its id may be somebody else's."""

    def __init__(self, pid, descriptor):
        self.pid, self.descriptor = pid, descriptor
        # Of the process in its cluster; it has none before it has begun to be `reprise`.
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
        """Finds out its number, which is on its command line."""
        words = contents(f"/proc/{self.pid}/cmdline").split("\0")
        if self.number is None and "--stop-with-stdin" in words:
            self.number = int(words[words.index("-p") + 1])


class Supervisor:
    """`reprise cluster`, which runs as `process` and writes `log`."""

    def __init__(self, process, log, processes):
        self.process, self.log, self.processes = process, log, processes
        self.known = {}

    def children(self):
        """All that it has started, and has not waited for."""
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
        """The processes of the cluster that live, by their numbers."""
        for member in self.children():
            member.look()
        return {member.number: member for member in self.known.values() if member.number is not None}

    def is_whole(self):
        return len(self.members()) == self.processes

    def is_ready(self):
        return is_ready(self.log)

    def deaths(self):
        """How often it has started all again."""
        return len(starts_in(self.log)) - 1

    def reasons(self):
        """Why it has started all again, each time."""
        with open(self.log, errors="replace") as log:
            return re.findall(r"WARN (.*): starting all again in", log.read())

    def has_missed_somebody(self):
        """Whether a process has taken another one for frozen since the last start but one."""
        return any("has not been heard for" in start for start in starts_in(self.log)[-2:])

    def died_at(self):
        """The number of the process that has come to the step at which it was to die, and the step."""
        with open(self.log, errors="replace") as log:
            found = re.search(r"^\[(\d+)\] failpoint (\S+): the process dies", log.read(), re.MULTILINE)
        return (int(found[1]), found[2]) if found else None

    def kill(self):
        """Kills it alone, and returns the processes that it leaves behind."""
        # It must not start another one after we have looked.
        self.process.send_signal(signal.SIGSTOP)
        left = self.children()
        self.process.kill()
        self.process.wait()
        return left

    def end(self):
        """Kills it and all that it has started."""
        left = self.kill() if self.process.poll() is None else list(self.known.values())
        for member in left:
            member.send(signal.SIGKILL)


class Machine:
    """Notices when this machine has stood still, and all that runs on it: it is no fault if a cluster takes that for a death."""

    INTERVAL_S = 0.05

    def __init__(self):
        self.last = time.monotonic()
        # When it went on, and how long it had stood still.
        self.stops = []
        # A timer needs no thread, and children do not get it.
        signal.signal(signal.SIGALRM, self.tick)
        signal.setitimer(signal.ITIMER_REAL, self.INTERVAL_S, self.INTERVAL_S)

    def end(self):
        """Notices nothing any more. A timer that outlives the interpreter's handlers would kill us."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def tick(self, *_):
        now = time.monotonic()
        if now - self.last > 2 * self.INTERVAL_S:
            self.stops.append((now, now - self.last))
        self.last = now

    def stood_still(self, for_s, since):
        """Whether it did for so long, after the moment `since`."""
        return any(length >= for_s for moment, length in self.stops if moment > since)


def have_ended(members, within_s):
    """Whether all of them have ended, or do so in time."""
    deadline = time.monotonic() + within_s
    return all(member.has_ended(max(0, deadline - time.monotonic())) for member in members)


def contents(path):
    """What is in a file of /proc; nothing if the process has gone."""
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
