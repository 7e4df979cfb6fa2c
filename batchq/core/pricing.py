"""What calls cost: a dated table of list prices, and the sum for a model and its usage.

The figures are Google's list prices for ordinary calls of the Developer API with text, in US dollars a million
tokens. They are an estimate, never a bill: discounts, batch, flex, grounding and the storage of caches are not in
them. Users replace a model's prices, or add a model's, in batchq.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from batchq.core.records import Usage

AS_OF = "2026-11"  # the month in which TABLE was read off Google's price pages


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens. Over `long_from` prompt tokens the whole call is at the `long_` prices.

    `output_usd` also holds for thoughts, and for images without a price of their own. `long_from` None: one price at
    any length. Cached tokens without a price of
    their own cost what others do.
    """

    input_usd: float
    output_usd: float
    long_from: int | None = None  # prompt tokens of one call
    long_input_usd: float = 0.0
    long_output_usd: float = 0.0
    cached_usd: float | None = None
    long_cached_usd: float | None = None
    image_usd: float | None = None  # output tokens of drawn images
    audio_usd: float | None = None  # input tokens of recordings

    def of_length(self, input_tokens: int) -> tuple[float, float, float]:
        """Input, output and cached input of a call with so long a prompt."""
        if self.long_from is not None and input_tokens > self.long_from:
            prices = self.long_input_usd, self.long_output_usd, self.long_cached_usd
        else:
            prices = self.input_usd, self.output_usd, self.cached_usd
        input_usd, output_usd, cached_usd = prices
        return input_usd, output_usd, input_usd if cached_usd is None else cached_usd

    def prompt_usd(self, input_tokens: int, *, heard: bool) -> float:
        """Of an input token at most; `heard`: there is a recording among them."""
        usual = self.of_length(input_tokens)[0]
        return max(usual, self.audio_usd) if heard and self.audio_usd is not None else usual

    def answer_usd(self, input_tokens: int) -> float:
        """Of an output token of what the model is for: of an image where it draws."""
        return self.image_usd if self.image_usd is not None else self.of_length(input_tokens)[1]

    def cost(self, usage: Usage) -> float:
        """Dollars for one call; the sum of several calls would be judged by the wrong length."""
        input_usd, output_usd, cached_usd = self.of_length(usage.input_tokens)
        cached = min(usage.cached_tokens, usage.input_tokens)
        drawn = min(usage.image_tokens, usage.output_tokens)
        heard = min(usage.audio_tokens, usage.input_tokens - cached)
        sums = (
            (usage.input_tokens - cached - heard) * input_usd,
            heard * (input_usd if self.audio_usd is None else self.audio_usd),
            cached * cached_usd,
            (usage.output_tokens - drawn) * output_usd,
            drawn * (output_usd if self.image_usd is None else self.image_usd),
        )
        return sum(sums) / 1_000_000


Prices = Mapping[str, Price]  # by model name, without "models/"

CACHED_SHARE = 0.1  # of the input price, for tokens that a model of 2.5 or later finds in its cache


def _cached(price: Price) -> Price:
    return replace(
        price,
        cached_usd=price.input_usd * CACHED_SHARE,
        long_cached_usd=price.long_input_usd * CACHED_SHARE,
    )


TABLE: Prices = MappingProxyType(
    {
        "gemini-2.5-flash-lite": _cached(Price(0.10, 0.40, audio_usd=0.30)),
        "gemini-2.5-flash": _cached(Price(0.30, 2.50, audio_usd=1.00)),
        "gemini-2.5-pro": _cached(Price(1.25, 10.00, 200_000, 2.50, 15.00)),
        "gemini-3.1-flash-lite": _cached(Price(0.25, 1.50)),
        "gemini-3.5-flash-lite": _cached(Price(0.30, 2.50)),
        "gemini-3.5-flash": _cached(Price(1.50, 9.00)),
        "gemini-3.6-flash": _cached(Price(0.75, 3.75)),
        "gemini-3.7-flash": _cached(Price(0.75, 3.75)),
        "gemini-3.8-flash": _cached(Price(0.75, 3.75)),
        "gemini-3.1-pro-preview": _cached(Price(2.00, 12.00, 200_000, 4.00, 18.00)),
        "gemini-2.5-flash-image": _cached(Price(0.30, 2.50, image_usd=30.00)),  # 1,290 tokens an image
        "gemini-3.1-flash-image": _cached(Price(0.50, 3.00, image_usd=60.00)),  # 1,120 at 1K
        "gemini-3-pro-image": _cached(Price(2.00, 12.00, image_usd=120.00)),  # 1,120 at 1K and 2K
        "gemini-embedding-001": Price(0.15, 0.0),
        "gemini-embedding-2": Price(0.20, 0.0),
    }
)

# What Google appends to a model's name for one version of it: -001, -preview, -preview-09-2025, -latest.
# Anything else (-image, -tts, -live, -audio) is another model at another price.
_VERSION = re.compile(r"(-preview)?(-\d{2}-\d{4}|-\d{2}-\d{2}|-\d{3})?$|-latest$")


def price_of(model: str, prices: Prices = TABLE) -> Price | None:
    """The price of a model or of a dated, numbered or preview version of it; None: not in the table.

    Takes `models/…` and Vertex's `publishers/google/models/…` as well as the bare name.
    """
    name = model.rsplit("/", 1)[-1]
    if name in prices:
        return prices[name]
    suffix = _VERSION.search(name)
    return prices.get(name[: suffix.start()]) if suffix else None


def cost_usd(model: str | None, usage: Usage, prices: Prices = TABLE) -> float | None:
    """Dollars for one call's usage; None where no price is known for the model."""
    price = price_of(model, prices) if model else None
    return price.cost(usage) if price else None
