"""Faults strike whom, when and as often as they were told to, and look to a client like the real thing."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from google.genai import errors, types

from batchq.emulator import Emulator, Fault, expected_text, parse_fault
from batchq.emulator.faults import KINDS, FaultBook, directives_in
from batchq.errors import ConfigurationError

LITE = "gemini-2.5-flash-lite"
SECOND_US = 1_000_000


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


# --- the grammar -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("503", Fault("503")),
        ("503:0.1", Fault("503", rate=0.1)),
        ("503,match=a, b", Fault("503", match="a, b")),
        ("503,first=1@0-60", Fault("503", first=1, to_s=60)),
        ("429:1.0@0-60", Fault("429", from_s=0, to_s=60)),
        ("hang@30-", Fault("hang", from_s=30)),
        ("schema:first=1", Fault("schema", first=1)),
        ("reset:match=foo", Fault("reset", match="foo")),
        ("reset:0.5,first=2,match=a, b=c", Fault("reset", rate=0.5, first=2, match="a, b=c")),
        ("drip:s=0.5,match=x@1-2", Fault("drip", s=0.5, match="x", from_s=1, to_s=2)),
        ("429:retry=86400", Fault("429", retry=86400)),
        ("huge:mb=2", Fault("huge", mb=2)),
    ],
)
def test_a_fault_is_read_as_written(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "no kind"),
        ("505", "no kind"),
        ("503:0", "rate=0 must be above 0"),
        ("503:1.5", "rate=1.5 must be"),
        ("503:often", "rate=often must be"),
        ("503:0.1,0.2", "rate is given twice"),
        ("503:first=0", "first=0 must be"),
        ("503:s=3", "s is no part of 503"),
        ("503:colour=red", "colour is no part"),
        ("503:match=", "match= needs a text"),
        ("503@60-10", "the span 60-10 is empty"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(spec: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_fault(spec)
    assert said in str(caught.value)
    assert "Write KIND" in str(caught.value)


def test_a_prompt_can_name_its_faults() -> None:
    found = directives_in("do it [[emulate:503 first=2]] and [[emulate:429]]")
    assert found == (Fault("503", first=2), Fault("429"))
    assert directives_in("nothing [here]") == ()


# --- who is struck ---------------------------------------------------------------------------------------


def struck(book: FaultBook, number: int, prompt: str = "p", at_s: float = 0, **more: Any) -> str | None:
    kinds = {"generates": True, "has_schema": True} | more
    fault = book.pick(number, prompt, prompt.encode(), int(at_s * SECOND_US), **kinds)
    return fault.kind if fault else None


def test_a_rate_is_met_and_the_same_seed_strikes_the_same_requests() -> None:
    hits = [
        [struck(FaultBook((parse_fault("503:0.2"),), seed, 0), number) for number in range(2000)]
        for seed in (1, 1, 2)
    ]
    assert hits[0] == hits[1] != hits[2]
    assert 340 < hits[0].count("503") < 460


def test_first_is_counted_by_prompt() -> None:
    book = FaultBook((parse_fault("503:first=2"),), 0, 0)
    seen = [struck(book, number, prompt) for number, prompt in enumerate("aabaabbb")]
    assert seen == ["503", "503", "503", None, None, "503", None, None]


def test_a_span_counts_from_when_the_fault_was_set() -> None:
    book = FaultBook((parse_fault("429@10-20"),), 0, 100 * SECOND_US)
    assert [struck(book, 0, at_s=at) for at in (105, 110, 119.9, 120)] == [None, "429", "429", None]


def test_faults_of_answers_leave_other_requests_alone() -> None:
    book = FaultBook((parse_fault("schema"), parse_fault("safety")), 0, 0)
    assert struck(book, 0) == "schema"
    assert struck(book, 0, has_schema=False) == "safety"
    assert struck(book, 0, generates=False, has_schema=False) is None


def test_the_first_of_several_faults_that_strikes_decides() -> None:
    book = FaultBook((parse_fault("503:match=a"), parse_fault("500")), 0, 0)
    assert [struck(book, 0, prompt) for prompt in ("xax", "b")] == ["503", "500"]


# --- how it looks ----------------------------------------------------------------------------------------


def ask(client: Any, prompt: str = "hello", **config: Any) -> Any:
    return client.models.generate_content(model=LITE, contents=prompt, config=config or None)


@pytest.mark.parametrize("kind", ["400", "401", "403", "404", "408", "499", "500", "501", "503", "504"])
def test_a_status_is_an_error_of_the_api(gemini: Any, emulator: Emulator, kind: str) -> None:
    emulator.configure(faults=[kind])
    with pytest.raises(errors.APIError) as caught:
        ask(gemini)
    assert caught.value.code == int(kind)
    assert caught.value.message
    assert emulator.stats()["outcomes"] == {f"fault:{kind}": 1}


def test_502_comes_with_a_page_of_html(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["502"])
    with pytest.raises(errors.ServerError) as caught:
        ask(gemini)
    assert caught.value.code == 502
    assert "<html" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "quota", "delay"),
    [
        ("429", "PerMinute", "26s"),
        ("429:retry=86400", "PerMinute", "86400s"),
        ("429-day", "PerDay", "26s"),
        ("429-no-retry", "PerMinute", None),
        ("429-zero", "PerMinute", "26s"),
        ("capacity", None, None),
    ],
)
def test_a_429_names_its_quota_or_nothing(
    gemini: Any, emulator: Emulator, kind: str, quota: str | None, delay: str | None
) -> None:
    emulator.configure(faults=[kind])
    with pytest.raises(errors.ClientError) as caught:
        ask(gemini)
    assert caught.value.code == 429
    details = {
        one["@type"].rsplit(".", 1)[-1]: one for one in caught.value.details["error"].get("details", [])
    }
    violations = details.get("QuotaFailure", {}).get("violations", [])
    assert [quota in one["quotaId"] for one in violations] == ([True] if quota else [])
    assert details.get("RetryInfo", {}).get("retryDelay") == delay
    assert ("limit: 0" in str(caught.value)) is (kind == "429-zero")


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_connection_that_breaks_is_an_error_of_the_network(
    gemini: Any, emulator: Emulator, kind: str
) -> None:
    emulator.configure(faults=[kind])
    with pytest.raises(httpx2.TransportError):
        ask(gemini)
    emulator.configure(faults=[])
    assert ask(gemini).text == expected_text("hello")
    until(lambda: emulator.stats()["in_flight"] == 0)


def test_a_reset_comes_in_the_middle_of_the_body(emulator: Emulator) -> None:
    emulator.configure(faults=["reset"])
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]})
    connection.request("POST", f"/v1/models/{LITE}:generateContent", body, {"x-goog-api-key": "k"})
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        response.read()
    connection.close()


@pytest.mark.parametrize("kind", ["not-json", "half-json"])
def test_a_body_that_is_no_json_cannot_be_decoded(gemini: Any, emulator: Emulator, kind: str) -> None:
    emulator.configure(faults=[kind])
    with pytest.raises(json.JSONDecodeError):
        ask(gemini)


def test_an_empty_body_and_one_of_another_charset(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["empty"])
    assert ask(gemini).candidates is None
    emulator.configure(faults=["charset"])
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]})
    connection.request("POST", f"/v1/models/{LITE}:generateContent", body, {"x-goog-api-key": "k"})
    with pytest.raises(UnicodeDecodeError):
        connection.getresponse().read().decode("utf-8")
    connection.close()


def test_a_huge_answer_is_as_large_as_told(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["huge:mb=3"])
    assert len(ask(gemini).text) == 3 * 1024 * 1024


def test_a_dripping_answer_comes_whole_and_late(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["drip:s=0.4"])
    began = time.monotonic()
    assert ask(gemini).text == expected_text("hello")
    assert time.monotonic() - began >= 0.4


def test_one_that_hangs_ends_when_its_caller_leaves(emulator: Emulator) -> None:
    emulator.configure(faults=["hang"])
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]})
    connection.request("POST", f"/v1/models/{LITE}:generateContent", body, {"x-goog-api-key": "k"})
    until(lambda: emulator.stats()["in_flight"] == 1)
    connection.close()
    until(lambda: emulator.stats()["in_flight"] == 0)
    assert emulator.stats()["requests"] == 1


def test_a_caller_that_leaves_before_the_answer_is_counted_as_abandoned(emulator: Emulator) -> None:
    emulator.configure(latency_s=60)
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    body = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]})
    connection.request("POST", f"/v1/models/{LITE}:generateContent", body, {"x-goog-api-key": "k"})
    until(lambda: emulator.stats()["admitted"] == 1)
    connection.close()
    until(lambda: emulator.stats()["abandoned"] == 1)
    assert emulator.stats()["answered"] == 0


def test_blocked_prompts_and_withheld_answers(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(
        faults=["blocked:match=b", "safety:match=s", "recitation:match=r", "no-candidates:match=n"]
    )
    blocked = ask(gemini, "b")
    assert blocked.prompt_feedback.block_reason is types.BlockedReason.SAFETY
    assert blocked.candidates is None
    for prompt, reason in (("s", types.FinishReason.SAFETY), ("r", types.FinishReason.RECITATION)):
        (candidate,) = ask(gemini, prompt).candidates
        assert (candidate.finish_reason, candidate.content) == (reason, None)
    assert ask(gemini, "n").candidates is None


def test_answers_cut_off_empty_or_malformed(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(
        faults=["truncated:match=t", "no-text:match=x", "no-parts:match=p", "malformed:match=m"]
    )
    (cut,) = ask(gemini, "t").candidates
    assert cut.finish_reason is types.FinishReason.MAX_TOKENS
    assert expected_text("t").startswith(cut.content.parts[0].text)
    assert ask(gemini, "x").candidates[0].content.parts[0].text == ""
    assert ask(gemini, "p").candidates[0].content.parts is None
    assert ask(gemini, "m").candidates[0].finish_reason is types.FinishReason.MALFORMED_FUNCTION_CALL


def test_an_answer_breaks_its_schema_as_often_as_told_then_fits(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["schema:first=2"])
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    config: dict[str, Any] = {"response_json_schema": schema, "response_mime_type": "application/json"}
    answers = [json.loads(ask(gemini, **config).text) for _ in range(3)]
    assert [isinstance(answer, dict) for answer in answers] == [False, False, True]


def test_directives_hold_only_where_they_are_allowed(gemini: Any, emulator: Emulator) -> None:
    prompt = "work [[emulate:503 first=2]]"
    assert ask(gemini, prompt).text == expected_text(prompt)
    emulator.configure(directives=True)
    for _ in range(2):
        with pytest.raises(errors.ServerError):
            ask(gemini, prompt)
    assert ask(gemini, prompt).text == expected_text(prompt)
    with pytest.raises(errors.ClientError, match="no kind of fault"):
        ask(gemini, "[[emulate:nonsense]]")


def test_embeddings_fail_by_status_and_connection_too(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["503:first=1", "safety"])
    with pytest.raises(errors.ServerError):
        gemini.models.embed_content(model="gemini-embedding-001", contents=["a"])
    assert gemini.models.embed_content(model="gemini-embedding-001", contents=["a"]).embeddings


def test_5xx_uses_quota_up_and_4xx_does_not(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(faults=["400:match=four", "503:match=five"])
    for prompt in ("four", "five"):
        with pytest.raises(errors.APIError):
            ask(gemini, prompt)
    assert emulator.stats()["admitted"] == 1


# --- latency ---------------------------------------------------------------------------------------------


def test_latency_is_kept_while_many_are_answered_at_once(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(latency_s=0.3)
    threads = [threading.Thread(target=ask, args=(gemini, f"p{number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emulator.stats()["answered"] == 20
    assert emulator.stats()["peak_in_flight"] >= 10
    assert all(call["duration_s"] >= 0.3 for call in emulator.calls())


def test_a_log_normal_latency_is_drawn_from_the_seed(gemini: Any, emulator: Emulator) -> None:
    drawn = []
    for seed in (5, 5, 6):
        emulator.configure(latency_s=0.01, latency_sigma=0.8, seed=seed)
        emulator.reset()
        for number in range(6):
            ask(gemini, f"p{number}")
        calls = emulator.calls()
        assert all(call["duration_s"] >= call["latency_s"] for call in calls)
        drawn.append([call["latency_s"] for call in calls])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 6


def test_every_kind_is_documented() -> None:
    from batchq.emulator import faults

    words = set((faults.__doc__ or "").split())
    assert set(KINDS) <= words
