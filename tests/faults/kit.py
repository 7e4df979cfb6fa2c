"""A scene: workers on a server, a provider that records its calls, and what a submitter was told is accepted.

    def test_…(scene, pool):
        victim = scene.start(pool)
        job = scene.submit(300)
        scene.until_calls(scene.moment(300))
        crash = scene.kill(victim)
        scene.start(pool)
        scene.check(job, "F3", "its only worker", crashes=[crash])

What was accepted is kept here, what the provider saw in a file or in the emulator, what was settled in the workers'
logs: none of it in the server under test.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from fleet_kit import OPERATIONS, Fleet, eventually, settings_on

from batchq import Client, Item
from batchq.client import Job
from batchq.dispatch import Dispatcher, make_app
from batchq.emulator import Emulator, EmulatorOptions, expected_text
from batchq.errors import BatchqError
from batchq.store.database import Database
from batchq.store.keys import JobKeys
from batchq.wiring import Place
from faults import checker
from faults.figures import Figures

SLOTS = {"gevent": 20, "prefork": 2, "threads": 5}
CALL_MS = {"gevent": 150, "prefork": 15, "threads": 40}  # so that 300 items take some seconds on one worker
SECRET = "tangerine-7731"  # in every prompt; no worker's log may hold it
KEY = "AIza-secret-of-the-suite"
MODEL = "gemini-2.5-flash-lite"
STANDSTILL_S = 120.0
RECOVERED_S = 30.0  # what design.md promises, at the default leases

# a short case for every run of the tests, the whole of it in make test-faults
SHORT_AND_LONG = pytest.mark.parametrize(
    ("pool", "n"),
    [("gevent", 60), *[pytest.param(pool, 300, marks=pytest.mark.fault) for pool in ("gevent", "prefork")]],
)


@dataclass
class Crash:
    """A worker that died: when, and how many calls it had begun and not settled."""

    pids: frozenset[int]
    at: float
    in_flight: int
    recovery_s: float | None = None  # until nothing was leased to it any more


@dataclass
class Seen:
    """What a provider saw. `refused`: calls that it answered with an error or with nonsense, on purpose."""

    calls: Counter[str] = field(default_factory=Counter)  # by item id
    answered: frozenset[str] = frozenset()  # item ids
    refused: int = 0

    @classmethod
    def by(cls, emulator: Emulator) -> Seen:
        stats = emulator.stats()
        prompts = {one["text"].split(":")[0]: one for one in emulator.prompts() if one["text"]}
        return cls(
            Counter({id: one["requests"] for id, one in prompts.items()}),
            frozenset(id for id, one in prompts.items() if one["answered"]),
            stats["faults"] + stats["rate_limited"] + stats["refused"],
        )

    def __add__(self, other: Seen) -> Seen:
        return Seen(self.calls + other.calls, self.answered | other.answered, self.refused + other.refused)

    def again(self) -> dict[str, int]:
        return {id: n for id, n in self.calls.items() if n > 1}

    def repeated(self, retries: int) -> int:
        """Calls made again without an error before. `retries` is what the job's record says of errors; a provider
        that refused on purpose knows better."""
        if self.answered:
            return max(0, sum(self.calls.values()) - self.refused - len(self.answered))
        return max(0, sum(self.calls.values()) - len(self.calls) - retries)


@dataclass
class Scene:
    """One case. `url` is where the job store is."""

    fleet: Fleet
    client: Client
    database: Database
    seed: int
    pool: str = ""
    emulator: Emulator | None = None
    accepted: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # job -> item id -> the answer it must have
    crashes: list[Crash] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    dice: random.Random = field(init=False)
    _seen_before: Seen = field(default_factory=lambda: Seen())  # by a provider that was stopped since

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    # the fleet

    def start(
        self, pool: str, *options: str, slots: int | None = None, **extra: str
    ) -> subprocess.Popen[bytes]:
        """A worker; `extra` are environment variables of this one alone."""
        self.pool = pool
        before, self.fleet.extra = self.fleet.extra, {**self.fleet.extra, **extra}
        try:
            return self.fleet.start(pool, slots or SLOTS[pool], *options)
        finally:
            self.fleet.extra = before

    def start_dying(self, pool: str, point: str, passing: int, **extra: str) -> subprocess.Popen[bytes]:
        """A worker that kills itself, children and all, at the n-th passing of a point of kill_points.py."""
        return self.start(pool, FAULT_POINT=point, FAULT_PASSING=str(passing), **extra)

    def until_alive(self, workers: int) -> None:
        """Until so many workers have beaten (on prefork, their children)."""
        eventually(lambda: len({beat.name for beat in self.client.fleet()}) >= workers, 200)

    def until_calls(self, number: int) -> None:
        """Until the provider was called so often; a standstill is an error, a slow machine is none."""
        seen, since = 0, time.monotonic()
        while (now := self.calls_made()) < number:
            if now > seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() < since + STANDSTILL_S, f"{now} calls, and no more"
            time.sleep(0.05)

    def moment(self, of: int) -> int:
        """The fault's moment, as a number of calls begun: drawn from the seed, in the first half of `of`."""
        return self.dice.randint(max(1, of // 20), max(2, of // 2))

    # faults of workers

    def kill(self, *workers: subprocess.Popen[bytes]) -> Crash:
        """kill -9, children and all. What it was at is read from the store after its death, before anything heals."""
        pids = frozenset(pid for worker in workers for pid in family(worker))
        for worker in workers:
            os.killpg(worker.pid, signal.SIGKILL)
        return self._crashed(workers, pids)

    def gone(self, pids: frozenset[int]) -> None:
        """Processes that ended by themselves, perhaps without giving their items back."""
        psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 30)
        self._crash(pids)

    def kill_child(self, worker: subprocess.Popen[bytes]) -> None:
        """kill -9 of one child of prefork that is at an item, as the kernel does when memory runs out."""
        mine = family(worker)
        self.kill_process(
            next(int(words[2]) for words in reversed(self.fleet.lines()) if int(words[2]) in mine)
        )

    def kill_process(self, pid: int) -> Crash:
        os.kill(pid, signal.SIGSTOP)  # what it holds is counted before its parent hands it to another
        crash = self._crash(frozenset([pid]))
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 10)
        return crash

    def freeze(self, worker: subprocess.Popen[bytes]) -> Crash:
        """SIGSTOP, children and all; SIGCONT of the group wakes it."""
        pids = family(worker)
        os.killpg(worker.pid, signal.SIGSTOP)
        return self._crash(pids)

    def death_of(self, worker: subprocess.Popen[bytes], within_s: float = 200) -> Crash:
        """Wait until a worker has killed itself."""
        pids: frozenset[int] = frozenset()
        deadline = time.monotonic() + within_s
        while worker.poll() is None:
            assert time.monotonic() < deadline, "it never came to the place where it was to die"
            pids |= family(worker)
            time.sleep(0.02)
        return self._crashed([worker], pids)

    def _crashed(self, workers: Sequence[subprocess.Popen[bytes]], pids: frozenset[int]) -> Crash:
        for worker in workers:
            assert worker.wait(10) == -signal.SIGKILL
        return self._crash(pids)

    def _crash(self, pids: frozenset[int]) -> Crash:
        crash = Crash(pids, time.monotonic(), sum(self._held(pids, begun=True).values()))
        self.crashes.append(crash)
        threading.Thread(target=self._watch, args=(crash,), daemon=True).start()
        return crash

    def recovered(self, crash: Crash) -> None:
        """Until nothing is leased to the dead any more."""
        eventually(lambda: crash.recovery_s is not None, RECOVERED_S + 90)

    def _watch(self, crash: Crash) -> None:
        while crash.recovery_s is None and not self.over.wait(0.1):
            with suppress(BatchqError):  # the server may be away too
                if not self._held(crash.pids):
                    crash.recovery_s = round(time.monotonic() - crash.at, 1)

    def leased(self, job: Job) -> int:
        """Items of a job that some worker holds."""
        return bytes(self.database.command("GET", self.keys(job.id).states)).count(b"l")

    def _held(self, pids: frozenset[int], *, begun: bool = False) -> Counter[str]:
        """Items leased to processes, by job; `begun`: those whose call was under way."""
        held: Counter[str] = Counter()
        for job_id in list(self.accepted):
            for entry in self.database.command("HVALS", self.keys(job_id).flight):
                parts = entry.decode().split("|", 15)  # see store/lua/include/flight.lua
                owner, was_begun = parts[10], parts[12] == "1"
                if owner and int(owner.split(":")[1]) in pids and (was_begun or not begun):
                    held[job_id] += 1
        return held

    def keys(self, job_id: str) -> JobKeys:
        return self.database.job_keys(job_id)

    # jobs

    def submit(
        self, n: int, *, ms: int | None = None, first: int = 0, client: Client | None = None, **options: Any
    ) -> Job:
        """`n` items of the operation `work`, each with the answer {"answer": its number}."""
        wait = CALL_MS.get(self.pool, 50) if ms is None else ms
        rows = [
            Item(f"i{number}", {"n": number, "ms": wait, "note": SECRET})
            for number in range(first, first + n)
        ]
        return self.submit_rows(rows, {row.id: {"answer": row.input["n"]} for row in rows}, client, **options)

    def submit_rows(
        self, rows: Sequence[Item], answers: dict[str, Any], client: Client | None = None, **options: Any
    ) -> Job:
        """Items of one's own; `answers` is what each must end with: its data, or the status of its error."""
        job = (client or self.client).submit(rows, operation="work", **options)
        self.accepted[job.id] = answers
        return job

    def use_gemini(self, **options: Any) -> Emulator:
        """From here on workers call Gemini, that is the emulator; its quota is known and wide. Closed by the fixture."""
        self.emulator = Emulator(EmulatorOptions(directives=True, **options)).start()
        self.fleet.extra |= {
            "GOOGLE_GEMINI_BASE_URL": self.emulator.url,
            "GEMINI_API_KEY": KEY,
            "BATCHQ_PROJECT": "suite",
            "BATCHQ_QUOTAS": self.quota(requests_per_minute=1_000_000),
        }
        return self.emulator

    def provider_goes(self) -> None:
        """Nobody listens there any more."""
        assert self.emulator is not None
        self._seen_before += Seen.by(self.emulator)
        self.emulator.close()

    def provider_comes_back(self) -> None:
        assert self.emulator is not None
        self.emulator = Emulator(EmulatorOptions(directives=True), port=self.emulator.port).start()

    @staticmethod
    def quota(**limits: int) -> str:
        """What BATCHQ_QUOTAS is, with these limits of the model that `ask` names."""
        return json.dumps({MODEL: limits})

    @property
    def slots(self) -> int:
        return SLOTS[self.pool]

    def ask(self, n: int, *, faults: Sequence[str] = (), **options: Any) -> Job:
        """`n` prompts; the first ones carry a fault each, as the emulator's directives have it."""
        asked: dict[str, Any] = {}
        rows = []
        for number in range(n):
            fault = f" [[emulate:{faults[number].replace(':', ' ')}]]" if number < len(faults) else ""
            prompt = f"q{number}: {SECRET}{fault}"
            rows.append((f"q{number}", prompt))
            asked[f"q{number}"] = expected_text(prompt)
        job = self.client.submit(rows, model=MODEL, preflight=False, **options)
        self.accepted[job.id] = asked
        return job

    def tickets(self, job: Job) -> int:
        """How many were given: one for each wave and each retry."""
        return int(self.database.command("HGET", self.keys(job.id).job, "ticket") or 0)

    def send_again(self, job: Job, positions: Sequence[int], tickets: Iterable[int] = (1, 2)) -> None:
        """Messages of these items once more, with the tickets of the first waves."""
        self._send(job, {ticket: list(positions) for ticket in tickets})

    def double(self, job: Job) -> None:
        """Once more the message of every item that is out, with its own ticket."""
        by_ticket: dict[int, list[int]] = {}
        for position, entry in self.database.command("HGETALL", self.keys(job.id).flight).items():
            ticket = int(entry.split(b"|", 3)[2])
            if ticket:
                by_ticket.setdefault(ticket, []).append(int(position))
        self._send(job, by_ticket)

    def _send(self, job: Job, by_ticket: Mapping[int, Sequence[int]]) -> None:
        settings = self.client.settings
        dispatcher = Dispatcher(make_app(settings), settings)
        queue = settings.queue_of("work" if self.emulator is None else "generate")
        for ticket, positions in by_ticket.items():
            dispatcher.send_wave(job.id, 0, queue, positions, ticket)
        dispatcher.close()

    # the record outside

    def calls(self) -> Counter[str]:
        """What the provider saw: calls by item id."""
        return self.seen().calls

    def calls_made(self) -> int:
        if self.emulator is None:
            return sum(self.fleet.calls().values())
        return sum(self._seen_before.calls.values()) + int(self.emulator.stats()["requests"])

    def seen(self) -> Seen:
        if self.emulator is None:
            return Seen(self.fleet.calls())
        return self._seen_before + Seen.by(self.emulator)

    def check(self, job: Job, row: str, variant: str, **expected: Any) -> Figures:
        """Wait for the job's end and hold it against the promises; see checker.verdict."""
        figures = checker.verdict(self, job, row, variant, **expected)
        self.figures.append(figures)
        return figures


