"""What an operation says of itself where it is defined stands below the settings, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from batchq.core.records import Answer
from batchq.errors import ConfigurationError, ProviderError, Rejected, Unavailable
from batchq.operations import registry
from batchq.operations.base import Call
from batchq.operations.declared import under
from batchq.sections import OperationSettings, QuotaSettings
from batchq.settings import Settings


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_own", {})
    monkeypatch.setattr(registry, "_defaults", {})


def define(name: str, **said: Any) -> None:
    registry.operation(name, **said)(lambda value: value)


def in_force(**given: Any) -> Settings:
    return under(Settings(**given), registry.defaults())


def test_what_nobody_sets_is_as_the_operation_says() -> None:
    define("post", queue="mail", rpm=60, tpm=9_000, rpd=500, concurrency=4)
    define("pack", max_attempts=2, timeout_s=30, backoff_s=0.5, backoff_max_s=20, max_rate_limit_wait_s=90)
    define("plain")
    settings = in_force()
    assert settings.queue_of("post") == "batchq.mail"
    assert settings.queues == {
        "mail": QuotaSettings(
            requests_per_minute=60, tokens_per_minute=9_000, requests_per_day=500, concurrency=4
        )
    }
    assert settings.operation("pack") == OperationSettings(
        max_attempts=2, timeout_s=30, backoff_s=0.5, backoff_max_s=20, max_rate_limit_wait_s=90
    )
    assert set(settings.operations) == {"post", "pack"}
    assert settings.lease_max_s("pack") < settings.lease_max_s("plain")


def test_a_setting_stands_over_it_and_leaves_the_other_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    define("post", queue="mail", rpm=60, concurrency=4, max_attempts=2, timeout_s=30)
    monkeypatch.setenv("BATCHQ_OPERATIONS__POST__MAX_ATTEMPTS", "9")
    monkeypatch.setenv("BATCHQ_QUEUES", '{"mail": {"concurrency": 50}, "generate": {"concurrency": 5}}')
    settings = in_force()
    assert (settings.operation("post").max_attempts, settings.operation("post").timeout_s) == (9, 30)
    assert settings.queues["mail"] == QuotaSettings(requests_per_minute=60, concurrency=50)
    assert settings.queues["generate"] == QuotaSettings(concurrency=5)
    assert under(settings, registry.defaults()) == settings


def test_its_limits_go_with_it_to_the_queue_that_a_setting_names() -> None:
    define("post", queue="mail", rpm=60)
    settings = in_force(operations={"post": {"queue": "slow"}})
    assert settings.queue_of("post") == "batchq.slow"
    assert set(settings.queues) == {"slow"}


def test_of_several_operations_of_a_queue_the_lowest_limit_holds() -> None:
    define("post", queue="mail", rpm=60, concurrency=4)
    define("stamp", queue="mail", rpm=90, concurrency=2)
    assert in_force().queues == {"mail": QuotaSettings(requests_per_minute=60, concurrency=2)}


def test_a_deadline_beyond_the_visibility_timeout_is_told_with_its_operation() -> None:
    define("slow", timeout_s=900)
    with pytest.raises(ConfigurationError, match=r"call deadline of operation slow .*= 96.: raise it"):
        in_force()
    assert in_force(visibility_timeout_s=1_000).operation("slow").timeout_s == 900


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"rpm": 0}, r"rpm=0: input should be greater than or equal to 1; correct it, or leave it out"),
        ({"tpm": 1.5}, r"tpm=1.5: input should be a valid integer"),
        ({"concurrency": True}, r"concurrency=True: input should be a valid integer"),
        ({"rpd": "9"}, r"rpd='9': input should be a valid integer"),
        ({"max_attempts": -1}, r"max_attempts=-1: input should be greater"),
        ({"timeout_s": "30"}, r"timeout_s='30': input should be a valid number"),
        ({"backoff_s": 0}, r"backoff_s=0: input should be greater than 0"),
        ({"queue": "a b"}, r"queue='a b': string should match pattern"),
        ({"queue": "control"}, r"queue='control' is a queue of batchq's own: choose another"),
        ({"requests_per_minute": 5}, r"there is no 'requests_per_minute': correct it.*rpm, tpm, rpd"),
        ({"retry_on": (TimeoutError, 5)}, r"retry_on=.* names no error classes"),
        ({"fail_on": "KeyError"}, r"fail_on=.KeyError. names no error classes"),
        ({"retry_on": [OSError], "fail_on": [OSError]}, r"OSError cannot be in retry_on and fail_on"),
    ],
)
def test_what_is_wrong_is_told_by_its_name_when_the_module_is_imported(
    said: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        define("post", **said)
    assert "operation " in str(caught.value)
    assert __name__ in str(caught.value)
    assert registry.own() == []


class Busy(Exception):
    pass


class Closed(Busy):
    pass


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (Busy(), Unavailable),
        (Closed(), Rejected),
        (KeyError("x"), Unavailable),
        (LookupError("x"), Rejected),
        (TimeoutError(), Rejected),
        (RuntimeError(), Unavailable),
    ],
)
def test_the_nearest_class_that_is_named_decides_on_a_retry(
    raised: Exception, becomes: type[ProviderError]
) -> None:
    def fails(input: Any) -> Answer:
        raise raised

    registry.operation("fails", retry_on=(KeyError, Busy), fail_on=[OSError, Closed])(fails)
    with pytest.raises(becomes) as caught:
        registry.get("fails").run(Call("q-1", {}, None))
    assert caught.value.kind == type(raised).__name__
