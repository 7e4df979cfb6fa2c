"""What a review sends, and what it takes."""

from __future__ import annotations

from batchq.operations.base import Blob, Call
from batchq.operations.generate import no_provider
from batchq.operations.review import FINDINGS, MODEL, Review, numbered
from batchq.operations.schemas import check_schema

REVIEW = Review(no_provider)


def test_lines_are_numbered_below_the_files_name_and_before_the_instruction() -> None:
    source = "\n".join(f"line {number}" for number in range(1, 11))
    call = Call("a.py", {"file": {}}, MODEL, blob=Blob("src/a.py", source.encode()), schema=FINDINGS)
    request = REVIEW.request(call, MODEL)
    [[part]] = [content["parts"] for content in request.contents]
    assert part["text"].startswith("File src/a.py:\n\n 1 line 1\n")
    assert "\n10 line 10\n\nReview the source file above" in part["text"]
    assert request.config["response_json_schema"] == FINDINGS
    own = Call("a", {"text": "x = 1"}, MODEL, options={"prompt": "Only bugs."}, schema=FINDINGS)
    [[part]] = [content["parts"] for content in REVIEW.request(own, MODEL).contents]
    assert part["text"] == "File a:\n\n1 x = 1\n\nOnly bugs."


def test_what_is_no_source_code_is_told_at_submission() -> None:
    assert check_schema(FINDINGS) is None
    assert REVIEW.check_file(Blob("a.py", b"x = 1")) is None
    assert "a.bin is no source code" in str(REVIEW.check_file(Blob("a.bin", b"\0\1")))
    assert "a.py is no source code" in str(REVIEW.check_file(Blob("a.py", b"\xff\xfe\xfa")))
    assert "nothing to review" in str(REVIEW.check({"prompt": "x"}, None))
    assert numbered("") == ""
