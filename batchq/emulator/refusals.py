"""Google's error bodies: what a refusal looks like on the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from batchq.emulator.limits import SECOND_US, Breach, Quota

Json = dict[str, Any]

STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

MESSAGE = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
    "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    408: "The request timed out. Please try again.",
    429: "Resource has been exhausted (e.g. check quota).",
    499: "The operation was cancelled.",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    501: "Operation is not implemented, or supported, or enabled.",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}

HTML_502 = (
    b"<!DOCTYPE html>\n<html lang=en>\n  <title>Error 502 (Server Error)!!1</title>\n"
    b"  <p><b>502.</b> <ins>That\xe2\x80\x99s an error.</ins>\n"
    b"  <p>The server encountered a temporary error and could not complete your request.<p>Please try again "
    b"in 30 seconds.\n</html>\n"
)

RATE_LIMITS_PAGE = "https://ai.google.dev/gemini-api/docs/rate-limits"
VERTEX_429 = (
    "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
)

GENERATE_QUOTAS = {
    Quota.RPM: ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"),
    Quota.TPM: ("generate_content_input_token_count", "GenerateContentInputTokensPerModelPerMinute"),
    Quota.RPD: ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel"),
}
EMBED_QUOTAS = {
    Quota.RPM: ("embed_content_requests", "EmbedContentRequestsPerMinutePerProjectPerModel"),
    Quota.TPM: ("embed_content_input_token_count", "EmbedContentInputTokensPerMinutePerProjectPerModel"),
    Quota.RPD: ("embed_content_requests_per_day", "EmbedContentRequestsPerDayPerProjectPerModel"),
}


class Refusal(Exception):
    """A request is answered with an error. `outcome` is the word under which it is counted."""

    def __init__(
        self, code: int, message: str = "", *, details: Sequence[Json] = (), outcome: str = "refused"
    ):
        super().__init__(code, message)
        self.code, self.outcome = code, outcome
        self.message = message or MESSAGE.get(code, "")
        self.details = list(details)

    def body(self) -> bytes:
        error: Json = {"code": self.code, "message": self.message, "status": STATUS.get(self.code, "UNKNOWN")}
        if self.details:
            error["details"] = self.details
        return json.dumps({"error": error}).encode()


def invalid(message: str, details: Sequence[Json] = ()) -> Refusal:
    return Refusal(400, message, details=details)


def unknown_field(name: str, at: str = "") -> Refusal:
    """What the JSON front end says to a field that the API's message does not have."""
    said = f'Invalid JSON payload received. Unknown name "{name}"{f" at {at!r}" if at else ""}: Cannot find field.'
    violation = {"description": said} | ({"field": at} if at else {})
    return invalid(
        said, [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    )


def bad_key() -> Refusal:
    said = "API key not valid. Please pass a valid API key."
    return Refusal(
        400,
        said,
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            },
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": said},
        ],
    )


def no_key() -> Refusal:
    return Refusal(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
        "or other form of API consumer identity to call this API.",
    )


def over_quota(
    breaches: Sequence[Breach], model: str, *, embeds: bool, now_us: int, outcome: str = "rate_limited"
) -> Refusal:
    """The 429 of a broken quota. RetryInfo is rounded down to whole seconds, as Google does.

    A daily quota asks for the wait to the next minute, not to the next day: only quotaId tells.
    """
    quotas = EMBED_QUOTAS if embeds else GENERATE_QUOTAS
    minutes = [breach.wait_us for breach in breaches if breach.quota is not Quota.RPD]
    wait_us = max(minutes) if minutes else 60 * SECOND_US - now_us % (60 * SECOND_US)
    return quota_refusal(
        [(*quotas[breach.quota], breach.limit) for breach in breaches],
        model,
        wait_us=wait_us,
        outcome=outcome,
    )


def quota_refusal(
    broken: Sequence[tuple[str, str, int]], model: str, *, wait_us: int | None, outcome: str
) -> Refusal:
    """A 429 for (metric, quotaId, limit) triples. `wait_us` None: without RetryInfo."""
    service = "generativelanguage.googleapis.com"
    said = (
        "You exceeded your current quota, please check your plan and billing details. For more information on "
        f"this error, head to: {RATE_LIMITS_PAGE}. To monitor your current usage, head to: "
        "https://ai.dev/rate-limit. "
    )
    for metric, _, limit in broken:
        said += f"\n* Quota exceeded for metric: {service}/{metric}, limit: {limit}, model: {model}"
    violations: list[Json] = []
    for metric, quota_id, limit in broken:
        violation: Json = {
            "quotaMetric": f"{service}/{metric}",
            "quotaId": quota_id,
            "quotaDimensions": {"location": "global", "model": model},
        }
        if limit:  # protobuf leaves a 0 out
            violation["quotaValue"] = str(limit)
        violations.append(violation)
    details: list[Json] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{"description": "Learn more about Gemini API quotas", "url": RATE_LIMITS_PAGE}],
        },
    ]
    if wait_us is not None:
        said += f"\nPlease retry in {wait_us / SECOND_US:.6f}s."
        retry = {
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": f"{wait_us // SECOND_US}s",
        }
        details.append(retry)
    return Refusal(429, said, details=details, outcome=outcome)
