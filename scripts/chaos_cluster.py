"""The trial of `scripts/chaos --processes N`: `reprise cluster` with 1 to N + 1 processes.

Each round picks one of these by chance:
- SIGKILL to a process, before or after the charts are served. The supervisor must start all
  processes again, and they must serve.
- SIGSTOP to a process, for good or until some time after the stall timeout. The other processes
  must end, and the supervisor must kill the frozen one. This needs two processes: a single one has
  no peer that could notice.
- SIGSTOP for less than the stall timeout. The same processes must continue.
- A process aborts at a step. The failpoint is set at every start, so the supervisor is one that
  starts nothing again, and it must end with status 1.
- The supervisor ends by SIGTERM or SIGKILL, and another one starts with other numbers of processes
  and workers. No process may be left. In some rounds one process is frozen before that and wakes up
  when the new cluster has the lake; it must end by itself.
"""

import collections
import signal
import time

from chaos_supervisor import Machine, Supervisor, have_ended
from chaos_trial import BUSY, CALM, STEP_S, STEPS, TIMEOUT_S, Trial

# `link`, a step that only a cluster has, is a read from another process, which happens often.
CLUSTER_STEPS = {**STEPS, "link": 300}
# Short, since each freeze takes this time.
STALL_S = 1
# A process that is frozen before the processes are linked is noticed after this.
JOIN_S = 5
OURS = ["--stall-timeout", f"{STALL_S}s", "--join-timeout", f"{JOIN_S}s"]
RESTARTS = 1_000_000
# Probabilities: a process dies at a step; the supervisor ends before a kill; a kill is a freeze;
# the frozen process wakes up; a short freeze comes first; the next kill comes during the new start.
AIMED, CHANGED, FROZEN, WOKEN, OUTLIVED, EARLY = 0.35, 0.25, 0.45, 0.5, 0.3, 0.25
# The last message of a peer may be a quarter of the stall timeout older than its freeze.
OUTLIVED_S = 0.5 * STALL_S
# A stall of the whole machine excuses processes that take each other for frozen: the minimum length
# of such a stall, and how long ago it may have been.
STILL_S, STILL_AGO_S = 0.5 * STALL_S, 8
# A process must end within this time after it lost its supervisor, or was resumed when others had
# the lake.
ALONE_S = 20


