"""Settings: who wins, what is refused and how it is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from batchq import wiring
from batchq.core.pricing import TABLE, Price
from batchq.errors import ConfigurationError
from batchq.settings import UnknownVariable, load
from batchq.settings_doc import document

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "batchq.toml"
    monkeypatch.setenv("BATCHQ_CONFIG", str(path))
    return path


def test_an_argument_beats_the_variable_which_beats_the_file_which_beats_the_default(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load.__doc__
    toml.write_text("wave_items = 11\nshard_items = 12\nnamespace = 'file'\n")
    monkeypatch.setenv("BATCHQ_SHARD_ITEMS", "22")
    monkeypatch.setenv("BATCHQ_NAMESPACE", "variable")
    settings = load(namespace="argument")
    assert (settings.wave_items, settings.shard_items, settings.namespace) == (11, 22, "argument")
    assert settings.heartbeat_s == 4


def test_tables_of_the_file_and_variables_with_levels_meet(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text(
        '[quotas."gemini-2.5-flash-lite"]\nrequests_per_minute = 4000\n[operations.generate]\ntimeout_s = 60\n'
    )
    monkeypatch.setenv("BATCHQ_OPERATIONS__GENERATE__MAX_ATTEMPTS", "2")
    settings = load()
    assert settings.quotas["gemini-2.5-flash-lite"].requests_per_minute == 4000
    assert (settings.operation("generate").timeout_s, settings.operation("generate").max_attempts) == (60, 2)
    assert settings.operation("extract").timeout_s == 120


def test_prices_of_the_file_replace_a_built_in_one_and_add_others(toml: Path) -> None:
    toml.write_text(
        '[prices."gemini-2.5-flash"]\ninput = 1\noutput = 2\ncached_input = 0.5\n'
        "[prices.house]\ninput = 3\nlong_from = 1000\nlong_output = 8\n"
    )
    prices = wiring.prices(load())
    assert prices["gemini-2.5-flash"] == Price(1, 2, long_input_usd=1, long_output_usd=2, cached_usd=0.5)
    assert prices["house"].of_length(1_001) == (3, 8, 3)
    assert prices["gemini-2.5-pro"] is TABLE["gemini-2.5-pro"]


def test_lists_are_split_as_shells_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHQ_INCLUDE", "one.module, other")
    monkeypatch.setenv("BATCHQ_FILE_ROOTS", "/a:/b")
    settings = load()
    assert settings.include == ("one.module", "other")
    assert [str(root) for root in settings.file_roots] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wave_itmes = 3", "unknown setting 'wave_itmes'"),
        ("wave_items = 'many'", "setting 'wave_items' (BATCHQ_WAVE_ITEMS)"),
        ("wave_items = 0", "setting 'wave_items' (BATCHQ_WAVE_ITEMS)"),
        ("[operations.generate]\ntimout_s = 3", "unknown setting 'operations.generate.timout_s'"),
        ("lease_s = 5", "lease_s=5 must be at least 3 × heartbeat_s=4: raise the lease"),
        (
            "visibility_timeout_s = 60",
            "visibility_timeout_s=60 must be above call deadline + longest wait = 185",
        ),
        ("[operations.slow]\ntimeout_s = 900", "visibility_timeout_s=600 must be above"),
        ("redis_url = 'http://x'", "scheme 'http' is not one of ours"),
        ("namespace = 'a b'", "setting 'namespace'"),
        ("wave_items = ", "no valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(toml: Path, text: str, said: str) -> None:
    toml.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert said in str(refused.value)


def test_a_file_that_is_named_and_missing_is_an_error(toml: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"BATCHQ_CONFIG names .* which is not there"):
        load()
    assert not toml.exists()


def test_an_unknown_variable_is_a_warning_and_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHQ_WAVE_ITMES", "3")
    with pytest.warns(UnknownVariable, match="BATCHQ_WAVE_ITMES"):
        assert load().wave_items == 200


def test_a_password_is_never_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHQ_REDIS_URL", "redis://:hunter2@host:port/0")
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert "hunter2" not in str(refused.value)


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs/settings.md").read_text() == document(), "run `make docs`"


def test_celery_variables_are_not_read(tmp_path: Path) -> None:
    code = """
from batchq.dispatch import make_app
from batchq.settings import Settings
app = make_app(Settings(redis_url="redis://:pw@ours:6379/3"))
print(app.connection_for_write().as_uri(), app.connection_for_read().as_uri(), app.backend.connparams["host"])
import celery
print(celery.current_app is app)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "CELERY_BROKER_URL": "redis://theirs/1",
            "CELERY_RESULT_BACKEND": "redis://theirs/2",
            "CELERY_BROKER_READ_URL": "redis://theirs/3",
            "CELERY_BROKER_WRITE_URL": "redis://theirs/4",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.split() == ["redis://:**@ours:6379/3", "redis://:**@ours:6379/3", "ours"]
    assert second == "False", "never the current app of somebody else's process"
