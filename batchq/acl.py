"""What each kind of program may do on the server, as rules for Redis's access control lists.

The commands of the scripts are read off the scripts, for Redis checks them against the caller's rules. A name that
is subscribed to by pattern must stand in the rules letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from batchq.core.redis_url import parse

if TYPE_CHECKING:
    from batchq.settings import Settings

PASSWORD = "PASSWORD"  # noqa: S105 - what stands in its place


class Role(StrEnum):
    SUBMITTER = "submitter"  # Client, AsyncClient, commands, and programs that send batchq.submit
    WORKER = "worker"
    DASHBOARD = "dashboard"  # Flower, and commands that only look


BINDINGS = ("binding", "binding_permanent")  # kombu notes under these which queue an exchange has
CONNECTION = "hello client|setname client|setinfo ping select info time"
READING = (
    "exists hget hgetall hkeys hmget hvals hlen get getrange lrange llen pttl sismember smismember smembers "
    "zrange zrangebyscore zrevrange zcard"
)
WRITING = (
    "set del unlink persist pexpire hset hdel hincrby rpush lrem ltrim sadd srem zadd zrem "
    "eval evalsha script|load script|exists"
)
SENDING = (
    "multi exec lpush mget setex incr expire subscribe unsubscribe"  # kombu's and Celery's, to send a message
)
CONSUMING = "brpop rpop incrby discard watch unwatch setnx scard zcount zrevrangebyscore publish psubscribe punsubscribe"
LOOKING_ON = "psubscribe punsubscribe sadd srem del llen multi exec"  # Flower, at workers' events


@dataclass(frozen=True, slots=True)
class AclUser:
    """A user of a server, and the rules in the form of `ACL SETUSER NAME RULE …`."""

    role: Role
    name: str
    rules: tuple[str, ...]

    @property
    def line(self) -> str:
        """As an ACL file has it."""
        return " ".join(("user", self.name, *self.rules))


def users(settings: Settings) -> Iterator[AclUser]:
    """A user for each role. They serve for the broker and the result backend too where those are other servers."""
    space = settings.namespace
    events, control = f"{space}:celeryev", f"{space}:celery.pidbox"
    databases = sorted({parse(url).db for url in (settings.broker_url, settings.redis_url or _ANY) if url})
    own = (f"~{space}:*", f"~{space}.*")
    bindings = tuple(f"~_kombu.{kind}.{name}" for kind in BINDINGS for name in (f"{space}.*", f"{space}:*"))
    results = ("~celery-task-meta-*", "~celery-taskset-meta-*")
    notices = ("&celery-task-meta-*",)

    def user(role: Role, where: Sequence[str], *commands: str) -> AclUser:
        allowed = sorted({f"+{one}" for group in commands for one in group.split()})
        head = ("on", f">{PASSWORD}", "resetkeys", "resetchannels", "-@all")
        return AclUser(role, f"{space}-{role}", (*head, *where, *allowed))

    script = " ".join(commands_of_scripts())
    yield user(
        Role.SUBMITTER, (*own, *bindings, *results, *notices), CONNECTION, READING, WRITING, script, SENDING
    )
    heard = [f"&/{db}.{name}" for db in databases for name in (f"{events}/*", f"{events}/worker.*", control)]
    inboxes = (
        f"~*.{control}*",
        "~_kombu.binding_deadlines",
        *(f"~_kombu.{kind}.reply.{control}" for kind in BINDINGS),
    )
    consuming = (CONNECTION, READING, WRITING, script, SENDING, CONSUMING)
    yield user(Role.WORKER, (*own, *bindings, *results, *inboxes, *notices, *heard), *consuming)
    seen = [f"&/{db}.{events}/{which}" for db in databases for which in ("*", "worker.*")]
    bound = [f"~_kombu.{kind}.{events}" for kind in BINDINGS]
    looked_at = (f"%R~{space}:*", f"%R~{space}.*", *bound, f"~{events}*", *seen)
    yield user(Role.DASHBOARD, looked_at, CONNECTION, READING, LOOKING_ON)


_ANY = "redis://localhost/0"


def commands_of_scripts() -> list[str]:
    """What the store's scripts call."""
    from batchq.store.scripts import commands, names

    return sorted({command.lower() for name in names() for command in commands(name)})
