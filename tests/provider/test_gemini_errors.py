"""Every way a call can fail ends as one of four errors, and nothing foreign gets out."""

from __future__ import annotations

import inspect
import json
import pickle
import time
import zlib
from types import ModuleType
from typing import Any

import google.auth.exceptions
import httpcore2
import httpx2
import pytest
from faulty_server import ANSWER, Serve, hang_up, reply, reset
from google.genai import errors as genai_errors

from batchq.core.records import Usage
from batchq.errors import Fatal, ProviderError, Rejected, Throttled, Unavailable, Violation
from batchq.providers.base import Request
from batchq.providers.gemini import GeminiConfig
from batchq.providers.gemini import errors as mapping
from batchq.providers.gemini.transport import Exchange

MODEL = "gemini-2.5-flash-lite"
ASK = Request([{"role": "user", "parts": [{"text": "hi"}]}])
TYPES = "type.googleapis.com/google.rpc."


def failed(serve: Serve, script: Any, timeout_s: float = 5.0) -> ProviderError:
    server, provider = serve(script)
    with pytest.raises(ProviderError) as caught:
        provider.generate(MODEL, ASK, timeout_s=timeout_s)
    assert len(server.requests) == 1, "one call makes one request, whatever comes back"
    return caught.value


def body(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


def quota(quota_id: str, value: str | None = None) -> dict[str, Any]:
    entry = {"quotaMetric": "generate_requests", "quotaId": quota_id, "quotaDimensions": {"model": MODEL}}
    if value is not None:
        entry["quotaValue"] = value
    return {"@type": TYPES + "QuotaFailure", "violations": [entry]}


def delay(text: str) -> dict[str, Any]:
    return {"@type": TYPES + "RetryInfo", "retryDelay": text}


# Rate limits ----------------------------------------------------------------------------------------------


def test_a_rate_limit_says_what_was_broken_and_how_long_to_wait(serve: Serve) -> None:
    details = [quota("PerMinute-A", "15"), quota("PerDay-B"), delay("26.5s")]
    error = failed(serve, reply(body(429, "RESOURCE_EXHAUSTED", "slow down", *details), "429 Too Many"))
    assert isinstance(error, Throttled)
    assert (error.code, error.kind, error.retry_after_ms) == (429, "RESOURCE_EXHAUSTED", 26_500)
    assert error.violations == (
        Violation("PerMinute-A", 15, "generate_requests"),
        Violation("PerDay-B", None, "generate_requests"),
    )


def test_a_refusal_for_capacity_has_neither(serve: Serve) -> None:
    raw = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource has been exhausted"}}
    error = failed(serve, reply(raw, "429 Too Many"))
    assert isinstance(error, Throttled)
    assert (error.retry_after_ms, error.violations) == (None, ())


def test_the_retry_after_header_counts_where_the_body_is_silent(serve: Serve) -> None:
    error = failed(serve, reply(b"busy", "429 Too Many", "Retry-After: 7"))
    assert isinstance(error, Throttled)
    assert error.retry_after_ms == 7_000


@pytest.mark.parametrize(
    ("value", "message"),
    [("0", "Quota exceeded"), (None, "Quota exceeded for metric: x, limit: 0, model: y")],
)
def test_a_limit_of_zero_is_fatal_for_no_wait_will_lift_it(
    serve: Serve, value: str | None, message: str
) -> None:
    raw = body(429, "RESOURCE_EXHAUSTED", message, quota("FreeTier", value), delay("26s"))
    error = failed(serve, reply(raw, "429 Too Many"))
    assert isinstance(error, Fatal)
    assert "not in the project's tier" in error.message


@pytest.mark.parametrize(
    "details",
    [
        None,
        "x",
        [7],
        [{"@type": TYPES + "QuotaFailure", "violations": "x"}],
        [{"@type": TYPES + "RetryInfo"}],
    ],
)
def test_a_429_of_an_odd_shape_is_still_a_rate_limit(serve: Serve, details: Any) -> None:
    raw = {"error": {"code": 429, "message": "slow", "details": details}}
    assert isinstance(failed(serve, reply(raw, "429 Too Many")), Throttled)


# Other answers --------------------------------------------------------------------------------------------

KEY_INVALID = {"@type": TYPES + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}


@pytest.mark.parametrize(
    ("code", "status", "message", "details", "becomes"),
    [
        (400, "INVALID_ARGUMENT", "The input token count exceeds the maximum", [], Rejected),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass one.", [KEY_INVALID], Fatal),
        (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", [], Fatal),
        (400, "FAILED_PRECONDITION", "Please enable billing on project 1", [], Fatal),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", [], Fatal),
        (400, "FAILED_PRECONDITION", "The cached content is not ready", [], Rejected),
        (401, "UNAUTHENTICATED", "Request had invalid authentication credentials", [], Fatal),
        (403, "PERMISSION_DENIED", "Your API key was reported as leaked", [], Fatal),
        (403, "PERMISSION_DENIED", "You do not have permission to access the File abc", [], Rejected),
        (404, "NOT_FOUND", "models/gemini-9 is not found for API version v1", [], Fatal),
        (404, "NOT_FOUND", "CachedContent not found", [], Rejected),
        (413, "", "too large", [], Rejected),
        (408, "", "timed out", [], Unavailable),
        (499, "CANCELLED", "The operation was cancelled.", [], Unavailable),
        (500, "INTERNAL", "An internal error has occurred.", [], Unavailable),
        (502, "", "", [], Unavailable),
        (503, "UNAVAILABLE", "The model is overloaded.", [], Unavailable),
        (504, "DEADLINE_EXCEEDED", "Deadline expired.", [], Unavailable),
        (302, "", "", [], Unavailable),
        (204, "", "", [], Unavailable),
    ],
)
def test_each_status_has_its_meaning(
    serve: Serve, code: int, status: str, message: str, details: list[Any], becomes: type[ProviderError]
) -> None:
    error = failed(serve, reply(body(code, status, message, *details), f"{code} Some Reason", "Location: /x"))
    assert type(error) is becomes
    assert error.code == code
    assert error.kind == status or (not status and error.kind.replace("_", "").isalnum())


def test_a_fatal_error_names_the_variable_and_never_the_key(serve: Serve) -> None:
    error = failed(serve, reply(body(401, "UNAUTHENTICATED", "bad key a-key-that-is-secret"), "401 No"))
    assert "check GEMINI_API_KEY" in error.message
    assert "a-key-that-is-secret" not in error.message + repr(error.__dict__)


def test_an_html_page_of_a_proxy_becomes_one_short_line(serve: Serve) -> None:
    page = b"<html><style>p{}</style><body><h1>502\nBad Gateway</h1>" + b"<p>nginx</p>" * 500
    error = failed(serve, reply(page, "502 Bad Gateway", content_type="text/html"))
    assert isinstance(error, Unavailable)
    assert error.message.startswith("502 Bad Gateway nginx")
    assert (error.kind, len(error.message) <= 500, "\n" in error.message) == ("BAD_GATEWAY", True, False)


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe\xe9", b"[]", b'"x"', b"7", b'{"error": "x"}', b'{"error": {"message": 7}}']
)
def test_an_error_body_that_cannot_be_read_keeps_its_status(serve: Serve, raw: bytes) -> None:
    error = failed(serve, reply(raw, "503 Oh"))
    assert (type(error), error.code) == (Unavailable, 503)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        json.dumps(ANSWER).encode()[:-9],
        "é".encode("latin-1").join([b'{"a": "', b'"}']),
        b'{"a": NaN}',
        rb'{"a": "\ud83d"}',
        b"[1]",
        b"null",
        b'{"a":' * 100_000,
    ],
    ids=["empty", "text", "cut", "latin-1", "NaN", "half a surrogate", "list", "null", "deep"],
)
def test_a_200_that_cannot_be_read_is_asked_again(serve: Serve, raw: bytes) -> None:
    error = failed(serve, reply(raw))
    assert (type(error), error.kind) == (Unavailable, "UNREADABLE")


