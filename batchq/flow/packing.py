"""Which items of a message go together: a part each, cut into packs of one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from batchq.core.packs import most_after
from batchq.flow.gates import raw_tokens
from batchq.flow.patience import patiently
from batchq.flow.process import SUSPECT_CRASHES
from batchq.flow.task import Asked, Task
from batchq.flow.walk import Walk
from batchq.operations.base import Call, PackedOperation


@dataclass(frozen=True, slots=True)
class Part:
    """An item and what it brings to a call."""

    task: Task
    call: Call


@dataclass(frozen=True, slots=True)
class Pack:
    """What goes as one call. `refused`: the refusal of a larger one, in which these were; their attempt has begun."""

    parts: tuple[Part, ...]
    refused: Asked | None = None

    @property
    def tasks(self) -> list[Task]:
        return [part.task for part in self.parts]

    @property
    def is_suspect(self) -> bool:
        return self.parts[0].task.lease.crashes >= SUSPECT_CRASHES

    def halves(self, refused: Asked | None) -> list[Pack]:
        middle = len(self.parts) // 2
        return [Pack(self.parts[:middle], refused), Pack(self.parts[middle:], refused)]


def cut(parts: Sequence[Part], operation: PackedOperation, walk: Walk) -> list[Pack]:
    """Into as few calls as may be. Items that failed before go in smaller packs, suspects alone and last."""
    if not parts:
        return []
    first, stopping = parts[0].task, walk.stop.is_set
    passage = first.passage
    most = patiently(lambda: passage.most_together(operation.pack), stopping)
    budget = patiently(passage.token_budget, stopping)
    max_attempts = walk.policy(first.lane.operation).max_attempts

    def turn(part: Part) -> tuple[bool, int]:  # the largest packs first
        lease = part.task.lease
        if lease.crashes >= SUSPECT_CRASHES:
            return True, -1
        return False, -most_after(lease.attempts, lease.limited, max_attempts, most)

    packs: list[Pack] = []
    for (_, minus), alike in groupby(sorted(parts, key=turn), key=turn):
        by_kind: dict[object, list[Part]] = {}
        for part in alike:
            by_kind.setdefault(operation.together(part.call), []).append(part)
        for kind in by_kind.values():
            packs += [Pack(tuple(group)) for group in _groups(kind, -minus, budget)]
    return packs


def _groups(parts: Sequence[Part], most: int, budget: int) -> list[list[Part]]:
    passage = parts[0].task.passage
    groups: list[list[Part]] = []
    raw = 0
    for part in parts:
        own = raw_tokens(part.call)
        raw += own
        upper = passage.experience.estimate(raw).upper
        if not groups or len(groups[-1]) >= most or upper > budget:
            groups.append([])
            raw = own
        groups[-1].append(part)
    return groups
