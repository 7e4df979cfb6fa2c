"""Faults by option: what goes wrong, how often, for whom and when.

A fault is written  KIND[:PART,PART…][@FROM-TO], or KIND,PART,PART…

    503                       every request
    503:0.1                   one in ten, drawn from the seed and the number of the request
    429:first=2               the first two requests of each prompt
    reset:0.5,match=invoice   half of the requests whose prompt contains "invoice" (match comes last and
                              takes the rest, commas too)
    429@0-60                  seconds 0 to 60 after the fault was set (at the start, or by a change of options)
    hang@30-                  from second 30 on
    drip:s=5                  parts of a kind: s seconds, mb size of `huge`, retry seconds of a 429's RetryInfo

Of several faults the first that strikes decides. Kinds:

    400 401 403 404 408 499 500 501 502 503 504   that status; 502 with a page of HTML
    429              a minute quota is broken (QuotaFailure, Help, RetryInfo)
    429-day          a day quota, which carries a short retryDelay all the same
    429-no-retry     a minute quota, without RetryInfo
    429-zero         a limit of 0: the model is not in this tier
    capacity         429 without details
    drop             the connection is closed before an answer
    reset            … in the middle of the body
    drip             the body comes in drops over s seconds (30)
    hang             no answer; given up after s seconds (3600)
    slow             s seconds (5) more, then the ordinary answer
    not-json half-json empty charset huge            a 200 whose body is text, JSON cut in half, nothing,
                                                     no UTF-8, mb (50) megabytes
    no-candidates blocked safety recitation          what Gemini does not answer, and why
    truncated no-text no-parts malformed schema      an answer cut off, of no text, without parts, a malformed
                                                     function call, of JSON that breaks the schema asked for

`schema` strikes only requests with a schema, the last two lines only generateContent. 4xx faults use up no
quota, the others do, as a failed call does at Google.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from batchq.errors import ConfigurationError

STATUS_KINDS = frozenset(
    {"400", "401", "403", "404", "408", "499", "500", "501", "502", "503", "504", "429"}
    | {"429-day", "429-no-retry", "429-zero", "capacity"}
)
BODY_KINDS = frozenset(
    {"drop", "reset", "drip", "hang", "slow", "not-json", "half-json", "empty", "charset", "huge"}
)
ANSWER_KINDS = frozenset(
    {"no-candidates", "blocked", "safety", "recitation"}
    | {"truncated", "no-text", "no-parts", "malformed", "schema"}
)
KINDS = STATUS_KINDS | BODY_KINDS | ANSWER_KINDS

_SPAN = re.compile(r"@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?$")
_PARTS = re.compile(r"[:,]")
_DIRECTIVE = re.compile(r"\[\[emulate:([^\]]+)\]\]")
_NUMBERS = {"s": ("drip", "hang", "slow"), "mb": ("huge",), "retry": ("429", "429-day", "429-zero")}


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. See the grammar above."""

    kind: str
    rate: float = 1.0  # of the requests it looks at
    match: str | None = None  # must occur in the prompt
    first: int | None = None  # so many requests of each prompt; None: all
    from_s: float = 0.0  # after the rule was set
    to_s: float | None = None  # None: for ever
    s: float | None = None  # seconds of drip, hang, slow; None: the kind's own
    mb: int = 50  # of huge
    retry: float = 26.0  # seconds, of a 429's RetryInfo

    @property
    def before_quota(self) -> bool:
        """A 4xx: refused at the door."""
        return self.kind in STATUS_KINDS and not self.kind.startswith("5")


