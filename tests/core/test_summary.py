"""What records say to people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batchq.core import summary, wording
from batchq.core.job import JobRecord, Slow
from batchq.core.lifecycle import JobState
from batchq.core.summary import Example

RECORD = JobRecord(
    id="j",
    state=JobState.COMPLETED,
    reason=None,
    operation="generate",
    model="gemini-2.5-flash-lite",
    options={},
    metadata={},
    total=200,
    succeeded=190,
    failed=7,
    dead_letter=1,
    cancelled=2,
    pending=0,
    processing=0,
    created_at=1_000.0,
    started_at=1_010.0,
    finished_at=1_110.0,
    requests=1_234,
    rate_limited=5,
    retries=1,
    repeated=0,
    input_tokens=12_345,
    output_tokens=6_789,
    cached_tokens=2_345,
    cost_usd=1.5,
    wasted_tokens=1_000,
    wasted_usd=0.25,
    latency_ms={"p50": 812, "p95": 1_900, "max": 61_000},
    slowest=(Slow("a", 0, 1_500), Slow("b\x1b[2J", 1, 61_000)),
    errors={"BLOCKED": 1, "SCHEMA_MISMATCH": 7},
    history=(),
    now=2_000.0,
)
RUNNING = replace(
    RECORD, state=JobState.PROCESSING, succeeded=90, pending=90, processing=10, finished_at=None, now=1_060.0
)


def test_a_report_has_a_row_for_each_thing_worth_knowing() -> None:
    rows = summary.report(RECORD, {"SCHEMA_MISMATCH": Example("q-18", "no\nfit\x9b31m")})
    assert rows == [
        ("state", "completed"),
        ("items", "200: 190 succeeded, 7 failed, 1 dead letter, 2 cancelled"),
        ("time", "1:40 min, 2.0/s"),
        ("latency", "p50 812 ms, p95 1.9 s, longest 1:01 min"),
        ("calls", "1,234 requests, 5 rate limited, 1 retry"),
        ("tokens", "12,345 in (2,345 of it cached), 6,789 out"),
        ("cost", "$1.50 (list prices of 2026-11 or your own; an estimate)"),
        ("waste", "1,000 tokens, $0.2500, for failed and repeated attempts"),
        ("slowest", "b\\x1b[2J 1:01 min, a 1.5 s"),
        ("errors", "7 × SCHEMA_MISMATCH, such as q-18: no\\nfit\\x9b31m"),
        ("errors", "1 × BLOCKED"),
    ]


def test_a_report_leaves_out_what_is_not_known_yet() -> None:
    fresh = replace(
        RUNNING,
        state=JobState.PENDING,
        started_at=None,
        requests=0,
        input_tokens=0,
        output_tokens=0,
        cost_usd=None,
        wasted_tokens=0,
        latency_ms={},
        slowest=(),
        errors={},
    )
    assert [label for label, _ in summary.report(fresh)] == ["state", "items"]
    unpriced = replace(RECORD, cost_usd=None, model="mine")
    assert ("cost", "no price is known for mine") in summary.report(unpriced)


def test_progress_tells_rate_failures_and_the_time_left() -> None:
    assert summary.progress_line(replace(RUNNING, eta=55.0)) == (
        "50 %: 100 of 200 items, 8 failed, 2 cancelled, 2.0/s, 1 retry, 5 rate limited, 19.1k tokens, $1.50, "
        "50 s, 55 s left"
    )


def test_the_report_of_an_open_job_tells_when_it_is_expected_to_end() -> None:
    assert ("expected", "in 55 s") in summary.report(replace(RUNNING, eta=55.0))
    assert "expected" not in dict(summary.report(RUNNING))


def test_what_was_cancelled_is_no_part_of_the_rate_and_times_carry_no_noise() -> None:
    cancelled = replace(RECORD, succeeded=50, failed=0, dead_letter=0, cancelled=150)
    assert cancelled.rate == 0.5
    shown = replace(RECORD, finished_at=1_110.1234567, cost_usd=0.1 + 0.2).to_json()
    assert (shown["duration_s"], shown["cost_usd"]) == (100.123, 0.3)


def test_idle_time_is_told_and_no_part_of_the_rate() -> None:
    night = replace(RECORD, finished_at=1_010.0 + 28_900, idle_s=28_800.0)
    assert ("time", "8:01:40 h, 8:00:00 h of it idle, 2.0/s") in summary.report(night)
    resumed = replace(RUNNING, now=1_010.0 + 28_850, idle_s=28_800.0, eta=45.2)
    assert "2.0/s" in summary.facts(resumed)
    assert "45 s left" in summary.facts(resumed)


def test_an_open_job_tells_its_pace_of_late() -> None:
    assert "4.0/s" in summary.facts(replace(RUNNING, pace=4.0))
    assert "2.0/s" in summary.facts(replace(RECORD, pace=4.0)), "an ended one its whole time's"


def test_advice_is_given_only_where_there_is_something_to_do() -> None:
    assert summary.what_to_do(replace(RECORD, failed=0, dead_letter=0)) == []
    assert any("dlq redrive j" in line for line in summary.what_to_do(RECORD))
    assert not any(
        "redrive" in line for line in summary.what_to_do(replace(RECORD, state=JobState.CANCELLED))
    )
    assert any("resume j" in line for line in summary.what_to_do(replace(RUNNING, state=JobState.PAUSED)))


def test_a_job_whose_quota_is_paused_is_told_to_resume_that() -> None:
    paused = replace(
        RUNNING,
        state=JobState.PAUSED,
        paused_by=("quota",),
        waits_for="job:j",
        failed=0,
        dead_letter=0,
    )
    quota = "let its quota go on: batchq quotas resume job:j"
    assert summary.what_to_do(paused) == [quota]
    run = summary.what_to_do(paused, "batchq run --resume")
    assert run == [quota, "go on when the cause is gone: batchq run --resume j"], "its workers ended with it"
    both = summary.what_to_do(replace(paused, paused_by=("person", "quota")))
    assert both == [quota, "go on when the cause is gone: batchq resume j"]
    spent = summary.what_to_do(replace(paused, paused_by=("budget",), waits_for=None))
    assert spent == ["go on when the cause is gone: batchq resume j --max-cost USD, above what is spent"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_control_characters_are_shown_and_never_sent(raw: str, shown: str) -> None:
    assert wording.one_line(raw) == shown


def test_numbers_are_written_as_people_read_them() -> None:
    assert [wording.duration(s) for s in (0, 9.94, 9.96, 59.6, 61, 7_509)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "1:00 min",
        "1:01 min",
        "2:05:09 h",
    ]
    assert [wording.money(usd) for usd in (0, 2.9e-06, 0.0042, 0.5, 1_234.5)] == [
        "$0",
        "$2.9e-06",
        "$0.0042",
        "$0.5000",
        "$1,234.50",
    ]
    assert [wording.short(n) for n in (950, 12_345, 4_500_000)] == ["950", "12.3k", "4.5M"]
    assert [wording.per_second(rate) for rate in (2_000, 0.5)] == ["2,000.0/s", "30.0/min"]
