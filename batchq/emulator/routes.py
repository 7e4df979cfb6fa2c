"""Paths of the Developer API and of Vertex AI, and who may call them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from batchq.core.pricing import TABLE, price_of
from batchq.emulator.answers import DIMENSIONS
from batchq.emulator.asked import INPUT_TOKEN_LIMIT
from batchq.emulator.refusals import Refusal, bad_key, no_key

GENERATES = frozenset({"generateContent", "streamGenerateContent", "countTokens"})
EMBEDS = frozenset({"embedContent", "batchEmbedContents", "predict", "countTokens"})

_DEVELOPER = re.compile(r"/(v1|v1beta|v1alpha)/models(?:/([^/:]+)(?::(\w+))?)?")
_VERTEX = re.compile(
    r"/(v1|v1beta1)/(?:projects/([^/]+)/locations/([^/]+)/)?publishers/google/models(?:/([^/:]+)(?::(\w+))?)?"
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `model` None: the list of models; `method` None: the model's own record."""

    version: str
    vertex: bool
    project: str | None  # of a Vertex path; None in express mode and at the Developer API
    location: str
    model: str | None
    method: str | None

    @property
    def embeds(self) -> bool:
        return self.method in ("embedContent", "batchEmbedContents", "predict")


@lru_cache(maxsize=4096)
def route_of(path: str) -> Route | None:
    """None: neither API has such a path."""
    path = unquote(path)
    if found := _DEVELOPER.fullmatch(path):
        return Route(found[1], False, None, "global", found[2], found[3])
    if found := _VERTEX.fullmatch(path):
        return Route(found[1], True, found[2], found[3] or "global", found[4], found[5])
    return None


def caller(route: Route, key: str | None, authorization: str | None, bad_keys: frozenset[str]) -> str:
    """Whose quota a request counts against. Raises Refusal for a missing or bad key or token."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    if not key and not token:
        raise Refusal(401) if route.vertex else no_key()
    if token and not key:
        if token in bad_keys:
            raise Refusal(401)
        if token.startswith("forbidden"):
            raise Refusal(403)
        return _project(route) or token
    assert key
    if key in bad_keys:
        raise bad_key()
    if key.startswith("forbidden"):
        raise Refusal(403)
    return _project(route) or key


def _project(route: Route) -> str | None:
    """The two APIs count apart, so a project and a key of one name must not be one account."""
    return f"projects/{route.project}" if route.project else None


@lru_cache(maxsize=1024)
def methods_of(model: str, more: frozenset[str] = frozenset()) -> frozenset[str]:
    """What a model can do; nothing: there is no such model."""
    if "embedding" in model and (model in DIMENSIONS or model in more or price_of(model) is not None):
        return EMBEDS
    if model in more or price_of(model) is not None:
        return GENERATES
    return frozenset()


def check_model(route: Route, more: frozenset[str]) -> str:
    """The model of a call. Raises the 404 of its API."""
    assert route.model is not None
    if route.method in methods_of(route.model, more):
        return route.model
    if route.vertex:
        raise Refusal(
            404,
            f"Publisher Model `projects/{route.project or '-'}/locations/{route.location}/publishers/google/models/"
            f"{route.model}` was not found or your project does not have access to it. Please ensure you are using "
            "a valid model version. For more information, see: "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
        )
    raise Refusal(
        404,
        f"models/{route.model} is not found for API version {route.version}, or is not supported for "
        f"{route.method}. Call ListModels to see the list of available models and their supported methods.",
    )


def model_record(route: Route, model: str, more: frozenset[str]) -> dict[str, Any]:
    """A model as GET shows it. Raises Refusal."""
    methods = methods_of(model, more)
    if not methods:
        if route.vertex:
            raise Refusal(404, f"Publisher Model `publishers/google/models/{model}` is not found.")
        raise Refusal(404, f"Model is not found: models/{model} for api version {route.version}")
    if route.vertex:
        return {"name": f"publishers/google/models/{model}", "versionId": "default", "launchStage": "GA"}
    embeds = methods is EMBEDS
    record: dict[str, Any] = {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model.replace("-", " ").title(),
        "description": "A model of the local emulator.",
        "inputTokenLimit": 8192 if embeds else INPUT_TOKEN_LIMIT,
        "outputTokenLimit": 1 if embeds else 65536,
        "supportedGenerationMethods": sorted(methods - {"predict", "streamGenerateContent"}),
    }
    if not embeds:
        record |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
    return record


def models_listed(route: Route, more: frozenset[str]) -> dict[str, Any]:
    names = [*TABLE, *DIMENSIONS, *sorted(more)]
    records = [model_record(route, name, more) for name in dict.fromkeys(names)]
    return {"publisherModels" if route.vertex else "models": records}
