"""One typed, frozen settings object: argument > environment > batchq.toml > default.

docs/settings.md is made from this file (`make docs`). Every key has a variable, `BATCHQ_` + path with `__`
between levels. Celery's own `CELERY_*` variables are not read.
"""

from __future__ import annotations

import base64
import os
import re
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from batchq.core import redis_url
from batchq.core.ring import TURN_S
from batchq.errors import ConfigurationError
from batchq.sections import (
    UNSET_OPERATION,
    Count,
    OperationSettings,
    Positive,
    PriceSettings,
    QuotaSettings,
)

PREFIX = "BATCHQ_"
FILE_NAME = "batchq.toml"
# read elsewhere: by the search for the file, by the embedded server, by the test suite
OTHER_VARIABLES = frozenset({"BATCHQ_CONFIG", "BATCHQ_DATA_DIR", "BATCHQ_TEST_DATA"})


class UnknownVariable(UserWarning):
    """A BATCHQ_ variable that names no setting."""


class Settings(BaseSettings):
    """Everything that can be set. Frozen: a process reads it once."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    redis_url: str | None = Field(
        None,
        description="the job store; also broker and result backend unless set apart: `redis://`, `rediss://`, "
        "`redis+socket://`, `sentinel://:PW@h1:26379,h2:26379/0?master=NAME`. Not set: the embedded local server",
    )
    broker_url: str | None = Field(None, description="another broker (default: `redis_url`)")
    result_backend: str | None = Field(None, description="another result backend (default: `redis_url`)")
    namespace: str = Field(
        "batchq",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="prefix of the store's keys, the queue names, kombu's unacked keys and the channels of Celery's "
        "events and remote control, so that installations and other Celery apps can share a server",
    )
    project: str | None = Field(
        None,
        description="whose quota calls count against (default: the Vertex project, else a digest of the key)",
    )
    remote_control: bool = Field(
        True, description="Celery's remote control; off: Flower shows heartbeats only"
    )
    file_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="folders whose files workers may read for submissions; in the variable split by the path separator",
    )
    sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="beginnings of addresses (`s3://bucket/lists/`) whose lists workers may read for messages that "
        "name them as their source; in the variable split by commas",
    )
    destinations: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="beginnings of addresses (`s3://bucket/results/`) to which workers may write for messages that "
        "name them as their destination; in the variable split by commas",
    )
    include: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="modules with own operations; in the variable split by commas"
    )

    wave_items: Count = Field(
        200, le=1_000, description="items in one wave, that is in one Celery chord, at most"
    )
    shard_items: Count = Field(200, le=1_000, description="items stored together, at most")
    shard_bytes: Count = Field(64 * 1024, description="compressed bytes of a shard, about")
    heartbeat_s: Positive = Field(4, description="pause between two heartbeats of a worker process")
    lease_s: Positive = Field(15, description="a worker process that has not beaten for so long is dead")
    sweep_s: Positive = Field(2, description="pause between two rounds of the sweeper")
    permit_wait_s: Positive = Field(
        30,
        description="longest wait for a permit in a worker, then the item goes back; a large one keeps its turn, up to 65 s",
    )
    message_retry_s: Positive = Field(
        30,
        description="longest countdown of a Celery retry; longer waits go back to the store with a due time",
    )
    undelivered_s: Positive = Field(
        15, description="a message not claimed for so long counts as lost, at least"
    )
    max_crashes: Count = Field(
        3, description="worker deaths under one item within 24 h before it is a dead letter, POISON"
    )
    dead_letter_queue_limit: Annotated[int, Field(ge=0)] = Field(
        10_000, description="messages in the dead-letter queue at most, the newest; 0: it gets none"
    )
    automatic_redrives: Annotated[int, Field(ge=0)] = Field(
        3, description="times that a worker which consumes the dead-letter queue sends one item back, at most"
    )
    fatal_in_a_row: Count = Field(3, description="fatal provider errors in a row that pause a job")
    grace_s: Positive = Field(
        10, description="time that calls in flight have to end on shutdown; then their items go back"
    )
    visibility_timeout_s: Positive = Field(
        600, description="kombu gives an unacknowledged message out again after this"
    )
    retention_s: Positive = Field(
        30 * 86_400, description="a job is kept so long after its end; on the embedded server for ever"
    )
    socket_timeout_s: Positive = Field(10, description="a Redis call that takes longer has failed")
    webhook_secret: SecretStr | None = Field(
        None,
        description="what workers sign webhook events with: `whsec_` and 24 to 64 random bytes in base64; without it "
        "no event is sent",
    )
    webhook_tries: Count = Field(8, description="sendings of one event before it is given up")
    webhook_wait_s: Positive = Field(
        20,
        description="wait before an event is sent again, at first; it grows threefold each time, up to an hour",
    )
    destination_tries: Count = Field(
        8, description="times that a job's results are written before it has failed"
    )
    destination_wait_s: Positive = Field(
        10,
        description="wait before results are written again, at first; it grows threefold each time, up to an hour",
    )
    webhook_loopback: bool = Field(
        False, description="events may go to this machine, over plain http too: for receivers under test"
    )
    log_items: bool = Field(
        False, description="a line in the worker's log for each settled item; slow ones have theirs always"
    )

    quotas: dict[str, QuotaSettings] = Field({}, description="fleet-wide limits by model")
    queues: dict[str, QuotaSettings] = Field({}, description="fleet-wide limits by queue")
    operations: dict[str, OperationSettings] = Field({}, description="settings by operation")
    prices: dict[str, PriceSettings] = Field({}, description="prices by model, over the built-in ones")

    @field_validator("file_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part for part in value.split(os.pathsep) if part]
        return tuple(Path(part).expanduser() for part in value)

    @field_validator("sources", "destinations")
    @classmethod
    def _are_beginnings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/]+(/.*)?", one) or one.startswith("file:"):
                raise ValueError(f"{one!r} is no beginning of an address: write it as s3://bucket/folder/")
        # up to a slash, else https://data.example would let https://data.example.evil in
        return tuple(one if one.endswith("/") else f"{one}/" for one in value)

    @field_validator("include", "sources", "destinations", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("redis_url", "result_backend")
    @classmethod
    def _is_redis(cls, value: str | None) -> str | None:
        if value is not None and value != "embedded":
            redis_url.parse(value)
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            prefix, _, text = value.get_secret_value().partition("_")
            try:
                size = len(base64.b64decode(text, validate=True)) if prefix == "whsec" else 0
            except ValueError:
                size = 0
            if not 24 <= size <= 64:
                raise ValueError(
                    "it must be whsec_ and 24 to 64 random bytes in base64: "
                    'echo "whsec_$(head -c 32 /dev/urandom | base64)" makes one'
                )
        return value

    @model_validator(mode="after")
    def _numbers_agree(self) -> Settings:
        if problem := self._disagreement():
            raise ValueError(problem)
        return self

    def _disagreement(self) -> str | None:
        if self.lease_s < 3 * self.heartbeat_s:
            return f"lease_s={self.lease_s:g} must be at least 3 × heartbeat_s={self.heartbeat_s:g}: raise the lease"
        deadlines = {name: one.timeout_s for name, one in self.operations.items()}
        longest = max([UNSET_OPERATION.timeout_s, *deadlines.values()])
        busy_s = longest + max(self.permit_wait_s, self.message_retry_s, TURN_S)
        if busy_s < self.visibility_timeout_s:
            return None
        whose = next((f" of operation {name}" for name, one in deadlines.items() if one == longest), "")
        return (
            f"visibility_timeout_s={self.visibility_timeout_s:g} must be above call deadline{whose} + longest wait "
            f"= {busy_s:g}: raise it, else running items are delivered twice"
        )

    def with_tables(
        self, operations: dict[str, OperationSettings], queues: dict[str, QuotaSettings]
    ) -> Settings:
        """The same with other tables. Raises ConfigurationError where their numbers do not agree with the others."""
        changed = self.model_copy(update={"operations": operations, "queues": queues})
        if problem := changed._disagreement():
            raise ConfigurationError(problem)
        return changed

    def operation(self, name: str) -> OperationSettings:
        """The settings of an operation, defaults where none are set."""
        return self.operations.get(name, UNSET_OPERATION)

    def queue_of(self, operation: str) -> str:
        """The Celery queue an operation is routed to."""
        return f"{self.namespace}.{self.operation(operation).queue or operation}"

    def limits_shown(self) -> dict[str, str]:
        """Every configured limit in words, by the name of its table: those of two workers can be compared."""
        tables = {f'quotas."{name}"': one for name, one in self.quotas.items()}
        tables |= {f"queues.{name}": one for name, one in self.queues.items()}
        return {
            name: ", ".join(f"{what}={n}" for what, n in one.model_dump(exclude_none=True).items())
            for name, one in tables.items()
        }

    @property
    def control_queue(self) -> str:
        return f"{self.namespace}.control"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.namespace}.dead_letter"

    def lease_max_s(self, operation: str) -> float:
        """No lease lasts longer, whatever the heartbeat: a greenlet can die under a living process."""
        return self.operation(operation).timeout_s + max(self.permit_wait_s, TURN_S) + 30

    @property
    def store_url(self) -> str:
        """Where the job store is. Raises ConfigurationError when nothing says it."""
        if self.redis_url is None:
            raise ConfigurationError(
                "BATCHQ_REDIS_URL is not set and no embedded server of yours is running: set it to your server "
                "(redis://HOST:6379/0), or run `batchq server start`"
            )
        return self.redis_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings]
        path = config_file()
        if path is not None:
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)


def config_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The batchq.toml in force: BATCHQ_CONFIG, else the working folder's, else the user's; None: there is none."""
    named = environ.get("BATCHQ_CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"BATCHQ_CONFIG names {named}, which is not there: correct or unset it")
        return path
    from platformdirs import user_config_path

    for path in (Path.cwd() / FILE_NAME, user_config_path("batchq") / FILE_NAME):
        if path.is_file():
            return path
    return None


def load(**arguments: Any) -> Settings:
    """The settings in force; arguments that are None are left out. Raises ConfigurationError."""
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as exc:
        raise ConfigurationError(_explain(exc)) from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{config_file()} is no valid TOML: {exc}") from None
    except ConfigurationError:
        raise
    except Exception as exc:  # pydantic-settings wraps what a source raises
        raise ConfigurationError(f"cannot read the settings: {exc}") from exc
    _warn_of_unknown_variables()
    return settings


def variable_of(path: tuple[str | int, ...]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in path)


def _explain(error: ValidationError) -> str:
    lines = []
    for one in error.errors():
        path = tuple(one["loc"])
        name = ".".join(str(part) for part in path)
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            lines.append(
                f"unknown setting {name!r}: correct the name or remove it (docs/settings.md lists them)"
            )
        elif path:
            lines.append(f"setting {name!r} ({variable_of(path)}): {message[:1].lower()}{message[1:]}")
        else:
            lines.append(message)
    return "\n".join(lines)


def _warn_of_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and name.split("__")[0] not in known:
            warnings.warn(f"{name} names no setting of batchq and is ignored", UnknownVariable, stacklevel=3)
