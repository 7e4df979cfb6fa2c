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
from batchq.flow.heal import sweep
from batchq.settings import load
from batchq.store.fleet import Beat
from batchq.store.quotas import QuotaView
from batchq.wiring import locate

MODEL = "gemini-2.5-flash-lite"
NAME = f"model:p:{MODEL}"
OTHER = f"model:q:{MODEL}"


@pytest.fixture
def client(house: House) -> Client:
    return Client(place=locate(load(), start=True))


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no project: nothing here says whose quotas are meant."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def live(client: Client, project: str, *, name: str = "w", seconds_ago: int = 0) -> None:
    """The heartbeat of a worker."""
    beat = Beat(f"host:1:{name}", "host", 1, 4, ("control", "generate"), "gevent", "0", project, name=name)
    database = client.walk.quotas._db
    database.now_ms = database.server_ms() - 1_000 * seconds_ago
    client.walk.fleet.beat(beat, 4_000, 15_000)
    database.now_ms = None


def draw(client: Client, requests: int, name: str = NAME) -> None:
    """What a worker's gate does."""
    asked = Asked("w", (100,) * requests, 60_000, pacific.pacific_days(pacific.local_ms()))
    limits = QuotaLimits(requests_per_minute=600, learns=False)
    client.walk.quotas.register([name])
    client.walk.quotas.draw([name], [limits], asked)


def shown(client: Client) -> QuotaView:
    (view,) = client.quotas.show()
    return view


