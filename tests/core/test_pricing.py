"""Costs follow the dated table; what is not in it has no price, never a wrong one."""

from __future__ import annotations

import pytest

from batchq.core.pricing import AS_OF, TABLE, Price, cost_usd, price_of
from batchq.core.records import Usage

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gemini-2.5-flash-lite", 0.50),
        ("gemini-2.5-flash", 2.80),
        ("gemini-3.1-flash-lite", 1.75),
        ("gemini-3.5-flash-lite", 2.80),
        ("gemini-3.5-flash", 10.50),
        ("gemini-3.6-flash", 4.50),
        ("gemini-3.7-flash", 4.50),
        ("gemini-3.8-flash", 4.50),
        ("gemini-2.5-pro", 17.50),  # over 200,000 prompt tokens
        ("gemini-3.1-pro-preview", 22.0),
        ("gemini-embedding-001", 0.15),
        ("gemini-embedding-2", 0.20),
    ],
)
def test_a_million_tokens_in_and_out_cost_the_list_price(model: str, dollars: float) -> None:
    assert cost_usd(model, MILLION) == pytest.approx(dollars)


def test_the_long_price_begins_above_its_threshold_and_holds_for_the_whole_call() -> None:
    at, above = (Usage(input_tokens=tokens, output_tokens=1_000) for tokens in (200_000, 200_001))
    assert cost_usd("gemini-2.5-pro", at) == pytest.approx(0.26)
    assert cost_usd("gemini-2.5-pro", above) == pytest.approx(0.5150025)


@pytest.mark.parametrize(
    "name",
    [
        "models/gemini-2.5-flash",
        "publishers/google/models/gemini-2.5-flash",
        "gemini-2.5-flash-001",
        "gemini-2.5-flash-preview",
        "gemini-2.5-flash-preview-05-20",
        "gemini-2.5-flash-preview-09-2025",
        "gemini-2.5-flash-latest",
    ],
)
def test_versions_of_a_model_have_its_price(name: str) -> None:
    assert price_of(name) is TABLE["gemini-2.5-flash"]


@pytest.mark.parametrize(
    "name",
    ["gemini-2.5-pro-image", "gemini-2.5-flash-preview-tts", "gemini-9-ultra", "gemini", "", "gemini-2.5"],
)
def test_other_models_have_no_price(name: str) -> None:
    assert price_of(name) is None
    assert cost_usd(name, MILLION) is None


def test_no_model_has_no_cost() -> None:
    assert cost_usd(None, MILLION) is None


def test_another_table_replaces_the_prices() -> None:
    mine = {"gemini-2.5-flash": Price(1.0, 2.0), "house-model": Price(0.5, 0.5)}
    assert cost_usd("gemini-2.5-flash", MILLION, mine) == pytest.approx(3.0)
    assert cost_usd("house-model", MILLION, mine) == pytest.approx(1.0)
    assert cost_usd("gemini-2.5-pro", MILLION, mine) is None


def test_cached_tokens_are_part_of_the_input_and_cost_a_tenth_of_it() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cached_tokens=900_000)
    assert cost_usd("gemini-2.5-flash-lite", usage) == pytest.approx(0.01 + 0.009)
    assert cost_usd("gemini-2.5-pro", usage) == pytest.approx(
        0.25 + 0.225
    )  # the whole call at the long price


def test_cached_tokens_without_a_price_of_their_own_cost_what_others_do() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cached_tokens=900_000)
    assert cost_usd("house", usage, {"house": Price(2.0, 1.0)}) == pytest.approx(2.0)
    assert cost_usd("house", usage, {"house": Price(2.0, 1.0, cached_usd=0.0)}) == pytest.approx(0.2)


def test_the_table_says_when_it_was_read() -> None:
    year, month = AS_OF.split("-")
    assert int(year) >= 2026
    assert 1 <= int(month) <= 12


def test_recordings_have_a_price_of_their_own() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=10, cached_tokens=100, audio_tokens=600)
    dollars = (300 * 0.3 + 600 * 1.0 + 100 * 0.03 + 10 * 2.5) / 1e6
    assert cost_usd("gemini-2.5-flash", usage) == pytest.approx(dollars)
    assert cost_usd("gemini-2.5-pro", usage) == pytest.approx((900 * 1.25 + 100 * 0.125 + 10 * 10) / 1e6)
    assert Usage(*usage.wire()) == usage
    price = TABLE["gemini-2.5-flash"]
    assert (price.prompt_usd(10, heard=True), price.prompt_usd(10, heard=False)) == (1.0, 0.3)


def test_drawn_images_have_a_price_of_their_own() -> None:
    usage = Usage(input_tokens=100, output_tokens=1_300, image_tokens=1_290)
    assert cost_usd("gemini-2.5-flash-image", usage) == pytest.approx(
        (100 * 0.3 + 10 * 2.5 + 1_290 * 30) / 1e6
    )
    assert cost_usd("gemini-2.5-flash", usage) == pytest.approx((100 * 0.3 + 1_300 * 2.5) / 1e6)
    assert Usage(*usage.wire()) == usage
    drawing, writing = TABLE["gemini-2.5-flash-image"], TABLE["gemini-2.5-flash"]
    assert (drawing.answer_usd(100), writing.answer_usd(100)) == (30.0, 2.5)
