"""What a request cannot hold is uploaded, the largest first, and no more than has to be."""

from __future__ import annotations

import base64
from typing import Any

from batchq.operations.attachments import MOST_IN_REQUEST, addresses, outsourced

HALF = MOST_IN_REQUEST // 8 * 3  # bytes of which base64 makes half of a request


class Shelf:
    def __init__(self) -> None:
        self.put_there: list[tuple[bytes, str]] = []

    def put(self, data: bytes, kind: str) -> str:
        self.put_there.append((data, kind))
        return f"https://there/{len(self.put_there)}"

    def lost(self, uri: str) -> None: ...


def inline(data: bytes | str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": data}}


def test_what_fits_goes_as_it_is() -> None:
    shelf = Shelf()
    contents = [
        {"role": "user", "parts": [inline(bytes(HALF)), inline(bytes(HALF - 100)), {"text": "x" * 50}]}
    ]
    assert outsourced(contents, shelf) == contents
    assert outsourced([{"role": "user", "parts": [inline(bytes(3 * HALF))]}], None)[0]["parts"][0][
        "inlineData"
    ]
    assert shelf.put_there == []


def test_the_largest_are_uploaded_until_the_rest_fits() -> None:
    shelf = Shelf()
    pages = [bytes(HALF), b"\1" * (HALF + 9), b"\2" * (HALF - 300), b"\3" * 30]
    contents = [{"role": "user", "parts": [*map(inline, pages), {"text": "Read."}]}]
    [content] = outsourced(contents, shelf)
    assert shelf.put_there == [(pages[1], "image/png")]
    assert content["parts"][1] == {"fileData": {"mimeType": "image/png", "fileUri": "https://there/1"}}
    assert [content["parts"][at] for at in (0, 2, 3, 4)] == [contents[0]["parts"][at] for at in (0, 2, 3, 4)]
    assert addresses([content]) == ["https://there/1"]
    assert "inlineData" in contents[0]["parts"][1], "the caller's own is left alone"


def test_base64_of_ones_own_request_is_uploaded_as_its_bytes() -> None:
    shelf = Shelf()
    data = b"\xfb\xff" * (HALF + 9)
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    outsourced([{"parts": [{"inline_data": {"mime_type": "audio/wav", "data": text}}]}], shelf)
    assert shelf.put_there == [(data, "audio/wav")]
