"""The Files API as google-genai's own client meets it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors

from batchq.emulator import Emulator, expected_text

MODEL = "gemini-2.5-flash-lite"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def client_of(emulator: Emulator, key: str = "one") -> genai.Client:
    return genai.Client(api_key=key, http_options={"base_url": emulator.url})


def put(client: genai.Client, data: bytes, kind: str = "image/png", name: str | None = None) -> Any:
    return client.files.upload(file=io.BytesIO(data), config={"mime_type": kind, "name": name})


def refusal(what: Any) -> tuple[int, str]:
    with pytest.raises(errors.APIError) as caught:
        what()
    return caught.value.code, str(caught.value.message)


def test_a_file_is_uploaded_in_pieces_looked_through_and_read_as_its_bytes_would_be(
    emulator: Emulator,
) -> None:
    emulator.configure(file_processing_s=3_600)
    client = client_of(emulator)
    data = PNG + bytes(9_000_000)  # more than one piece of the client's
    file = put(client, data)
    assert (file.state, file.mime_type, file.size_bytes) == ("PROCESSING", "image/png", len(data))
    part = {"file_data": {"file_uri": file.uri, "mime_type": "image/png"}}
    contents: Any = [{"role": "user", "parts": [part, {"text": "What is it?"}]}]
    code, said = refusal(lambda: client.models.generate_content(model=MODEL, contents=contents))
    assert (code, "not in an ACTIVE state" in said) == (400, True)

    emulator.configure(file_processing_s=0)
    file = put(client, data)
    assert client.files.get(name=file.name).state == "ACTIVE"
    contents[0]["parts"][0]["file_data"]["file_uri"] = file.uri
    answer = client.models.generate_content(model=MODEL, contents=contents)
    assert answer.text == expected_text("What is it?", media=[data])
    assert answer.usage_metadata.prompt_token_count == 258 + 3
    assert emulator.stats()["requests"] == 2, "files are no requests to a model"


def test_files_belong_to_a_project_and_go_when_deleted_or_after_their_time(emulator: Emulator) -> None:
    client, other = client_of(emulator), client_of(emulator, "another")
    names = [put(client, PNG + bytes([number])).name for number in range(12)]
    assert {file.name for file in client.files.list(config={"page_size": 5})} == set(names)
    assert list(other.files.list()) == []
    assert refusal(lambda: other.files.get(name=names[0]))[0] == 403
    client.files.delete(name=names[0])
    assert refusal(lambda: client.files.get(name=names[0]))[0] == 403
    assert refusal(lambda: client.files.delete(name=names[0]))[0] == 403
    emulator.configure(file_ttl_s=0)
    short = put(client, PNG)
    assert refusal(lambda: client.files.get(name=short.name))[0] == 403
    assert emulator.stats()["files"] == {"held": 11, "bytes": 11 * 109, "uploaded": 13, "deleted": 1}


def test_what_gemini_refuses_of_files_is_refused(emulator: Emulator) -> None:
    emulator.configure(max_file_bytes=200, max_stored_bytes=300)
    client = client_of(emulator)
    assert put(client, PNG, name="mine").name == "files/mine"
    assert refusal(lambda: put(client, PNG, name="mine"))[0] == 409
    assert refusal(lambda: put(client, PNG, name="No Name"))[0] == 400
    assert refusal(lambda: put(client, PNG + bytes(100)))[0] == 400
    put(client, PNG)
    assert refusal(lambda: put(client, PNG))[0] == 429
    stranger = client_of(emulator, "bad-key")
    assert refusal(lambda: stranger.files.get(name="mine"))[0] == 400


def test_a_file_that_is_none_fails_and_cannot_be_used(emulator: Emulator) -> None:
    client = client_of(emulator)
    file = put(client, b"no picture")
    assert file.state == "FAILED"
    part: Any = [{"file_data": {"file_uri": file.uri, "mime_type": "image/png"}}]
    assert refusal(lambda: client.models.generate_content(model=MODEL, contents=part))[0] == 400
