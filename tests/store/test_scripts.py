"""The header of a Lua script is its contract: KEYS, ARGV and replies that it lists are those that the code uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from store_world import DAY_MS, LUA, CheckedDatabase, World, signature

from batchq.core.lifecycle import HoldCause, ItemByte
from batchq.store.collectors import Batch, CollectorStore
from batchq.store.leases import Bid, ReleaseKind
from batchq.store.outbox import Outbox
from batchq.store.scripts import source
from batchq.store.upkeep import Upkeep
from batchq.store.uploads import UploadStore

STORE = LUA.parent
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
INCLUDES = sorted(path.stem for path in (LUA / "include").glob("*.lua"))

# What each script asks of the server: the commands that its ACL rule needs.
COMMANDS = {
    "annotate": "EXISTS HSET",
    "beat": "HMGET HSET INFO TIME",
    "beat_submission": "HMGET HSET TIME",
    "begin": "DEL HMGET HSET TIME",
    "cancel": "HMGET HSET RPUSH TIME",
    "cancel_sweep": "GETRANGE HDEL HGET HINCRBY HMGET HSET SETRANGE ZREM",
    "claim_event": "HGET HSET",
    "claim": "GETRANGE HDEL HINCRBY HMGET HSET SETRANGE TIME ZADD",
    "collect": "HGET HSET LLEN RPUSH TIME",
    "cut": "HINCRBY HMGET HSET LLEN LRANGE LTRIM RPUSH TIME",
    "cut_done": "DEL HDEL HGET",
    "compact": "GETRANGE HDEL HMGET HSET PEXPIRE PTTL",
    "count_redrive": "EXISTS HINCRBY PEXPIRE PTTL",
    "delete": "HMGET UNLINK",
    "draw": "HDEL HINCRBY HMGET HSET HVALS INFO PEXPIRE TIME",
    "fail": "HDEL HMGET HSET PEXPIRE TIME",
    "finish_begin": "HMGET HSET TIME",
    "finish_commit": "HEXISTS HMGET HSET PEXPIRE RPUSH TIME",
    "heal": "HDEL HINCRBY HMGET HSCAN HSET LTRIM RPUSH SETRANGE TIME ZADD",
    "hold": "HEXISTS HGET HINCRBY HMGET HSET RPUSH TIME",
    "keep_file": "EXISTS HSET PEXPIRE PTTL",
    "mark_begun": "HINCRBY HMGET HSET TIME",
    "note": "EXISTS PEXPIRE PTTL RPUSH",
    "put_file": "HMGET HSET",
    "put_shard": "HINCRBY HMGET HSET SETRANGE TIME",
    "recount": "GETRANGE HGET HMGET HSET",
    "redrive": "GETRANGE HDEL HGET HINCRBY HMGET HSET PERSIST RPUSH SETRANGE TIME",
    "refuse": "HDEL HMGET HSET PEXPIRE TIME",
    "reserve": "HEXISTS HGET HINCRBY HMGET HSET RPUSH TIME",
    "release": "HDEL HEXISTS HGET HINCRBY HMGET HSET RPUSH SETRANGE TIME ZADD",
    "seal": "HMGET HSET RPUSH TIME",
    "settle": "GETRANGE HDEL HINCRBY HMGET HSET LTRIM RPUSH SETRANGE TIME ZADD ZCARD ZRANGE ZREMRANGEBYRANK",
    "upload_claim": "HGET HSET TIME",
    "upload_gone": "HDEL HGET HSET",
    "upload_leave": "HGET HSET TIME",
    "upload_note": "HGET HSET",
    "take": "GETRANGE HINCRBY HMGET HSET SETRANGE TIME ZCARD ZRANGEBYSCORE ZREM",
}


def words(text: str) -> list[str]:
    return text.split()


@dataclass
class Script:
    """A script's own text (includes left out), its header apart from its code."""

    path: Path
    header: list[tuple[int, str]] = field(default_factory=list)  # line number and text
    code: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Script:
        script = cls(path)
        lines = path.read_text("utf-8").splitlines()
        end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
        for number, line in enumerate(lines, 1):
            if number <= end:
                script.header.append((number, line))
            else:
                script.code.append((number, re.sub(r"--(?!\[).*$", "", line)))
        return script

    def place(self, number: int) -> str:
        return f"{self.path.name}:{number}"

    def listed(self, name: str) -> Iterator[tuple[int, int, bool, str]]:
        """Line, index, whether the rest follows, and the local's name, of each KEYS or ARGV in the header."""
        for number, line in self.header:
            found = re.match(rf"-- {name}\[(\d+)(\.\.)?\]\s+(\w+)", line)
            if found:
                yield number, int(found[1]), bool(found[2]), found[3]

    def used(self, name: str) -> Iterator[tuple[int, int | None]]:
        """Line and index of each use; None: by a computed index, or all at once."""
        for number, line in self.code:
            for found in re.finditer(rf"\b{name}\b(\[(\d+)\])?", line):
                yield number, int(found[2]) if found[2] else None


