"""Every example does what its page says: its own command, with one worker, one server and one emulator for all."""

from __future__ import annotations

import csv
import json
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_kit import Fleet, eventually

from batchq.cli import main
from batchq.embedded import EmbeddedServer
from batchq.emulator import Emulator, expected_image, expected_text
from batchq.operations import registry
from batchq.store.database import Database

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
HTTP_API = EXAMPLES / "http-api"
QUOTA = {"requests_per_minute": 1_000_000}
MODELS = ("gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-flash-image", "gemini-embedding-001")
WAIT_S = 120.0


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HTTP_API / "shop.py"), str(port)])

    def listens() -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens, WAIT_S)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def surroundings(
    server: EmbeddedServer, shop: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of the commands, a worker being there."""
    database = Database(server.url)
    database.command("FLUSHALL")
    database.close()
    with Emulator() as gemini:
        shared = {
            "BATCHQ_REDIS_URL": server.url,
            "BATCHQ_INCLUDE": "stock",
            "GOOGLE_GEMINI_BASE_URL": gemini.url,
            "GEMINI_API_KEY": "test-key",
            "BATCHQ_PROJECT": "test",
            "STOCK_API": shop,
            "BATCHQ_QUOTAS": json.dumps(dict.fromkeys(MODELS, QUOTA)),
        }
        fleet = Fleet(server.url, tmp_path_factory.mktemp("worker"), {**shared, "PYTHONPATH": str(HTTP_API)})
        fleet.start()
        yield shared
        fleet.stop()


def command_of(example: str) -> list[str]:
    """The arguments of the `batchq run` on an example's page."""
    [block] = re.findall(r"```sh\n(.*?)```", (EXAMPLES / example / "README.md").read_text(), re.DOTALL)[:1]
    lines = block.replace("\\\n", " ").splitlines()
    line = next(line for line in lines if "batchq run" in line)
    line = re.sub(
        r'"\$\(cat (\S+)\)"', lambda found: shlex.quote((ROOT / found[1]).read_text().rstrip("\n")), line
    )
    words = shlex.split(line)
    return words[words.index("batchq") + 1 :]


@pytest.fixture
def run(
    surroundings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> object:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    for known in ("_own", "_defaults"):  # nothing of the examples is left to other tests
        monkeypatch.setattr(registry, known, {})
    monkeypatch.delitem(sys.modules, "stock", raising=False)
    monkeypatch.syspath_prepend(str(HTTP_API))
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)

    def running(example: str) -> tuple[int, str]:
        code = main(command_of(example))
        said = capsys.readouterr().err
        return code, said

    return running


def rows(path: str) -> list[dict[str, str]]:
    with Path("batchq-out", path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_messages_are_sorted_into_fields(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("messages")
    assert code == 0, said
    lines = [json.loads(line) for line in Path("batchq-out/messages.jsonl").read_text().splitlines()]
    assert Counter(line["batchq"]["status"] for line in lines) == {"succeeded": 200}


def test_a_menu_is_translated_row_by_row(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("translate")
    assert code == 0, said
    answers = {row["id"]: row["text"] for row in rows("menu.csv")}
    assert len(answers) == 8
    assert answers["tea"] == expected_text("Translate into Italian: Pot of tea for two")


def test_files_are_summed_up(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("summarise")
    assert code == 0, said
    found = json.loads(Path("batchq-out/minutes.json").read_text())
    assert [row["id"] for row in found] == ["garden.txt", "library.txt", "orchestra.txt"]
    assert all(row["text"] for row in found)


def test_pictures_get_captions(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("caption")
    assert code == 0, said
    prompt = "Caption this picture in one sentence."
    drawn = {path.name: path.read_bytes() for path in (EXAMPLES / "caption/pictures").iterdir()}
    assert {row["id"]: row["text"] for row in rows("captions.csv")} == {
        name: expected_text(prompt, media=[data]) for name, data in drawn.items()
    }


def test_invoices_become_fields(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("invoices")
    assert code == 0, said
    assert len(Path("batchq-out/invoices.jsonl").read_text().splitlines()) == 12


def test_products_become_vectors(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("embeddings")
    assert code == 0, said
    lines = [json.loads(line) for line in Path("batchq-out/products.jsonl").read_text().splitlines()]
    assert {len(line["response"]["embedding"]["values"]) for line in lines} == {256}


def test_source_code_is_reviewed_and_what_is_left_out_is_said(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("review")
    assert code == 0, said
    found = rows("findings.csv")
    assert [row["id"] for row in found] == ["cart.js", "orders.py", "schema.sql"]
    assert all(row["data_summary"] and isinstance(json.loads(row["data_findings"]), list) for row in found)
    assert "skipped 1, no source code by name (--glob picks others): 'notes.md'" in said


def test_prompts_become_picture_files(run) -> None:  # type: ignore[no-untyped-def]
    code, said = run("pictures")
    assert code == 0, said
    [lamp] = Path("batchq-out/drawn-images").glob("lamp.png")
    assert lamp.read_bytes() == expected_image(
        "A brass desk lamp on a dark table, product photograph, soft light"
    )


def test_reviews_become_rows_of_a_table_also_when_run_again(run) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2):
        code, said = run("sql")
        assert code == 0, said
        with sqlite3.connect("batchq-out/reviews.db") as table:
            found = table.execute("SELECT id, data_sentiment, data_stars FROM answers ORDER BY id").fetchall()
        assert [row[0] for row in found] == [f"r-{number}" for number in range(1, 7)]
        assert all(row[1] in ("good", "mixed", "bad") and 1 <= row[2] <= 5 for row in found)


def test_an_http_api_is_asked_for_each_order(run, capsys) -> None:  # type: ignore[no-untyped-def]
    code, said = run("http-api")
    assert code == 3, said
    assert "quantity: Input should be greater than 0 (INVALID_INPUT)" in said
    found = {row["id"]: row for row in rows("stock.csv")}
    assert {
        key: (row["status"], row["data_can_deliver"], row["data_missing"]) for key, row in found.items()
    } == {
        "o-1": ("succeeded", "true", "0"),
        "o-2": ("succeeded", "true", "0"),
        "o-3": ("succeeded", "false", "1"),
        "o-4": ("succeeded", "false", "15"),
        "o-5": ("failed", "", ""),
        "o-6": ("failed", "", ""),
    }
    assert "NOT_FOUND: no such article: hat-05" in found["o-6"]["error"]
    assert (found["o-1"]["attempts"], found["o-4"]["attempts"]) == ("1", "2"), "a wait for rate is no attempt"
    capsys.readouterr()
    assert main(["quotas", "--json"]) == 0
    quotas = {one["name"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    limits = quotas["queue:stock"]["limits"]
    assert (limits["requests_per_minute"], limits["concurrency"]) == (600, 20), "as the function says"


def test_every_example_is_run_here_or_beside_its_own_tests() -> None:
    folders = {
        path.name for path in EXAMPLES.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))
    }
    here = set(re.findall(r'run\("([a-z-]+)"\)', Path(__file__).read_text()))
    assert folders - here == {"nightly", "service"}, "these have tests of their own"