def test_an_installation_without_quotas_says_so(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quotas"]) == 0
    assert "no quota was used yet" in capsys.readouterr().err


def test_use_limits_and_their_source_are_shown(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    draw(client, 3)
    live(client, "p")
    assert main(["quotas"]) == 0
    _, row = capsys.readouterr().out.splitlines()
    name, workers, _, *others = row.split()
    assert (name, workers, others) == (NAME, "1", ["of", "600", "—", "3", "3", "settings", "open"])
    assert main(["quotas", "show", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["limits"]["requests_per_minute"] == 600
    assert (row["used"]["in_flight"], row["used"]["requests_today"]) == (3, 3)
    assert (row["workers"], row["used"]["tokens"]) == (1, None), "they are not limited, so not counted"
    assert (row["paused"], row["held_s"], row["why"]) == (False, 0, None)


def test_an_open_breaker_is_told(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    draw(client, 1)
    for _ in range(20):
        client.walk.quotas.fail(NAME, 0, 20)
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
    assert main(["quotas", "set", MODEL, "--rpm", "2k", "--tpm", "4M", "--concurrency", "none"]) == 0
    assert shown(client).limits == QuotaLimits(2_000, None, 4_000_000)
    assert main(["quotas", "pause", MODEL]) == 0
    assert shown(client).paused
    assert main(["quotas", "resume", MODEL]) == 0
    assert main(["quotas", "reset", MODEL, "--json"]) == 0
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


@pytest.mark.parametrize("command", [("pause",), ("set", "--rpm", "5")])
def test_what_no_call_draws_on_is_not_changed_as_if_it_held(
    client: Client, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    free, limited = client.submit(["a"]), client.submit(["b"], rpm=60)
    ended = client.submit(["c"], rpm=60)
    ended.cancel()

    def told(name: str) -> str:
        verb, *options = command
        assert main(["quotas", verb, name, *options]) in (1, 2)
        return capsys.readouterr().err

    assert f"`batchq pause {free.id}` pauses it" in told(f"job:{free.id}")
    assert "nothing draws on its quota any more" in told(f"job:{ended.id}")
    assert f"its own quota is job:{free.id}" in told(free.id)
    assert "nonsense" in told("job:nonsense")
    assert "give the workers some ([queues.generate]" in told("queue:generate")
    assert "model:PROJECT:MODEL" in told(f"model:{MODEL}")
    assert [view.name for view in client.quotas.show()] == [f"job:{limited.id}"]
    assert main(["quotas", command[0], f"job:{limited.id}", *command[1:]]) == 0

    live(client, "p")
    assert main(["quotas", command[0], "flash-light", *command[1:]]) == 0
    assert "no call has drawn on it yet: is the name right?" in capsys.readouterr().err


def test_a_model_is_one_of_the_live_workers_project(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not of the project of a run that ended, though only that has used it."""
    draw(client, 1)
    live(client, "p", name="ended", seconds_ago=60)
    live(client, "q")
    assert main(["quotas", "set", MODEL, "--rpm", "7", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["name"] == OTHER
    assert said.err == f"{OTHER}: the live workers' project; not {NAME} (no live worker)\n"
    assert [(view.name, view.workers) for view in client.quotas.show()] == [(NAME, 0), (OTHER, 1)]
    assert client.quotas.get(NAME).set.requests_per_minute is None
    assert main(["quotas", "reset", MODEL]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{OTHER}  1")


def test_without_live_workers_a_model_is_one_of_the_project_of_the_settings(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(client, 1)
    assert main(["quotas", "pause", MODEL]) == 0
    assert capsys.readouterr().err == f"{NAME}: no worker is live: the only one that was ever used\n"
    monkeypatch.setenv("BATCHQ_PROJECT", "q")
    assert main(["quotas", "set", MODEL, "--rpm", "7"]) == 0
    said = capsys.readouterr()
    assert f"{OTHER}: no worker is live: the project of the settings here; not {NAME}" in said.err
    assert OTHER in said.out


def test_where_nothing_decides_between_projects_the_full_names_are_told_and_who_lives(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(client, 1)
    draw(client, 1, OTHER)
    assert main(["quotas", "pause", MODEL]) == 2
    assert f"name one of {NAME} (no live worker), {OTHER} (no live worker)" in capsys.readouterr().err
    live(client, "p", name="a")
    live(client, "p", name="b")
    live(client, "r", name="c")
    assert main(["quotas", "pause", MODEL]) == 0, "r has never used it"
    assert "the one that has used it" in capsys.readouterr().err
    assert main(["quotas", "set", "gemini-9", "--rpm", "5"]) == 2
    assert "model:p:gemini-9 (2 live workers), model:r:gemini-9 (1 live worker)" in capsys.readouterr().err
    assert main(["quotas", "set", NAME, "--rpm", "5"]) == 0
    assert capsys.readouterr().err == ""


def test_a_models_quota_of_a_project_without_live_workers_is_not_changed_by_chance(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(client, 1)
    live(client, "q")
    assert main(["quotas", "resume", MODEL]) == 1
    assert f"name {NAME} (no live worker) in full" in capsys.readouterr().err


def test_the_limits_of_open_jobs_are_listed_before_their_first_call_and_until_their_end(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    job = client.submit(["a", "b"], rpm=30, tpm=4_000)
    client.submit(["a"])
    draw(client, 1)
    assert main(["quotas"]) == 0
    _, shared, own = capsys.readouterr().out.splitlines()
    assert shared.split()[0] == NAME
    assert own.split() == [
        f"job:{job.id}", "—", "0", "of", "30", "0", "of", "4,000", "0", "0", "settings", "open"
    ]  # fmt: skip
    assert main(["quotas", "set", f"job:{job.id}", "--rpm", "10"]) == 0
    assert client.quotas.get(f"job:{job.id}").limits == QuotaLimits(10, None, 4_000)
    job.cancel()
    sweep(client.walk)
    assert [view.name for view in client.quotas.show()] == [NAME]


def test_calls_of_processes_that_died_are_not_shown_when_no_worker_is_left_to_free_them(
    client: Client,
) -> None:
    draw(client, 3)
    live(client, "p")
    assert shown(client).in_flight == 3
    live(client, "p", seconds_ago=16)
    assert shown(client).in_flight == 0