def family(worker: subprocess.Popen[bytes]) -> frozenset[int]:
    """A worker's processes: its own, and the children of prefork."""
    with suppress(psutil.NoSuchProcess):
        me = psutil.Process(worker.pid)
        return frozenset([worker.pid, *(child.pid for child in me.children(recursive=True))])
    return frozenset([worker.pid])


@contextmanager
def scene_on(
    url: str, folder: Path, seed: int, *, embedded: bool = False, **settings: Any
) -> Iterator[Scene]:
    """A scene on a server of the case's own, or on the suite's."""
    fleet = Fleet(url, folder)
    fleet.calls_file.touch()
    fleet.extra |= {
        "BATCHQ_INCLUDE": "fleet_operations,kill_points",
        "BATCHQ_LOG_ITEMS": "1",
        "PYTHONPATH": os.pathsep.join([str(OPERATIONS), str(Path(__file__).parent)]),
    }
    database = Database(url)
    with Client(place=Place(settings_on(url, **settings), embedded=embedded)) as client:
        scene = Scene(fleet, client, database, seed)
        try:
            yield scene
        finally:
            scene.over.set()
            fleet.stop()
            if scene.emulator is not None:
                scene.emulator.close()
            database.close()


def note(request: pytest.FixtureRequest, scene: Scene) -> None:
    """Hand a case's figures to the report, see figures.Table."""
    for one in scene.figures:
        request.node.user_properties.append(("figures", one.as_json()))


def until(what: Callable[[], object], within_s: float = 200) -> None:
    """Poll until it holds."""
    eventually(what, within_s)