def test_an_answer_beyond_the_cap_is_dropped_packed_or_not(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchq.providers.gemini.transport.MAX_BODY", 1_000_000)
    bomb = zlib.compress(b"x" * 30_000_000)
    for script in (reply(b"x" * 1_000_001), reply(bomb, "200 OK", "Content-Encoding: deflate")):
        error = failed(serve, script)
        assert (type(error), error.kind) == (Unavailable, "UNREADABLE")
        assert "larger than 1000000 bytes" in error.message


def test_a_packed_answer_is_unpacked_and_a_cut_one_noticed(serve: Serve) -> None:
    packed = zlib.compress(json.dumps(ANSWER).encode())
    _, provider = serve(reply(packed, "200 OK", "Content-Encoding: gzip"))
    assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER
    error = failed(serve, reply(packed[:-5], "200 OK", "Content-Encoding: gzip"))
    assert error.kind == "UNREADABLE"


@pytest.mark.parametrize("script", [reset, hang_up], ids=["reset", "hung up"])
def test_a_broken_connection_may_pass_and_is_one_request(serve: Serve, script: Any) -> None:
    error = failed(serve, script)
    assert (type(error), error.kind, error.code) == (Unavailable, "CONNECTION", 0)


def test_a_connection_broken_inside_the_body_may_pass(serve: Serve) -> None:
    def script(connection: Any, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        connection.close()

    assert failed(serve, script).kind == "CONNECTION"


@pytest.mark.parametrize("head", [b"HTTP/9.9 what\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b"x" * 200_000])
def test_an_answer_that_is_no_http_may_pass(serve: Serve, head: bytes) -> None:
    def script(connection: Any, _request: bytes) -> None:
        connection.sendall(head)
        connection.close()

    assert isinstance(failed(serve, script), Unavailable)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://no-such-host.invalid", "no-such-host.invalid"),
    ],
)
def test_a_server_that_cannot_be_reached_may_come_back(url: str, says: str) -> None:
    from batchq.providers.gemini import GeminiProvider

    provider = GeminiProvider(GeminiConfig(api_key="k", base_url=url))
    with pytest.raises(Unavailable, match=says) as caught:
        provider.generate(MODEL, ASK, timeout_s=5)
    assert caught.value.kind == "CONNECTION"


def test_a_server_without_tls_may_pass(serve: Serve) -> None:
    from batchq.providers.gemini import GeminiProvider

    server, _ = serve(reply(ANSWER))
    provider = GeminiProvider(GeminiConfig(api_key="k", base_url=server.url.replace("http", "https")))
    with pytest.raises(Unavailable) as caught:
        provider.generate(MODEL, ASK, timeout_s=1)
    assert caught.value.kind in ("CONNECTION", "TIMEOUT")


@pytest.mark.parametrize(
    "request_",
    [
        Request([{"role": "user", "parts": [{"txt": "x"}]}]),
        Request([{"parts": [{"text": "x"}]}], {"temperature": "hot"}),
        Request([], {}),
        Request([{"parts": [{"text": "x"}]}], {"audio_timestamp": True}),
    ],
    ids=["part", "option", "nothing", "Vertex only"],
)
def test_a_request_that_cannot_be_built_is_refused_without_a_call(serve: Serve, request_: Request) -> None:
    server, provider = serve(reply(ANSWER))
    with pytest.raises(Rejected) as caught:
        provider.generate(MODEL, request_, timeout_s=5)
    assert caught.value.kind == "INVALID_ARGUMENT"
    assert server.requests == []


# The whole tree -------------------------------------------------------------------------------------------


def exceptions(*modules: ModuleType) -> list[type[Exception]]:
    found = {
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and not issubclass(value, Warning)
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


# Raised by parts of the libraries that a call here never enters: their word for it would be a guess.
NOT_OURS = {
    "HTTPError": "a base class",
    "RequestError": "a base class",
    "TransportError": "a base class",
    "CookieConflict": "no cookies are read",
    "SSEError": "no event streams are read",
    "APIError": "covered status by status",
    "ClientError": "covered status by status",
    "ServerError": "covered status by status",
    "ContinuationInterruptedError": "of the interactions API; continuation is off",
    "FunctionInvocationError": "function calling by the library is off",
    "UnknownFunctionCallArgumentError": "function calling by the library is off",
    "UnsupportedFunctionError": "function calling by the library is off",
}
KNOWN = (
    *mapping.TIMEOUTS,
    *mapping.CONNECTIONS,
    *mapping.UNREADABLE,
    *mapping.ADDRESS,
    google.auth.exceptions.GoogleAuthError,
)


@pytest.mark.parametrize(
    "cls",
    exceptions(httpx2, httpcore2, genai_errors, google.auth.exceptions),
    ids=lambda c: f"{c.__module__}.{c.__name__}",
)
def test_no_exception_of_the_libraries_is_unmapped(cls: type[Exception]) -> None:
    assert issubclass(cls, KNOWN) or cls.__name__ in NOT_OURS, f"say in errors.py what {cls} means"


@pytest.mark.parametrize("cls", [MemoryError, KeyError, RuntimeError, EOFError, AttributeError])
@pytest.mark.parametrize("sent", [True, False])
def test_what_nobody_foresaw_is_still_one_of_ours(cls: type[Exception], sent: bool) -> None:
    seen = Exchange(deadline=time.monotonic(), sent=sent)
    assert isinstance(mapping.typed(cls("odd"), GeminiConfig(api_key="k"), seen), ProviderError)


def test_errors_survive_pickling_with_all_they_carry() -> None:
    error = Throttled("slow", retry_after_ms=5, violations=[Violation("q", 3)])
    error.usage = Usage(1, 2)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.__dict__) == (Throttled, error.__dict__)
