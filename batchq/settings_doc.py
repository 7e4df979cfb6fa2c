"""Makes docs/settings.md from the settings themselves: `python -m batchq.settings_doc > docs/settings.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batchq.sections import OperationSettings, PriceSettings, QuotaSettings
from batchq.settings import Settings, variable_of

HEAD = """\
# Settings

<!-- made by `make docs` from batchq/settings.py: edit that -->

Argument > environment > `batchq.toml` > default. The file is the one that `BATCHQ_CONFIG` names, else
`batchq.toml` in the working folder, else in the user's configuration folder. An unknown or ill-typed key is an
error that names it; an unknown `BATCHQ_` variable is a warning. Celery's own `CELERY_*` variables are not read.
`batchq doctor` prints the settings in force.

| key | variable | default | meaning |
| --- | --- | --- | --- |
"""

MORE = """\

Not keys, but variables that are read as well:

| variable | meaning |
| --- | --- |
| `BATCHQ_CONFIG` | the settings file |
| `BATCHQ_DATA_DIR` | where the embedded server keeps its data (default: the user's data folder) |
| `GEMINI_API_KEY`, `GOOGLE_API_KEY`, `GOOGLE_GENAI_USE_VERTEXAI`, `GOOGLE_CLOUD_PROJECT`, `GOOGLE_CLOUD_LOCATION`, `GOOGLE_GEMINI_BASE_URL` | as google-genai defines them |
"""

SECTIONS: tuple[tuple[str, str, str, type[BaseModel]], ...] = (
    (
        'quotas."MODEL"',
        "Fleet-wide limits of a model, whatever the number of workers",
        "quotas",
        QuotaSettings,
    ),
    (
        "queues.QUEUE",
        "Fleet-wide limits of everything in a queue; the tighter limit holds",
        "queues",
        QuotaSettings,
    ),
    ("operations.OPERATION", "How an operation is run", "operations", OperationSettings),
    (
        'prices."MODEL"',
        "What a model's calls cost, over the built-in price or for a model without one; USD a million tokens",
        "prices",
        PriceSettings,
    ),
)


def document() -> str:
    """The whole page."""
    own = "".join(_row(name, field, (name,)) for name, field in _plain_fields(Settings))
    parts = [HEAD, own, MORE]
    for title, meaning, key, model in SECTIONS:
        example = title.partition(".")[2].strip('"')
        parts.append(
            f"\n## `[{title}]`\n\n{meaning}.\n\n| key | variable | default | meaning |\n| --- | --- | --- | --- |\n"
        )
        parts += (_row(name, field, (key, example, name)) for name, field in _plain_fields(model))
    return "".join(parts)


def _plain_fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if name not in {key for _, _, key, _ in SECTIONS} or model is not Settings:
            yield name, field


def _row(name: str, field: FieldInfo, path: tuple[str, ...]) -> str:
    return f"| `{name}` | `{variable_of(path)}` | {_default(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "to be given"
    value = field.get_default(call_default_factory=False)
    if value is None or value == () or value == {}:
        return "none"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) or float in get_args(field.annotation):
        return f"{value:g}"
    return f"{value}"


if __name__ == "__main__":
    sys.stdout.write(document())
