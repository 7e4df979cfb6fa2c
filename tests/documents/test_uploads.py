"""What a request cannot hold is uploaded once, shared, and deleted with its last job, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path
from typing import Any

import pytest
from fleet_kit import Fleet, eventually
from google import genai

from batchq import Client
from batchq.core.lifecycle import ItemState
from batchq.emulator import Emulator, expected_text
from batchq.errors import Unsendable
from batchq.operations.attachments import MOST_INLINE
from batchq.providers.gemini import GeminiConfig, GeminiProvider

WAIT_S = 180.0  # a deadline for a machine with other work; seconds else


def wav(size: int = MOST_INLINE + 1_000_000, mark: int = 0) -> bytes:
    """A recording that no request holds: 16,000 bytes a second."""
    sound = bytes([mark]) * size
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form
    return head + b"data" + struct.pack("<I", size) + sound


@pytest.fixture
def folder(fleet: Fleet, tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    fleet.extra["BATCHQ_FILE_ROOTS"] = str(folder)
    return folder


def rows(path: Path, n: int) -> list[dict[str, Any]]:
    return [{"id": f"q-{number}", "file": str(path), "prompt": f"Question {number}?"} for number in range(n)]


def submit(client: Client, items: list[dict[str, Any]]) -> Any:
    return client.submit(items, files="path", preflight=False)


def held(gemini: Emulator) -> tuple[int, int, int]:
    files = gemini.stats()["files"]
    return files["held"], files["uploaded"], files["deleted"]


def test_a_file_that_no_request_holds_is_uploaded_once_and_deleted_with_its_last_job(
    fleet: Fleet, client: Client, gemini: Emulator, folder: Path
) -> None:
    gemini.configure(file_processing_s=0.8)
    data, short = wav(), wav(1_000)
    (folder / "long.wav").write_bytes(data)
    (folder / "same.wav").write_bytes(data)
    (folder / "short.wav").write_bytes(short)
    unread = b"%PDF-1.7\n" + bytes(MOST_INLINE + 1_000_000) + b"startxref\n1\n%%EOF\n"
    (folder / "without-pages.pdf").write_bytes(unread)  # which only the provider sees
    fleet.start()
    open_job = submit(
        client, [*rows(folder / "same.wav", 1), {"id": "held", "input": {}, "operation": "held"}]
    )
    others = [
        one | {"id": one["file"]}
        for name in ("short.wav", "without-pages.pdf")
        for one in rows(folder / name, 1)
    ]
    job = submit(client, [*rows(folder / "long.wav", 6), *others])
    record = job.wait(WAIT_S)
    assert (record.succeeded, record.failed) == (7, 1), record.errors
    *long, inside, bad = job.results()
    expected = [expected_text(f"Question {number}?", media=[data]) for number in range(6)]
    assert [result.text for result in long] == expected, "the same answers as to bytes inside of the request"
    assert inside.text == expected_text("Question 0?", media=[short])
    assert {result.attempts for result in long} == {1}
    assert {result.outcome.usage.input_tokens for result in long} == {32 * 938 + 3}
    assert {result.outcome.usage.audio_tokens for result in long} == {32 * 938}, "at the price of recordings"
    assert (bad.status, bad.error and bad.error.status) == (ItemState.FAILED, "FILE_UNREADABLE")
    assert held(gemini)[1] == 2, "each content once, whatever names it"
    eventually(lambda: held(gemini) == (1, 2, 1), WAIT_S)  # the open job needs it still

    provider = genai.Client(api_key="test-key", http_options={"base_url": gemini.url})
    [file] = provider.files.list()
    assert (file.mime_type, file.state) == ("audio/wav", "ACTIVE")
    provider.files.delete(name=file.name or "")  # by somebody else, or by the provider before its time
    again = submit(client, rows(folder / "long.wav", 3))
    assert again.wait(WAIT_S).succeeded == 3
    met = [result.outcome.history for result in again.results() if result.attempts > 1]
    assert {history[0].error.status for history in met} == {"FILE_GONE"}
    assert held(gemini)[1] == 3

    fleet.calls_file.with_name("go").touch()
    assert open_job.wait(WAIT_S).succeeded == 2
    eventually(lambda: held(gemini)[0] == 0, WAIT_S)
    eventually(lambda: client.walk.uploads.entries("test") == [], WAIT_S)


@pytest.mark.fault
def test_an_upload_may_take_as_long_as_a_call_and_one_that_fails_is_a_failed_attempt(
    fleet: Fleet, client: Client, gemini: Emulator, folder: Path
) -> None:
    """Longer than an item waits for its permit: it would begin anew each time."""
    (folder / "batchq.toml").write_text("[operations.generate]\ntimeout_s = 10\nmax_attempts = 1\n")
    fleet.extra |= {"BATCHQ_CONFIG": str(folder / "batchq.toml"), "BATCHQ_PERMIT_WAIT_S": "0.5"}
    gemini.configure(file_processing_s=2)
    (folder / "slow.wav").write_bytes(wav())
    fleet.start()
    assert submit(client, rows(folder / "slow.wav", 1)).wait(WAIT_S).succeeded == 1

    gemini.configure(file_processing_s=3_600)
    (folder / "never.wav").write_bytes(wav(mark=1))
    job = submit(client, rows(folder / "never.wav", 1))
    assert job.wait(WAIT_S).dead_letter == 1
    [result] = job.results()
    assert result.error is not None
    assert (result.error.status, result.attempts) == ("TIMEOUT", 1)
    assert gemini.stats()["requests"] == 1, "nothing is asked about a file that is not there"


@pytest.mark.fault
def test_an_upload_whose_worker_is_killed_is_found_again_and_cleaned_up(
    fleet: Fleet, client: Client, gemini: Emulator, folder: Path
) -> None:
    gemini.configure(file_processing_s=5)
    for mark, name in enumerate(("wanted.wav", "cancelled.wav")):
        (folder / name).write_bytes(wav(mark=mark))
    first = fleet.start()
    job, cancelled = (submit(client, rows(folder / name, 4)) for name in ("wanted.wav", "cancelled.wav"))
    eventually(lambda: held(gemini)[1] == 2, WAIT_S)
    os.killpg(first.pid, signal.SIGKILL)
    cancelled.cancel()
    fleet.start()
    assert job.wait(WAIT_S).succeeded == 4
    assert held(gemini)[1] == 2, "what the dead worker had sent was found by its name"
    eventually(lambda: held(gemini) == (0, 2, 2), WAIT_S)
    eventually(lambda: client.walk.uploads.entries("test") == [], WAIT_S)


def test_vertex_ai_has_no_place_for_files_and_says_what_to_do() -> None:
    provider = GeminiProvider(GeminiConfig(vertex=True, cloud_project="mine", location="global"))
    with pytest.raises(Unsendable, match="gs://") as caught:
        provider.upload("name", wav(), "audio/wav", timeout_s=1)
    assert caught.value.kind == "TOO_LARGE"
