"""Python and Lua speak of states and keys in the same words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from store_world import LUA, World

from batchq.core import lifecycle
from batchq.core.lifecycle import (
    DEAD_LETTERS,
    MOVES,
    SETTLED,
    SETTLED_BYTE,
    STATE_OF_BYTE,
    HoldCause,
    ItemByte,
    ItemState,
    JobState,
)
from batchq.store.keys import GlobalKeys, JobKeys
from batchq.store.leases import ReleaseKind, Verdict

SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
PENDING = [byte for byte, state in STATE_OF_BYTE.items() if state is ItemState.PENDING]

# The letters that each script may write into the states. settle writes what its caller names.
WRITES = {
    "put_shard": ".F",
    "take": "d",
    "claim": "lXb",
    "release": "wXb",
    "settle": "SFD",
    "heal": "DXb",
    "cancel_sweep": "X",
    "redrive": "r",
}
# The states from which each of them moves an item.
FROM: dict[str, list[str]] = {
    "take": PENDING,
    "claim": ["d", "w"],
    "release": ["l"],
    "settle": ["l"],
    "heal": ["d", "l", "w"],
    "cancel_sweep": PENDING,
    "redrive": ["F", "D"],
}


def code(path: Path) -> list[tuple[str, str]]:
    """Place and text of each line, comments left out."""
    lines = path.read_text("utf-8").splitlines()
    return [(f"{path.name}:{n}", re.sub(r"--.*$", "", line)) for n, line in enumerate(lines, 1)]


LINES = [line for path in sorted(LUA.rglob("*.lua")) for line in code(path)]


def lifecycle_place(name: str) -> str:
    text = Path(lifecycle.__file__).read_text("utf-8").splitlines()
    return next(
        f"core/lifecycle.py:{n}" for n, line in enumerate(text, 1) if line.startswith(f"class {name}")
    )


def test_every_byte_has_a_state_and_every_settled_state_its_byte() -> None:
    assert set(STATE_OF_BYTE) == set(ItemByte)
    assert {state: STATE_OF_BYTE[byte] for state, byte in SETTLED_BYTE.items()} == {s: s for s in SETTLED}
    assert all(len(byte) == 1 for byte in ItemByte)
    assert set(MOVES) == set(ItemState)


@pytest.mark.parametrize("script", ["claim", "release", "heal", "redrive"])
def test_a_script_writes_only_the_letters_of_its_transition(script: str) -> None:
    """The other writers take their letter from an argument or write whole runs: generated histories watch those."""
    own = LUA / f"{script}.lua"
    included = re.findall(r"^--- include (\w+)$", own.read_text("utf-8"), re.MULTILINE)
    written = set()
    for path in (own, *(LUA / "include" / f"{name}.lua" for name in included)):
        for place, line in code(path):
            for letter in re.findall(r'redis\.call\("SETRANGE", (?:keys\.)?states, pos, "(.)"\)', line):
                assert letter in set(ItemByte), (
                    f"{place} writes {letter!r}, no byte of {lifecycle_place('ItemByte')}"
                )
                written.add(letter)
    assert written == set(WRITES[script])


def test_only_the_known_scripts_write_states() -> None:
    from batchq.store.scripts import source

    writers = {name for name in SCRIPTS if '"SETRANGE"' in source(name)}
    assert writers == set(WRITES)


@pytest.mark.parametrize("script", sorted(FROM))
def test_the_letters_of_each_script_are_moves_of_the_lifecycle(script: str) -> None:
    for before in FROM[script]:
        for after in WRITES[script]:
            old, new = STATE_OF_BYTE[before], STATE_OF_BYTE[after]
            assert old is new or new in MOVES[old], (
                f"{script}.lua moves {before} to {after}: see core/lifecycle.py"
            )


def test_sets_of_letters_in_lua_are_those_of_python() -> None:
    settled = {str(byte) for byte in SETTLED_BYTE.values()}
    pending = {str(byte) for byte in PENDING}
    dead = {str(SETTLED_BYTE[state]) for state in DEAD_LETTERS}
    seen = {"settled": 0, "pending": 0, "dead": 0}
    for place, line in LINES:
        for letters in re.findall(r'"\[\^?([^\]"]+)\]"|find\("([A-Z]{2,})"', line):
            text = letters[0] or letters[1]
            if text == ",":
                continue
            if set(text) & settled:
                assert set(text) == settled, f"{place}: {text} is not {sorted(settled)}"
                seen["settled"] += 1
            elif set(text) & pending:
                assert set(text) == pending, f"{place}: {text} is not {sorted(pending)}"
                seen["pending"] += 1
        compared = re.findall(r'\bbyte == "(.)"', line)
        if len(compared) == 2:
            assert set(compared) == dead, f"{place}: dead letters are {sorted(dead)}"
            seen["dead"] += 1
    assert seen["settled"] >= 4
    assert seen["pending"] == seen["dead"] == 1


def test_every_letter_that_lua_compares_or_counts_is_a_byte() -> None:
    for place, line in LINES:
        for letter in re.findall(r'\bbyte [=~]= "(.)"', line):
            assert letter in set(ItemByte), f"{place}: {letter!r} is no byte of {lifecycle_place('ItemByte')}"
        for letter in re.findall(r'"n_(\w)"', line):
            assert letter in set(SETTLED_BYTE.values()), f"{place}: counts n_{letter}"


def test_job_states_and_hold_causes_in_lua_are_those_of_python() -> None:
    states, seen = set(JobState), set()
    for place, line in LINES:
        found = re.findall(
            r'(?:state|record\[\d\]|known\[\d\]) [=~]= "([a-z]+)"|HSET.*"state", "([a-z]+)"', line
        )
        found += re.findall(r'local state = .* and "([a-z]+)" or "([a-z]+)"', line)
        found += re.findall(r'then state = "([a-z]+)"()', line)
        for pair in found:
            for word in filter(None, pair):
                if word in ("cancel", "deadline"):
                    continue  # of the cancel flag
                assert word in states, f"{place}: {word!r} is no state of {lifecycle_place('JobState')}"
                seen.add(word)
        for cause in re.findall(r'string\.find\(holds, "(\w+)"', line):
            assert cause in set(HoldCause), (
                f"{place}: {cause!r} is no cause of {lifecycle_place('HoldCause')}"
            )
    assert seen >= {"receiving", "pending", "processing", "completed", "failed", "cancelled"}


def test_verdicts_and_kinds_of_release_are_those_of_the_headers() -> None:
    claim = (LUA / "claim.lua").read_text("utf-8")
    assert set(re.findall(r'^--   \{"(\w+)"', claim, re.MULTILINE)) == set(Verdict)
    release = (LUA / "release.lua").read_text("utf-8")
    assert set(
        re.findall(
            r'"(\w+)"\s+(?:an attempt|refused|the provider|the server|the job|its worker|no call)', release
        )
    ) == set(ReleaseKind)
    for kind in re.findall(r'kind [=~]= "(\w+)"', release):
        assert kind in set(ReleaseKind)


def test_no_script_makes_the_name_of_a_key() -> None:
    """The first argument of a command is a name that came in KEYS."""
    for place, line in LINES:
        for command, key in re.findall(r'redis\.call\("([A-Z]+)"(?:, ([^,)]+))?', line):
            if command in ("TIME", "INFO"):  # they take no key
                continue
            assert re.fullmatch(
                r"(?:keys\.|tally\.keys\.|q\.)?[a-z]\w*|KEYS\[\d+( \+ 2 \* tonumber\(lane|\])?|unpack\(KEYS",
                key,
            ), f"{place}: {command} {key}"


def test_only_keys_py_makes_names_of_keys() -> None:
    for path in LUA.parent.glob("*.py"):
        if path.name == "keys.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "namespace":
                allowed = path.name == "database.py"
                assert allowed, f"{path.name}:{node.lineno} makes a name of its own from the namespace"


def test_every_key_on_the_server_is_one_that_keys_py_names(world: World) -> None:
    world.store([(0, (0, 1)), (1, (2, 3))], bad=[1])
    world.submissions.begin("other", "sub", {}, 1_000)
    world.submissions.put_file("other", "sub", "digest", b"bytes")
    world.beat("w1")
    world.fleet.lock("w1", 60_000)
    world.fleet.join_queue("generate", "job", 0, 5.0)
    leases = world.leases(world.take(lane=1), lane=1)
    world.release(leases[2], lane=1)
    world.settle(leases[3], lane=1)
    world.settle(*world.leases(world.take()).values())
    world.outcomes.compact("job", 0)
    world.jobs.note("job", "looked at", "person")
    jobs = [JobKeys("batchq", job_id).all(2) for job_id in ("job", "other")]
    shared = GlobalKeys("batchq")
    named = {*jobs[0], *jobs[1], shared.due, shared.all, shared.beats, shared.weather, shared.sweeper()}
    found = {name.decode() for name in world.database.command("KEYS", "*")}
    assert found <= {*named, shared.busy("generate")}
    keys = JobKeys("batchq", "job")
    assert found >= {keys.job, keys.shards, keys.states, keys.input, keys.output, keys.results, keys.flight}
    assert found >= {keys.slow, keys.log, keys.lane(0), keys.lane(1), keys.back(1)}


def test_all_keys_of_a_job_share_one_hash_tag_and_no_two_are_alike() -> None:
    keys = JobKeys("batchq", "j").all(3)
    assert len(set(keys)) == len(keys)
    assert {key.partition("{")[2].partition("}")[0] for key in keys} == {"j"}
    assert all(key.startswith("batchq:{") for key in keys)