def complaints(path: Path) -> list[str]:
    """Where a script and its header disagree, with file and line."""
    script, found = Script.read(path), []
    if not script.header or not re.match(rf"-- {path.stem}\.lua: \S", script.header[0][1]):
        found.append(f"{script.place(1)}: the header begins with `-- {path.stem}.lua: what it does`")
    for name in ("KEYS", "ARGV"):
        listed, used = list(script.listed(name)), list(script.used(name))
        fixed = {index: number for number, index, rest, _ in listed if not rest}
        rests = [(number, index) for number, index, rest, _ in listed if rest]
        numbers = [index for _, index, _, _ in listed]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{script.place(1)}: {name} are listed as {numbers}")
        found += [
            f"{script.place(number)}: uses {name}[{index}], which its header does not list"
            for number, index in used
            if index is not None and index not in fixed
        ]
        named = {index for _, index in used}
        found += [
            f"{script.place(number)}: lists {name}[{index}], which the code does not use"
            for index, number in fixed.items()
            if index not in named
        ]
        found += [
            f"{script.place(number)}: lists {name}[{index}..], but the code uses no more"
            for number, index in rests
            if None not in named
        ]
        found += [
            f"{script.place(number)}: uses {name} by a computed index, but its header lists no rest"
            for number, index in used
            if index is None and not rests
        ]
    for number, line in script.code:
        for start in re.findall(r"\bFIRST(?:, \w+)* = (\d+)|for \w+ = (\d+), #ARGV", line):
            first = int(start[0] or start[1])
            rest = next((index for _, index, rest, _ in script.listed("ARGV") if rest), None)
            if first != rest:
                found.append(f"{script.place(number)}: the rest of ARGV begins at {first}, not at {rest}")
    found += misnamed(script)
    return found


def misnamed(script: Script) -> list[str]:
    """Keys whose local has another name than the header gives."""
    names = {f"KEYS[{index}]": name for _, index, rest, name in script.listed("KEYS") if not rest}
    found = []
    for number, line in script.code:
        assigned = re.match(r"local ([\w, ]+) = (.+)$", line)
        if not assigned:
            continue
        locals_, values = assigned[1].split(", "), re.split(r",\s*(?![^(\[]*[)\]])", assigned[2])
        for local, value in zip(locals_, values, strict=False):
            expected = names.get(value.strip())
            if expected not in (None, local):
                found.append(
                    f"{script.place(number)}: {value.strip()} is `{local}` here and `{expected}` in the header"
                )
    return found


def replies_of(script: Script) -> tuple[set[str], set[str], set[str]]:
    """Words that the header says are answered, words in the code's replies, and all words in the code."""
    header = "\n".join(line for _, line in script.header)
    promised = set(re.findall(r'\{"([a-z_]+)"', header))
    given: set[str] = set()
    for _, line in script.code:
        if "return" in line or "replies[" in line:
            for braces in re.findall(r"\{([^{}]*)\}", line):
                head = re.match(r'\s*"([a-z_]+)"', braces)
                either = re.search(r'and "([a-z_]+)" or "([a-z_]+)"', braces)
                given |= {head[1]} if head else set(either.groups()) if either else set()
    spoken = {word for _, line in script.code for word in re.findall(r'"([a-z_]+)"', line)}
    return promised, given, spoken


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_header_lists_the_keys_and_arguments_that_the_script_uses(name: str) -> None:
    assert complaints(LUA / f"{name}.lua") == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_header_lists_the_replies_that_the_script_gives(name: str) -> None:
    promised, given, spoken = replies_of(Script.read(LUA / f"{name}.lua"))
    assert given - promised == set(), "given, but not in the header"
    assert promised - spoken == set(), "in the header, but never given"
    assert "-- Returns" in "\n".join(line for _, line in Script.read(LUA / f"{name}.lua").header)


def test_a_header_that_is_wrong_is_named_with_file_and_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.lua"
    wrong.write_text(
        "-- wrong.lua: is wrong.\n--\n"
        "-- KEYS[1]  job   HASH  the record\n"
        "-- KEYS[2]  lane  HASH  unused\n"
        "-- ARGV[1]  now\n"
        "-- ARGV[2..] position\n"
        "local record, now = KEYS[1], ARGV[1] -- ARGV[7] in a comment is none\n"
        "for i = 3, #ARGV do redis.call('HSET', record, ARGV[i], KEYS[3]) end\n"
    )
    assert complaints(wrong) == [
        "wrong.lua:8: uses KEYS[3], which its header does not list",
        "wrong.lua:4: lists KEYS[2], which the code does not use",
        "wrong.lua:8: the rest of ARGV begins at 3, not at 2",
        "wrong.lua:7: KEYS[1] is `record` here and `job` in the header",
    ]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_commands_of_each_script_are_known(name: str) -> None:
    assert name in COMMANDS, "a new script: add what it asks of the server to the table"
    used = set(re.findall(r'redis\.p?call\("([A-Z]+)"', source(name)))
    assert len(re.findall(r"redis\.p?call\(", source(name))) == len(
        re.findall(r'redis\.p?call\("[A-Z]+"', source(name))
    ), "a command that is no literal"
    assert sorted(used) == words(COMMANDS[name])


