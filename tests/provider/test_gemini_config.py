"""google-genai's variables, read as google-genai reads them, and nothing that gives a key away."""

from __future__ import annotations

import hashlib

import pytest

from batchq.errors import ConfigurationError
from batchq.providers.gemini import GeminiConfig, GeminiProvider

LOCAL = "http://127.0.0.1:8099"


def test_a_key_is_enough_and_google_api_key_comes_first() -> None:
    config = GeminiConfig.from_env({"GEMINI_API_KEY": "one", "GOOGLE_API_KEY": " two "})
    assert (config.api_key, config.key_variable, config.vertex) == ("two", "GOOGLE_API_KEY", False)
    assert GeminiConfig.from_env({"GEMINI_API_KEY": "one", "GOOGLE_API_KEY": ""}).api_key == "one"


@pytest.mark.parametrize("environ", [{}, {"GEMINI_API_KEY": " "}, {"GOOGLE_CLOUD_PROJECT": "p"}])
def test_without_anything_the_error_names_the_variables(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GeminiConfig.from_env(environ)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GEMINI_BASE_URL"):
        assert name in str(caught.value)


@pytest.mark.parametrize("url", [LOCAL, "http://localhost:8099/", "http://[::1]:8099"])
def test_a_base_url_on_this_machine_needs_no_key(url: str) -> None:
    assert GeminiConfig.from_env({"GOOGLE_GEMINI_BASE_URL": url}).api_key == "emulator"


def test_a_base_url_elsewhere_needs_a_key() -> None:
    with pytest.raises(ConfigurationError, match="needs a key: set GEMINI_API_KEY"):
        GeminiConfig.from_env({"GOOGLE_GEMINI_BASE_URL": "https://gateway.example"})
    with pytest.raises(ConfigurationError, match="no http:// or https:// address"):
        GeminiConfig.from_env({"GOOGLE_GEMINI_BASE_URL": "gateway.example", "GEMINI_API_KEY": "k"})


def test_vertex_needs_a_project_or_a_key() -> None:
    vertex = {"GOOGLE_GENAI_USE_VERTEXAI": "True"}
    config = GeminiConfig.from_env({**vertex, "GOOGLE_CLOUD_PROJECT": "p-1", "GEMINI_API_KEY": "k"})
    assert (config.vertex, config.project, config.location, config.api_key) == (True, "p-1", "global", None)
    assert GeminiConfig.from_env({**vertex, "GOOGLE_API_KEY": "k"}).api_key == "k"
    with pytest.raises(ConfigurationError, match="GOOGLE_CLOUD_PROJECT"):
        GeminiConfig.from_env(vertex)
    assert not GeminiConfig.from_env({"GOOGLE_GENAI_USE_VERTEXAI": "false", "GEMINI_API_KEY": "k"}).vertex


def test_vertex_goes_to_a_local_emulator_rather_than_to_google() -> None:
    config = GeminiConfig.from_env({"GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_GEMINI_BASE_URL": LOCAL})
    assert (config.base_url, config.project) == (LOCAL, "emulator")
    own = GeminiConfig.from_env(
        {
            "GOOGLE_GENAI_USE_VERTEXAI": "1",
            "GOOGLE_CLOUD_PROJECT": "p",
            "GOOGLE_VERTEX_BASE_URL": "https://vertex.example",
            "GOOGLE_GEMINI_BASE_URL": "https://gemini.example",
        }
    )
    assert own.base_url == "https://vertex.example"


def test_a_key_shows_in_no_repr_and_the_project_is_a_digest_of_it() -> None:
    secret = "AIzaSy-very-secret"
    config = GeminiConfig.from_env({"GEMINI_API_KEY": secret})
    provider = GeminiProvider(config)
    assert secret not in repr(config) + repr(provider) + str(provider)
    assert provider.project == hashlib.sha256(secret.encode()).hexdigest()[:12]
