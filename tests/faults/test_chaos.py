"""Everything at once: faults drawn from a seed while a job runs, on a mixed fleet and a server of its own."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest
from redis_kit import RedisServer

from batchq.client import Job
from batchq.emulator import Emulator
from faults.kit import Scene, family, until

STORM_S = 1.5
LEASE_S = 4.0  # of a busy machine: nobody is to be taken for dead who is only slow
AWAY_S = 5.0  # longer than a lease


class Chaos:
    """A scene and what may happen to it. Each method is a fault; after it everything runs again."""

    def __init__(self, scene: Scene, server: RedisServer, emulator: Emulator, pools: tuple[str, ...]) -> None:
        self.scene, self.server, self.emulator = scene, server, emulator
        self.dice = random.Random(scene.seed)
        self.fleet = [(pool, scene.start(pool)) for pool in pools]
        scene.until_alive(len(pools))
        self.job: Job | None = None

    def run(self, items: int, faults: int, *, without: tuple[str, ...] = ()) -> list[str]:
        """Submit, and strike at moments drawn from the seed; what struck."""
        known = {name: fault for name, fault in self.faults().items() if name not in without}
        moments = sorted(self.dice.randint(items // 20, items * 17 // 20) for _ in range(faults))
        names = [self.dice.choice(sorted(known)) for _ in moments]
        self.job = self.scene.ask(items)
        for moment, name in zip(moments, names, strict=True):
            self.scene.until_calls(moment)
            known[name]()
        return names

    def faults(self) -> dict[str, Callable[[], None]]:
        return {
            "kill -9 of a worker": self.kill,
            "kill -9 of a child": self.kill_child,
            "SIGTERM of a worker": self.restart,
            "SIGSTOP of a worker": self.stop_worker,
            "kill -9 of the server": self.kill_server,
            "restart of the server": self.restart_server,
            "SIGSTOP of the server": self.stop_server,
            "connections cut": self.cut,
            "SCRIPT FLUSH": lambda: self.command("SCRIPT", "FLUSH"),
            "messages doubled": self.double,
            "messages lost": lambda: self.command("DEL", "batchq.generate", "batchq.control"),
            "chord counters lost": self.lose_counters,
            "a storm of 429": lambda: self.storm("429:retry=0.2"),
            "a storm of 503": lambda: self.storm("503"),
            "a pause": self.pause,
        }

    def command(self, *words: object) -> None:
        self.server.command(*words)

    def kill(self) -> None:
        place = self.dice.randrange(len(self.fleet))
        pool, worker = self.fleet[place]
        crash = self.scene.kill(worker)
        self.fleet[place] = pool, self.scene.start(pool)
        self.scene.recovered(crash)

    def kill_child(self) -> None:
        for pool, worker in self.fleet:
            if pool == "prefork":
                until(lambda worker=worker: len(family(worker)) > 1)  # it may have just been started
                self.scene.kill_process(self.dice.choice(sorted(family(worker) - {worker.pid})))

    def restart(self) -> None:
        place = self.dice.randrange(len(self.fleet))
        pool, worker = self.fleet[place]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
        self.fleet[place] = pool, self.scene.start(pool)

    def stop_worker(self) -> None:
        _, worker = self.dice.choice(self.fleet)
        self.scene.recovered(self.scene.freeze(worker))
        os.killpg(worker.pid, signal.SIGCONT)

    def kill_server(self) -> None:
        self.server.kill()
        self.away()
        self.server.start()

    def restart_server(self) -> None:
        self.server.stop()
        self.away()
        self.server.start()

    def stop_server(self) -> None:
        self.server.process.send_signal(signal.SIGSTOP)
        self.away()
        self.server.process.send_signal(signal.SIGCONT)

    def away(self) -> None:
        """The outage itself."""
        began = time.monotonic()
        until(lambda: time.monotonic() > began + AWAY_S)

    def cut(self) -> None:
        for kind in ("normal", "pubsub"):
            self.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def double(self) -> None:
        assert self.job is not None
        self.scene.double(self.job)

    def lose_counters(self) -> None:
        for key in self.server.command("KEYS", "celery-taskset-meta-*"):
            self.command("DEL", key)

    def storm(self, fault: str) -> None:
        self.emulator.configure(faults=(fault,))
        began = self.emulator.stats()["uptime_s"]
        until(lambda: self.emulator.stats()["uptime_s"] > began + STORM_S)
        self.emulator.configure(faults=())

    def pause(self) -> None:
        assert self.job is not None
        self.job.pause("chaos")
        until(lambda job=self.job: job.status().processing == 0)
        self.job.resume()


def unleash(scene: Scene, server: RedisServer, pools: tuple[str, ...], items: int, faults: int) -> list[str]:
    """Any number of workers may die under an item and any number of its calls fail: that is no item's fault here."""
    emulator = scene.use_gemini(latency_s=0.05)
    scene.fleet.extra |= {
        "BATCHQ_LEASE_S": str(LEASE_S),
        "BATCHQ_MAX_CRASHES": "50",
        "BATCHQ_OPERATIONS__GENERATE__MAX_ATTEMPTS": "50",
    }
    chaos = Chaos(scene, server, emulator, pools)
    struck = chaos.run(items, faults)
    print(f"struck: {struck}")  # noqa: T201
    assert chaos.job is not None
    scene.pool = "+".join(pools)
    scene.check(chaos.job, "chaos", f"{faults} random faults while {items:,} items run, seed {scene.seed}")
    assert chaos.job.status().succeeded == items
    assert all(worker.poll() is None for _, worker in chaos.fleet), "nobody ended who was not told to"
    return struck


@pytest.mark.fault
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_twenty_faults_while_five_thousand_items_run(own_scene: Scene, own_server: RedisServer) -> None:
    unleash(own_scene, own_server, ("gevent", "prefork"), 5_000, 20)


@pytest.mark.parametrize("seed", [11])
def test_five_faults_while_three_hundred_items_run(own_scene: Scene, own_server: RedisServer) -> None:
    unleash(own_scene, own_server, ("gevent",), 300, 5)