def test_the_table_of_commands_names_no_script_that_is_gone() -> None:
    assert sorted(COMMANDS) == SCRIPTS


def test_includes_resolve_and_each_is_used_for_something() -> None:
    wanted: set[str] = set()
    for name in SCRIPTS:
        text = source(name)
        assert not re.search(r"^--- *include", text, re.MULTILINE), f"{name}.lua: an include did not resolve"
        code = "\n".join(line for _, line in Script.read(LUA / f"{name}.lua").code)
        own = (LUA / f"{name}.lua").read_text("utf-8")
        included = re.findall(r"^--- include (\w+)$", own, re.MULTILINE)
        wanted |= set(included)
        texts = {one: (LUA / "include" / f"{one}.lua").read_text("utf-8") for one in included}
        for one, text in texts.items():
            functions = re.findall(r"^local function (\w+)", text, re.MULTILINE)
            others = code + "".join(other for key, other in texts.items() if key != one)
            assert any(re.search(rf"\b{function}\(", others) for function in functions), (
                f"{name}.lua includes {one} and calls nothing of it"
            )
    assert sorted(wanted) == INCLUDES


def test_every_script_is_an_operation_of_the_store_and_the_other_way_round() -> None:
    python = "\n".join(path.read_text("utf-8") for path in STORE.glob("*.py"))
    assert sorted(set(re.findall(r'\.run\(\s*"(\w+)"', python))) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_time_comes_from_one_clock_and_nothing_else_is_left_to_chance(name: str) -> None:
    own = "\n".join(line for _, line in Script.read(LUA / f"{name}.lua").code)
    assert '"TIME"' not in own, "use clock_ms, so that tests can set the time"
    assert "math.random" not in own
    assert "os." not in own
    if "clock_ms(" in own:
        assert "clock_ms(ARGV[1])" in own
        listed = [(index, local) for _, index, _, local in Script.read(LUA / f"{name}.lua").listed("ARGV")]
        assert listed[0] == (1, "now")


def test_every_call_of_the_walk_brings_as_many_keys_and_arguments_as_the_headers_list(
    checked: CheckedDatabase,
) -> None:
    """CheckedDatabase compares at each call; here every script of the job store is called, groups filled."""
    called: set[str] = set()
    widths = {
        "claim": 4,
        "mark_begun": 2,
        "reserve": 5,
        "release": 11,
        "settle": 11,
        "redrive": 4,
        "put_shard": 3,
    }

    def note(script: str, keys: object, args: object) -> bool:
        called.add(script)
        rest = signature(script)[1][1]
        if script in widths:
            assert rest is not None
            assert (len(args) - rest + 1) % widths[script] == 0  # type: ignore[arg-type]
        return True

    world = World(checked)
    checked.before_script = note
    world.store(
        [(0, range(3)), (1, range(3, 6))], bad=[1], retention_ms=DAY_MS, webhook="https://hooks.example/"
    )
    world.submissions.beat("job", "sub")
    world.submissions.begin("other", "sub", {}, 1_000)
    world.submissions.put_file("other", "sub", "digest", b"bytes")
    world.beat("w1")
    leases = world.leases(world.take(), begun=False)
    world.items.reserve("job", "w1", [(lease, Bid(1, 1.0, 0)) for lease in leases.values()])
    world.items.mark_begun("job", "w1", list(leases.values()))
    world.release(leases[0], ReleaseKind.RETRY)
    world.settle(leases[2], byte=ItemByte.FAILED)
    world.redrive(1, 2)
    world.jobs.note("job", "seen", "person")
    world.jobs.pin("job", "project")
    assert Outbox(checked).count_redrive("job", 1) == 1
    assert Upkeep(checked).recount("job", 2, mend=False) == []
    world.outcomes.keep_file("job", "digest", b"bytes")
    uploads = UploadStore(checked)
    assert uploads.claim("project", "digest", "job", "worker", "name", 0).name == "name"
    assert uploads.uploaded("project", "digest", "worker", "uri", 1)
    assert uploads.leave("project", "digest", ["job"]) == "name"
    uploads.gone("project", "digest", "name")
    collectors = CollectorStore(checked)
    collectors.add("c", {"id": "a"}, "digest", flush_items=1, flush_ms=1, options="{}")
    batch = collectors.cut("c", "owner", force=False)
    assert isinstance(batch, Batch)
    collectors.done("c", batch)
    world.jobs.hold("job", HoldCause.PERSON, "", "person")
    world.jobs.unhold("job", None, "person")
    assert world.events.claim("job", world.events.waiting("job")[0], due_ms=0)
    world.heal()
    world.settle(*world.leases(world.take()).values())
    world.outcomes.compact("job", 0)
    world.jobs.cancel("job", by="person")
    world.jobs.cancel_sweep("job", 2)
    assert world.finish() == "cancelled"
    world.jobs.delete("job")
    assert called >= set(SCRIPTS) - {"draw", "fail", "refuse"}, "the quotas have tests of their own"
