"""Estimates of input tokens: Gemini's published rules, and a ratio learnt from real usage."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from batchq.core import tokens
from batchq.flow.experience import Experience
from batchq.store.database import Database
from batchq.store.quotas import QuotaStore


def image(kind: str, width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize(
    ("size", "expected"), [((384, 200), 258), ((385, 300), 258), ((1_000, 800), 4 * 258)]
)
def test_an_image_costs_258_a_tile(kind: str, size: tuple[int, int], expected: int) -> None:
    data = image(kind, *size)
    assert tokens.image_size(data) == size
    assert tokens.of_file(data, f"image/{kind.lower()}") == expected


def test_a_page_of_a_pdf_costs_258_and_text_a_token_for_four_bytes() -> None:
    pdf = b"%PDF-1.4 <</Type /Pages /Kids []>> <</Type /Page>> <</Type/Page /Parent 1 0 R>>"
    assert tokens.of_file(pdf, "application/pdf") == 2 * 258
    assert tokens.of_file(b"x" * 400, None) == 100
    assert tokens.of_texts({"prompt": "x" * 400}, ["y" * 400]) == 200 + tokens.OVERHEAD


def test_a_broken_image_is_guessed_and_never_raises() -> None:
    for data in (
        b"\xff\xd8\xff\xc0",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8" + b"\xff" * 50,
        image("JPEG", 9, 9)[:15],
    ):
        assert tokens.of_file(data, "image/jpeg") > 0


def test_the_upper_estimate_covers_nearly_all_and_the_usual_half() -> None:
    dice, ratio = random.Random(1), tokens.Ratio()
    assert ratio.estimate(1_000).upper == 1_201, "a margin as long as nothing is known"

    def real(raw: int) -> int:
        return int(raw * dice.uniform(1.5, 2.5))

    for _ in range(400):
        ratio.learn(1_000, real(1_000))
    estimate = ratio.estimate(1_000)
    seen = [real(1_000) for _ in range(1_000)]
    assert 0.90 <= sum(one <= estimate.upper for one in seen) / 1_000 <= 0.99
    assert 0.40 <= sum(one <= estimate.usual for one in seen) / 1_000 <= 0.60
    for _ in range(tokens.SAMPLES):
        ratio.learn(1_000, 500)
    assert ratio.estimate(1_000).upper == 501, "what is long ago is forgotten"


def test_what_one_process_learns_of_tokens_all_of_them_know(database: Database) -> None:
    store = QuotaStore(database)
    first = Experience("generate", "m", store)
    assert first.estimate(1_000).upper == 1_201, "nobody knows anything"
    other = Experience("embed", "m", store)
    for _ in range(60):
        first.learn(1_000, 2_000)
    first._share_at = 0.0  # five seconds later
    first.learn(1_000, 2_000)
    newcomer = Experience("generate", "m", store)
    assert newcomer.estimate(1_000) == first.estimate(1_000) == tokens.Estimate(2_001, 2_000, 1_000)
    for _ in range(2 * tokens.SAMPLES):
        newcomer.learn(1_000, 500)
    newcomer._share_at = 0.0
    newcomer.learn(1_000, 500)
    first._share_at = 0.0
    assert first.estimate(1_000).upper == 501, "the latest of the fleet count"
    assert other.estimate(1_000).upper == 1_201, "of the same operation only"


def test_a_store_that_is_away_leaves_a_process_with_what_it_knows(database: Database) -> None:
    alone = Experience(
        "generate", "m", QuotaStore(Database("redis://127.0.0.1:1/0", "batchq", timeout_s=0.2))
    )
    for _ in range(60):
        alone.learn(1_000, 3_000)
    assert alone.estimate(1_000).usual == 3_000
