"""The tables of batchq.toml that stand once for each model, queue or operation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuotaSettings(_Section):
    """A fleet-wide limit, whatever the number of workers. None: no limit of this kind."""

    requests_per_minute: Count | None = Field(None, description="requests in any rolling minute")
    tokens_per_minute: Count | None = Field(None, description="input tokens in any rolling minute")
    requests_per_day: Count | None = Field(
        None, description="requests a day, which begins at midnight Pacific time"
    )
    concurrency: Count | None = Field(None, description="calls in flight")


class OperationSettings(_Section):
    """How one operation is run."""

    queue: str | None = Field(
        None, description="queue it is routed to (default: its own name)", pattern=r"^[\w.-]+$"
    )
    model: str | None = Field(None, description="model where a job names none (default: the operation's own)")
    timeout_s: Positive = Field(120, description="overall deadline of one call, an own operation's too")
    max_attempts: Count = Field(5, description="attempts at an item, rate limits not counted")
    backoff_s: Positive = Field(
        1, description="after attempt n an item waits anywhere up to this × 2^n, rate limits aside"
    )
    backoff_max_s: Positive = Field(600, description="longest of these waits")
    max_rate_limit_wait_s: Positive = Field(
        3600,
        description="waits after an item's own refusals for rate, in all; then it is a dead letter, RATE_LIMITED",
    )


UNSET_OPERATION = OperationSettings()


class PriceSettings(_Section):
    """What a model's calls cost, in place of the built-in table: USD a million tokens."""

    input: Price = Field(description="input tokens")
    output: Price = Field(0, description="output tokens, thoughts among them")
    cached_input: Price | None = Field(
        None, description="input tokens that the model found in its cache (default: as others)"
    )
    audio_input: Price | None = Field(None, description="input tokens of recordings (default: as others)")
    image_output: Price | None = Field(None, description="output tokens of drawn images (default: as others)")
    long_from: Count | None = Field(
        None, description="a call whose prompt has more tokens than this is at the `long_` prices, all of it"
    )
    long_input: Price | None = Field(None, description="input tokens of such a call (default: `input`)")
    long_output: Price | None = Field(None, description="output tokens of such a call (default: `output`)")
    long_cached_input: Price | None = Field(
        None, description="cached input tokens of such a call (default: `long_input`)"
    )