class Cluster(Trial):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.size = None
        self.supervisor = None
        self.supervisors = []
        # Processes that have lost their supervisor.
        self.left = []
        # Restarts by the supervisor that this trial has caused.
        self.deaths = 0
        # By the kind of kill: how often it hit process 0, and another process.
        self.killed = collections.defaultdict(collections.Counter)
        self.served_s = collections.defaultdict(list)
        self.machine = Machine()
        self.outlived = 0
        # Deaths that a stall of the machine excuses.
        self.excused = 0
        self.ends = collections.Counter()
        self.alone_s = []

    def kills(self):
        return sum(times for counter in self.killed.values() for times in counter.values())

    def run(self, *arguments, failpoint=None, pace=BUSY, restarts=0, least=1):
        """Starts `reprise cluster`; while there is chaos, with other numbers of processes and
        workers than before."""
        many = range(least, self.options.processes + 2) if pace is BUSY else [self.options.processes]
        sizes = [(processes, workers) for processes in many for workers in (1, 2, 3) if (processes, workers) != self.size]
        self.size = self.random.choice(sizes)
        processes, workers = map(str, self.size)
        started = self.start(
            "cluster", "--processes", processes, "--restarts", str(restarts), "--restart-wait-max", "300ms", "--",
            "run", *self.source(), "--lake", self.lake, "-w", workers, "--listen", "127.0.0.1:0", *pace,
            *([] if pace is CALM else OURS), *arguments, failpoint=failpoint)
        self.supervisors.append(Supervisor(started, self.log, self.size[0]))
        return started

    def supervise(self, take_over=False, **options):
        self.run(*(["--take-over"] if take_over else []), **options)
        self.deaths = 0
        return self.supervisors[-1]

    def kill(self):
        """Kills one process, and so all of them."""
        if self.random.random() < AIMED:
            self.change(self.stop, self.abandon)
            return self.kill_at_step()
        if self.random.random() < CHANGED:
            self.change(self.stop, self.abandon, self.abandon_frozen)
        if not self.supervisor:
            self.supervisor = self.supervise(restarts=RESTARTS)
            self.perhaps_until_served()
        self.strike()

    def strike(self):
        """Kills or freezes a process at a random instant, and waits for a new start."""
        time.sleep(self.random.choice([0.1, 1, 4]) * self.random.random())
        supervisor = self.supervisor
        self.until("all processes are there", supervisor.is_whole)
        was_ready = supervisor.is_ready()
        if was_ready and self.random.random() < OUTLIVED:
            self.freeze_shortly()
        self.expect_no_death()
        victim = self.victim()
        struck = time.monotonic()
        freezes = supervisor.processes > 1 and self.random.random() < FROZEN
        how = self.freeze(victim, was_ready) if freezes else self.shoot(victim)
        if not was_ready:
            how += ", before it served"
        self.killed[how][victim.name()] += 1
        self.until(f"all are started again after {how}", lambda: supervisor.deaths() > self.deaths)
        self.deaths += 1
        self.starts += 1
        if self.perhaps_until_served():
            self.served_s[how].append(time.monotonic() - struck)

    def shoot(self, victim):
        victim.send(signal.SIGKILL)
        return "SIGKILL"

    def freeze(self, victim, was_ready):
        """Freezes a process beyond the stall timeout, or for good."""
        victim.send(signal.SIGSTOP)
        # Before the processes are linked, a freeze of this length may go unnoticed.
        if not was_ready or self.random.random() >= WOKEN:
            return "SIGSTOP"
        time.sleep(STALL_S + self.random.uniform(0.1, 1.5))
        if victim.has_ended():
            return "SIGSTOP"
        victim.send(signal.SIGCONT)
        return "SIGSTOP, too late SIGCONT"

    def freeze_shortly(self):
        """Freezes a process for less than the stall timeout, which must have no effect."""
        before, deaths = self.pids(), self.deaths
        victim = self.victim()
        victim.send(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.02, OUTLIVED_S))
        victim.send(signal.SIGCONT)
        time.sleep(STALL_S + OUTLIVED_S)
        self.expect_no_death()
        if self.deaths == deaths:
            if self.pids() != before or not self.supervisor.is_ready():
                self.fail(f"a freeze of less than {OUTLIVED_S} s was not survived")
            self.outlived += 1

    def pids(self):
        return {number: member.pid for number, member in self.supervisor.members().items()}

    def victim(self):
        members = self.supervisor.members()
        if not members:
            self.fail("there is no process to kill")
        return members[self.random.choice(sorted(members))]

    def perhaps_until_served(self):
        """Waits until the charts are served, or until all processes are there: then the next kill
        comes while they start."""
        supervisor = self.supervisor
        if self.random.random() < EARLY:
            self.until("all processes are there", supervisor.is_whole)
            return False
        self.until_ready(supervisor.process)
        self.expect_no_death()
        return True

    def expect_no_death(self):
        """Fails if processes have died that this trial did not kill."""
        supervisor = self.supervisor
        if supervisor.process.poll() is not None:
            self.fail(f"reprise cluster ended by itself with status {supervisor.process.returncode}")
        new = supervisor.reasons()[self.deaths:]
        if new:
            if not self.is_excused(supervisor):
                self.fail(f"processes have died by themselves: {new}")
            self.starts += len(new)
            self.deaths += len(new)
            self.until("all processes are there", supervisor.is_whole)

    def is_excused(self, supervisor):
        """Whether a stall of the machine explains that processes took each other for frozen."""
        is_excused = supervisor.has_missed_a_peer() and self.machine.stood_still(STILL_S, time.monotonic() - STILL_AGO_S)
        self.excused += is_excused
        return is_excused

    def kill_at_step(self):
        """Starts a cluster without restarts, and waits until a process dies at a step."""
        step = self.random.choice(list(CLUSTER_STEPS))
        failpoint = f"{step}*{self.random.randint(1, CLUSTER_STEPS[step])}"
        supervisor = self.supervise(failpoint=failpoint, least=2 if step == "link" else 1)
        until = time.monotonic() + STEP_S
        while supervisor.process.poll() is None and time.monotonic() < until:
            supervisor.children()
            time.sleep(0.02)
        is_alive = supervisor.process.poll() is None
        members = supervisor.members() if is_alive else {}
        if members:
            members[self.random.choice(sorted(members))].send(signal.SIGKILL)
        if supervisor.process.wait(TIMEOUT_S) != 1:
            self.fail(f"reprise cluster ended with status {supervisor.process.returncode}, and not 1, after {failpoint}")
        self.expect_no_process(supervisor.known.values())
        died = supervisor.died_at()
        if died:
            self.aborts += 1
            self.killed[step]["process 0" if died[0] == 0 else "another process"] += 1
        elif members:
            self.killed[f"(did not reach {step})"]["another process"] += 1
        elif not self.is_excused(supervisor):
            self.fail(f"reprise cluster ended, and no process reached {failpoint}")

    def change(self, *ways):
        """Ends the supervisor, if there is one, and all of its processes, in one of the given ways.
        """
        supervisor, self.supervisor = self.supervisor, None
        if supervisor:
            time.sleep(self.random.random())
            self.ends[self.random.choice(ways)(supervisor)] += 1

    def stop(self, supervisor):
        supervisor.children()
        supervisor.process.send_signal(signal.SIGTERM)
        if supervisor.process.wait(TIMEOUT_S) != 0:
            self.fail(f"reprise cluster ended with status {supervisor.process.returncode} on SIGTERM")
        self.expect_no_process(supervisor.known.values())
        return "SIGTERM"

    def abandon(self, supervisor, frozen=None):
        """Kills the supervisor. Its processes must end by themselves, except one that is frozen."""
        killed = time.monotonic()
        self.left = supervisor.kill()
        self.expect_no_process([member for member in self.left if member is not frozen])
        if not frozen:
            self.alone_s.append(time.monotonic() - killed)
        return "SIGKILL"

    def abandon_frozen(self, supervisor):
        """The same, but one process is frozen before, and resumed when another cluster serves."""
        self.until("all processes are there", supervisor.is_whole)
        members = supervisor.members()
        frozen = members[self.random.choice(sorted(members))]
        frozen.send(signal.SIGSTOP)
        self.abandon(supervisor, frozen)
        # The frozen process may be process 0, which holds the lake as long as it is alive.
        self.supervisor = self.supervise(restarts=RESTARTS, take_over=True)
        self.until_ready(self.supervisor.process)
        frozen.send(signal.SIGCONT)
        self.expect_no_process([frozen])
        self.expect_no_death()
        return f"SIGKILL, {frozen.name()} was frozen and resumed when another cluster had the lake"

    def expect_no_process(self, members):
        if not have_ended(members, ALONE_S):
            left = [member.pid for member in members if not member.has_ended()]
            self.fail(f"after {ALONE_S} s processes are left: {left}")

    def settle(self):
        if self.supervisor:
            self.expect_no_death()
            self.ends[self.stop(self.supervisor)] += 1
            self.supervisor = None

    def end(self):
        for supervisor in self.supervisors:
            supervisor.end()
        for member in self.left:
            member.send(signal.SIGKILL)
        self.machine.end()
        super().end()

    def report_kills(self):
        print("| killed by, or at | process 0 | another process | time to served again: median | at most | of |")
        print("|---|---|---|---|---|---|")
        for how, times in sorted(self.killed.items()):
            served = sorted(self.served_s[how])
            spans = f"{served[len(served) // 2]:.2f} s | {served[-1]:.2f} s | {len(served)}" if served else " | | "
            print(f"| {how} | {times['process 0']} | {times['another process']} | {spans} |")
        print(f"\nThe stall timeout is {STALL_S} s. SIGSTOP for less than {OUTLIVED_S} s was survived {self.outlived} times.")
        if self.excused:
            stops = [length for _, length in self.machine.stops if length >= STILL_S]
            print(f"This machine stalled {len(stops)} times, for {max(stops):.2f} s at most, and {self.excused} times "
                  "processes therefore took each other for frozen.")
        if self.ends:
            print("The supervisor ended, and left no process behind: by " +
                  "; by ".join(f"{how}: {times}" for how, times in sorted(self.ends.items())))
        if self.alone_s:
            print(f"After its SIGKILL all of its processes had ended within {max(self.alone_s):.2f} s.")
