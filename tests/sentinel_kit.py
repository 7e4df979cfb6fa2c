"""A master, its replica and three Sentinels, as real processes: without the master the replica takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis_kit import DURABLE, RedisServer, redis_server, until

NAME, PASSWORD = "jobs", "p@ss"
SENTINELS_PASSWORD = "s/pw"
REPLICA_USER = "replica"
DOWN_AFTER_MS = 1_000  # of silence until a Sentinel takes a server for dead


@dataclass
class Guarded:
    """Two servers of which one is the master, and those who decide which."""

    servers: Sequence[RedisServer]
    sentinels: Sequence[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        login, other = f":{quote(PASSWORD, safe='')}", quote(SENTINELS_PASSWORD, safe="")
        return f"sentinel://{login}@{hosts}/0?master={NAME}&sentinel_password={other}"

    def master(self) -> RedisServer:
        """As the Sentinels have it."""
        _, port = self.sentinels[-1].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return next(one for one in self.servers if one.port == int(port))

    def cut_replication(self) -> None:
        """What the master accepts from now on, its replica does not get."""
        master = self.master()
        master.command("ACL", "SETUSER", REPLICA_USER, "off")
        master.command("CLIENT", "KILL", "USER", REPLICA_USER)

    def promoted(self, old: RedisServer) -> RedisServer:
        """The new master, as soon as it is one."""

        def another_rules() -> bool:
            new = self.master()
            return new is not old and new.command("ROLE")[0] == b"master"

        until(another_rules, "no Sentinel promoted the replica")
        return self.master()


@contextmanager
def guarded(folder: Path) -> Iterator[Guarded]:
    users = (
        f"requirepass {PASSWORD}\nuser {REPLICA_USER} on >{PASSWORD} +psync +replconf +ping\n"
        f"masteruser {REPLICA_USER}\nmasterauth {PASSWORD}\nrepl-diskless-sync-delay 0\n"
    )
    with ExitStack() as ending:
        master, replica = (
            ending.enter_context(
                redis_server(folder / name, *DURABLE, configuration=users, password=PASSWORD)
            )
            for name in ("one", "two")
        )
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        until(lambda: b"connected" in replica.command("ROLE"), "the replica does not follow")
        watching = (
            f"requirepass {SENTINELS_PASSWORD}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} 2\n"
            f"sentinel auth-pass {NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {NAME} 10000\n"
        )
        sentinels = [
            ending.enter_context(
                redis_server(
                    folder / f"sentinel-{n}",
                    "--sentinel",
                    configuration=watching,
                    password=SENTINELS_PASSWORD,
                )
            )
            for n in range(3)
        ]
        for sentinel in sentinels:
            until(lambda one=sentinel: _knows_all(one), "the Sentinels do not find each other")  # type: ignore[misc]
        yield Guarded((master, replica), sentinels)


def _knows_all(sentinel: RedisServer) -> bool:
    raw = sentinel.command("SENTINEL", "MASTER", NAME)
    return (raw[b"num-slaves"], raw[b"num-other-sentinels"]) == (b"1", b"2")