def parse_fault(spec: str) -> Fault:
    """The fault of a spec. Raises ConfigurationError that says what is wrong with it."""
    rest = spec.strip()
    given: dict[str, object] = {}
    if found := _SPAN.search(rest):
        rest = rest[: found.start()]
        given["from_s"] = float(found[1])
        given["to_s"] = float(found[2]) if found[2] else None
        if found[2] and float(found[2]) <= float(found[1]):
            raise _wrong(spec, f"the span {found[0][1:]} is empty")
    kind, parts = _PARTS.split(rest, maxsplit=1) if _PARTS.search(rest) else (rest, "")
    if kind not in KINDS:
        raise _wrong(spec, f"{kind!r} is no kind of fault; there are {', '.join(sorted(KINDS))}")
    while parts:
        if parts.startswith("match="):
            part, parts = parts, ""
        else:
            part, _, parts = parts.partition(",")
        name, _, value = part.partition("=") if "=" in part else ("rate", "=", part)
        if name in given:
            raise _wrong(spec, f"{name} is given twice")
        given[name] = _value(spec, kind, name, value)
    return Fault(kind, **given)  # type: ignore[arg-type]


def _value(spec: str, kind: str, name: str, value: str) -> object:
    if name == "match":
        if not value:
            raise _wrong(spec, "match= needs a text")
        return value
    if name != "rate" and name != "first" and kind not in _NUMBERS.get(name, ()):
        raise _wrong(spec, f"{name} is no part of {kind}")
    try:
        number = float(value)
        if name == "rate" and 0 < number <= 1:
            return number
        if name in ("first", "mb") and number >= 1 and number.is_integer():
            return int(number)
        if name in ("s", "retry") and 0 <= number < 1e9:
            return number
    except ValueError:
        pass
    wanted = {
        "rate": "above 0 and at most 1",
        "first": "a whole number from 1",
        "mb": "a whole number from 1",
    }
    raise _wrong(spec, f"{name}={value or '(nothing)'} must be {wanted.get(name, 'a number from 0')}")


def _wrong(spec: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"fault {spec!r}: {what}. Write KIND[:RATE][,first=N][,match=TEXT][@FROM-TO], as in 503:0.1 or "
        "429:first=2@0-60"
    )


def directives_in(prompt: str) -> tuple[Fault, ...]:
    """Faults that a prompt asks for: `[[emulate:503 first=2]]`. Raises ConfigurationError."""
    if "[[emulate:" not in prompt:
        return ()
    found = (spec.split(maxsplit=1) for spec in _DIRECTIVE.findall(prompt))
    return tuple(
        parse_fault(words[0] + (":" + ",".join(words[1].split()) if len(words) > 1 else ""))
        for words in found
        if words
    )


@dataclass(slots=True)
class FaultBook:
    """Which fault strikes a request. Counts what `first` needs, by prompt."""

    faults: tuple[Fault, ...]
    seed: int
    set_us: int  # when these faults were set
    _struck: dict[tuple[str, bytes], int] = field(default_factory=dict)

    def pick(
        self,
        number: int,
        prompt: str,
        key: bytes,
        now_us: int,
        *,
        generates: bool,
        has_schema: bool,
        extra: Sequence[Fault] = (),
    ) -> Fault | None:
        """The fault of request `number` (from 0), whose prompt has the digest `key`; None: none."""
        elapsed_s = (now_us - self.set_us) / 1e6
        for index, fault in enumerate((*extra, *self.faults)):
            if fault.kind in ANSWER_KINDS and not generates:
                continue
            if fault.kind == "schema" and not has_schema:
                continue
            if elapsed_s < fault.from_s or (fault.to_s is not None and elapsed_s >= fault.to_s):
                continue
            if fault.match is not None and fault.match not in prompt:
                continue
            if fault.rate < 1 and self._dice(number, index) >= fault.rate:
                continue
            if fault.first is not None:
                account = (f"{index}:{fault.kind}", key)
                struck = self._struck.get(account, 0)
                if struck >= fault.first:
                    continue
                self._struck[account] = struck + 1
            return fault
        return None

    def _dice(self, number: int, index: int) -> float:
        drawn = blake2b(f"{self.seed}:{number}:{index}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64
