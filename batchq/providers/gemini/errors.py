"""Whatever google-genai and its network raise, as one of our four errors."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import google.auth.exceptions
import httpcore2
import httpx2
import pydantic
from google.genai import errors as genai_errors

from batchq.errors import Fatal, ProviderError, Rejected, Throttled, Unavailable, Violation
from batchq.providers.gemini.config import GeminiConfig
from batchq.providers.gemini.transport import BodyTooLarge, Exchange

STATUS_BY_CODE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "BILLING",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "TIMEOUT",
    413: "TOO_LARGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "BAD_GATEWAY",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MAY_PASS = frozenset({408, 499})  # of the 4xx; 5xx always

TIMEOUTS = (httpcore2.TimeoutException, httpx2.TimeoutException, TimeoutError)
CONNECTIONS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.ConnectionNotAvailable,
    httpx2.NetworkError,
    httpx2.ProtocolError,
    httpx2.ProxyError,
    OSError,
)
UNREADABLE = (
    BodyTooLarge,
    zlib.error,
    json.JSONDecodeError,
    UnicodeError,
    RecursionError,
    genai_errors.UnknownApiResponseError,
    httpx2.DecodingError,
    httpx2.TooManyRedirects,
    httpx2.StreamError,
    httpx2.HTTPStatusError,
)
ADDRESS = (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol, httpx2.InvalidURL)
REQUEST = (pydantic.ValidationError, ValueError, TypeError, AttributeError, LookupError)

LONGEST = 500  # characters of a message that come from outside


def typed(exc: Exception, config: GeminiConfig, seen: Exchange) -> ProviderError:
    """The error of our own for what a call raised. `seen` says how far the call had come."""
    if isinstance(exc, ProviderError):
        return exc
    if isinstance(exc, genai_errors.APIError):
        return _answered(exc, config)
    if isinstance(exc, google.auth.exceptions.GoogleAuthError):
        return _credentials(exc)
    if isinstance(exc, ADDRESS):
        return Fatal(f"{config.where} cannot be called: {tidy(exc, config)}", kind="CONFIGURATION")
    if isinstance(exc, TIMEOUTS):
        return Unavailable(f"no whole answer before the deadline: {tidy(exc, config)}", kind="TIMEOUT")
    if isinstance(exc, UNREADABLE):
        return _unreadable(exc, config, seen)
    if isinstance(exc, CONNECTIONS):
        return Unavailable(f"the connection to {config.where} failed: {tidy(exc, config)}", kind="CONNECTION")
    if isinstance(exc, REQUEST) and not seen.sent:
        return Rejected(f"the request cannot be built: {tidy(exc, config)}", kind="INVALID_ARGUMENT")
    return _unreadable(exc, config, seen)


def _unreadable(exc: Exception, config: GeminiConfig, seen: Exchange) -> Unavailable:
    where = f" (HTTP {seen.status})" if seen.status else ""
    return Unavailable(f"the answer cannot be read{where}: {tidy(exc, config)}", kind="UNREADABLE")


def _credentials(exc: Exception) -> ProviderError:
    passing = isinstance(exc, google.auth.exceptions.TransportError) or getattr(exc, "retryable", False)
    if passing:
        return Unavailable(f"Google's credentials could not be refreshed: {tidy(exc)}", kind="CONNECTION")
    return Fatal(
        f"Google's credentials are missing or refused: {tidy(exc)}. Run `gcloud auth application-default "
        "login` or set GOOGLE_APPLICATION_CREDENTIALS",
        code=401,
        kind="UNAUTHENTICATED",
    )


def _answered(exc: genai_errors.APIError, config: GeminiConfig) -> ProviderError:
    """An answer with a status other than 200."""
    code = exc.code if isinstance(exc.code, int) else 0
    kind = _kind(exc.status, code)
    message = tidy(exc.message or kind, config)
    details = list(_details(exc.details))
    if code == 429:
        return _throttled(exc, message, kind, details)
    if code >= 500 or code in MAY_PASS:
        return Unavailable(message, code=code, kind=kind)
    if not 400 <= code < 500:  # a redirect, or a success that carries no answer
        return Unavailable(
            f"{config.where} answered HTTP {code} in place of an answer", code=code, kind="UNREADABLE"
        )
    remedy = _hopeless(code, kind, message, details, config)
    if remedy:
        return Fatal(f"{message} ({remedy})", code=code, kind=kind)
    return Rejected(message, code=code, kind=kind)


def _hopeless(
    code: int, kind: str, message: str, details: list[Mapping[str, Any]], config: GeminiConfig
) -> str | None:
    """What to do where every request of the job would be refused alike; None: only this one is."""
    text = message.lower()
    reasons = {detail.get("reason") for detail in details}
    key = "the credentials of Vertex AI" if config.api_key is None else config.key_variable
    if code == 401 or "API_KEY_INVALID" in reasons or (code == 400 and "api key" in text):
        return f"check {key}"
    if code == 402 or (kind == "FAILED_PRECONDITION" and "billing" in text):
        return f"check the billing of the project behind {key}"
    if kind == "FAILED_PRECONDITION" and "location" in text:
        return "this API cannot be used from here"
    of_item = re.search(r"\b(file|cached ?content|cache|corpus)\b", text) is not None
    if code == 403 and not of_item:
        return f"{key} has no permission for this"
    if code == 404 and not of_item:
        return f"check the model's name, and that {config.where} offers it"
    return None


def _throttled(
    exc: genai_errors.APIError, message: str, kind: str, details: list[Mapping[str, Any]]
) -> ProviderError:
    violations: list[Violation] = []
    retry_after_ms = _retry_after_ms(exc)
    for detail in details:
        name = str(detail.get("@type", ""))
        if name.endswith("google.rpc.RetryInfo"):
            retry_after_ms = _duration_ms(detail.get("retryDelay")) or retry_after_ms
        elif name.endswith("google.rpc.QuotaFailure"):
            violations.extend(_violations(detail))
    # A limit of 0 is left out of the JSON (protobuf's default), so the text is all that says it.
    unsaid = re.search(r"\blimit: 0\b(?!\.\d)", message) is not None
    nothing_allowed = [v for v in violations if v.limit == 0 or (v.limit is None and unsaid)]
    if nothing_allowed:
        return Fatal(
            f"{message} (the limit {nothing_allowed[0].quota_id} is 0: this model is not in the project's "
            "tier; choose another model or tier)",
            code=429,
            kind=kind,
        )
    return Throttled(message, code=429, kind=kind, retry_after_ms=retry_after_ms, violations=violations)


def _violations(detail: Mapping[str, Any]) -> Iterable[Violation]:
    listed = detail.get("violations")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping):
            value = str(entry.get("quotaValue", ""))
            yield Violation(
                quota_id=tidy(entry.get("quotaId", "")),
                limit=int(value) if value.isascii() and value.isdigit() else None,
                metric=tidy(entry.get("quotaMetric", "")),
            )


def _details(body: Any) -> Iterable[Mapping[str, Any]]:
    error = body.get("error") if isinstance(body, Mapping) else None
    listed = error.get("details") if isinstance(error, Mapping) else None
    return (detail for detail in listed if isinstance(detail, Mapping)) if isinstance(listed, list) else ()


def _kind(status: object, code: int) -> str:
    if isinstance(status, str) and re.fullmatch(r"[A-Z][A-Z_]{2,60}", status):
        return status
    return STATUS_BY_CODE.get(code, f"HTTP_{code}")


def _duration_ms(text: object) -> int | None:
    """Milliseconds of a protobuf Duration ("26s", "1.5s"); None where it is none."""
    matched = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)s", text) if isinstance(text, str) else None
    return int(float(matched[1]) * 1000) if matched else None


def _retry_after_ms(exc: genai_errors.APIError) -> int | None:
    """The Retry-After header in seconds; its other form, a date, is not used by Google."""
    value = getattr(exc.response, "headers", {}).get("retry-after", "")
    return int(value) * 1000 if value.isascii() and value.isdigit() and len(value) < 9 else None


def tidy(text: object, config: GeminiConfig | None = None) -> str:
    """Foreign text for messages and logs: one line, at most LONGEST characters, without the key."""
    said = str(text)[: 8 * LONGEST] or type(text).__name__
    if "<html" in said[:500].lower():
        said = re.sub(r"<(style|script)\b.*?</\1>|<[^<>]*>", " ", said, flags=re.DOTALL | re.IGNORECASE)
    if config is not None and config.api_key and len(config.api_key) >= 12:
        said = said.replace(config.api_key, "<key>")
    said = "".join(c if c.isprintable() else " " for c in said)
    said = " ".join(said.split())
    return said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
