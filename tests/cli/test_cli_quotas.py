"""`batchq quotas` against a real server: what it shows and what it changes."""

from __future__ import annotations

import json

import pytest
from cli_world import House

from batchq import Client
from batchq.cli import main
from batchq.core import pacific
from batchq.core.limits import QuotaLimits
from batchq.core.permits import Asked
from batchq.settings import load
from batchq.store.quotas import QuotaView
from batchq.wiring import locate

NAME = "model:p:gemini-2.5-flash-lite"


@pytest.fixture
def client(house: House) -> Client:
    return Client(place=locate(load(), start=True))


def draw(client: Client, requests: int) -> None:
    """What a worker's gate does."""
    asked = Asked("w", (100,) * requests, 60_000, pacific.pacific_days(pacific.local_ms()))
    limits = QuotaLimits(requests_per_minute=600, learns=False)
    client.walk.quotas.register([NAME])
    client.walk.quotas.draw([NAME], [limits], asked)


def shown(client: Client) -> QuotaView:
    (view,) = client.quotas.show()
    return view


def test_an_installation_without_quotas_says_so(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quotas"]) == 0
    assert "no quota was used yet" in capsys.readouterr().err


def test_use_limits_and_their_source_are_shown(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    draw(client, 3)
    assert main(["quotas"]) == 0
    table = capsys.readouterr().out
    assert NAME in table
    assert "of 600" in table
    assert "settings" in table
    assert main(["quotas", "show", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["limits"]["requests_per_minute"] == 600
    assert (row["used"]["in_flight"], row["used"]["requests_today"]) == (3, 3)
    assert (row["paused"], row["held_s"], row["why"]) == (False, 0, None)


def test_an_open_breaker_is_told(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    draw(client, 1)
    for _ in range(20):
        client.walk.quotas.fail(NAME, 0)
    assert main(["quotas"]) == 0
    assert "the provider does not answer" in capsys.readouterr().out
    client.quotas.resume(NAME)
    client.walk.quotas.refuse(NAME, "hold", 0, QuotaLimits())
    assert main(["quotas"]) == 0
    assert "one call asks" not in capsys.readouterr().out, "resume closes it"


def test_limits_are_set_reset_paused_and_resumed_by_the_models_name(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(client, 1)
    model = NAME.rpartition(":")[2]
    assert main(["quotas", "set", model, "--rpm", "2k", "--tpm", "4M", "--concurrency", "none"]) == 0
    assert shown(client).limits == QuotaLimits(2_000, None, 4_000_000)
    assert main(["quotas", "pause", model]) == 0
    assert shown(client).paused
    assert main(["quotas", "resume", model]) == 0
    assert main(["quotas", "reset", model, "--json"]) == 0
    assert not shown(client).paused
    assert shown(client).limits == QuotaLimits(600)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["set", NAME], 2, "at least one of"),
        (["set", NAME, "--rpm", "fast"], 2, "is no limit"),
        (["set", NAME, "--rpm", "0"], 2, "is no limit"),
        (["reset", "gemini-9"], 1, "no quota 'gemini-9' was ever used"),
        (["set", "gemini-9", "--rpm", "5"], 2, "name it in full"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(
    client: Client, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main(["quotas", *arguments]) == code
    assert said in capsys.readouterr().err
