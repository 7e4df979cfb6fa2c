"""Which quota a name means: people name a model, and each project has a quota of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from batchq.core.wording import count
from batchq.errors import InputError, NotFound
from batchq.flow.gates import model_quota
from batchq.store.fleet import Beat

MODEL, QUEUE, JOB = "model:", "queue:", "job:"
PREFIXES = (MODEL, QUEUE, JOB)


@dataclass(frozen=True, slots=True)
class Meant:
    """The quota that a name means."""

    name: str  # in full
    why: str = ""  # this one, where it could have been another


def model_meant(
    model: str, known: Iterable[str], alive: Sequence[Beat], own_project: Callable[[], str], *, new: bool
) -> Meant:
    """The quota of a model of the live workers' project; while no worker lives, of this process's own.

    `known` are the quotas that were ever used; `new`: it may be another. Raises NotFound, InputError.
    """
    used = [one for one in known if one.startswith(MODEL) and one.endswith(f":{model}")]
    live = sorted({beat.project for beat in alive if beat.project})
    projects = live or [project for project in (own_project(),) if project]
    expected = [model_quota(project, model) for project in projects]
    if new and len(expected) == 1:
        fitting = expected
    else:
        fitting = [one for one in expected if one in used] or ([] if live else used)
    told = {one: _told(one, alive) for one in sorted({*used, *(expected if new else ())})}
    if len(fitting) == 1:
        (chosen,) = fitting
        others = [text for one, text in told.items() if one != chosen]
        return Meant(chosen, _why(live, others, expected=chosen in expected))
    listed = ", ".join(told.values())
    if len(told) > 1 and (new or fitting):
        raise InputError(f"several projects have a quota {model}: name one of {listed}")
    if new:
        raise InputError(
            f"whose quota {model} is, neither a live worker nor a setting here says: name it in full, "
            f"model:PROJECT:{model}, or set BATCHQ_PROJECT"
        )
    if told:
        raise NotFound(
            f"no live worker's project has a quota {model}: to mean another, name {listed} in full"
        )
    raise NotFound(f"no quota {model!r} was ever used: `batchq quotas show` lists them")


def workers_of(name: str, alive: Iterable[Beat]) -> int | None:
    """Live workers whose calls count against a quota; None for a job's, which is everybody's."""
    if name.startswith(JOB):
        return None
    if name.startswith(QUEUE):
        counted = [beat for beat in alive if name.removeprefix(QUEUE) in beat.queues]
    else:
        counted = [beat for beat in alive if beat.project and name.startswith(model_quota(beat.project, ""))]
    return len({(beat.name, beat.host) for beat in counted})


def _told(name: str, alive: Sequence[Beat]) -> str:
    workers = workers_of(name, alive)
    return f"{name} ({count(workers, 'live worker') if workers else 'no live worker'})"


def _why(live: Sequence[str], others: Sequence[str], *, expected: bool) -> str:
    if live and not others:
        return ""
    if len(live) == 1:
        reason = "the live workers' project"
    elif live:
        reason = "of the live workers' projects the one that has used it"
    elif expected:
        reason = "no worker is live: the project of the settings here"
    else:
        reason = "no worker is live: the only one that was ever used"
    return f"{reason}; not {', '.join(others)}" if others else reason
