"""Which Gemini API, with which credentials: google-genai's own variables, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from batchq.errors import ConfigurationError

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # google-genai's order of precedence
EMULATOR_PROJECT = "emulator"
EMULATOR_LOCATION = "global"
EMULATOR_KEY = "emulator"


@dataclass(frozen=True, slots=True)
class GeminiConfig:
    """How to reach Gemini. Its repr shows no key.

    Developer API: `api_key` is set. Vertex AI: `vertex`, with `cloud_project` and `location`, or in express
    mode with `api_key` alone; credentials are Google's application default ones, which google-genai finds.
    `base_url` None: Google's own address. `key_variable` is where the key came from, for messages.
    """

    api_key: str | None = field(default=None, repr=False)
    vertex: bool = False
    cloud_project: str | None = None
    location: str | None = None
    base_url: str | None = None
    key_variable: str = "GEMINI_API_KEY"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> GeminiConfig:
        """Read google-genai's variables; raise ConfigurationError naming them when nothing can be reached.

        A base URL on the loopback interface (the emulator) needs neither key nor project. For Vertex AI it
        is taken from GOOGLE_VERTEX_BASE_URL, and a loopback GOOGLE_GEMINI_BASE_URL counts there too: whoever
        points Gemini at an emulator does not want Vertex AI to be called for real.
        """
        key_variable = next((name for name in KEY_VARIABLES if environ.get(name, "").strip()), None)
        key = environ[key_variable].strip() if key_variable else None
        base_url = environ.get("GOOGLE_GEMINI_BASE_URL", "").strip() or None
        vertex = _wants_vertex(environ)
        if vertex:
            local = base_url if base_url and is_loopback(base_url) else None
            base_url = environ.get("GOOGLE_VERTEX_BASE_URL", "").strip() or local
        if base_url and urlsplit(base_url).scheme not in ("http", "https"):
            raise ConfigurationError(
                f"GOOGLE_GEMINI_BASE_URL={base_url} is no http:// or https:// address: write the scheme too"
            )
        local = base_url if base_url and is_loopback(base_url) else None
        if vertex:
            return cls._vertex(environ, key, key_variable, base_url, local is not None)
        if key is None and base_url is None:
            raise ConfigurationError(
                "no way to reach Gemini: set GEMINI_API_KEY (or GOOGLE_API_KEY), or for Vertex AI "
                "GOOGLE_GENAI_USE_VERTEXAI=true with GOOGLE_CLOUD_PROJECT, or GOOGLE_GEMINI_BASE_URL for an "
                "emulator"
            )
        if key is None and local is None:
            raise ConfigurationError(
                f"GOOGLE_GEMINI_BASE_URL={base_url} is not on this machine, so it needs a key: set "
                "GEMINI_API_KEY (or GOOGLE_API_KEY)"
            )
        return cls(
            api_key=key or EMULATOR_KEY, base_url=base_url, key_variable=key_variable or "GEMINI_API_KEY"
        )

    @classmethod
    def _vertex(
        cls,
        environ: Mapping[str, str],
        key: str | None,
        key_variable: str | None,
        base_url: str | None,
        local: bool,
    ) -> GeminiConfig:
        project = environ.get("GOOGLE_CLOUD_PROJECT", "").strip() or None
        location = environ.get("GOOGLE_CLOUD_LOCATION", "").strip() or None
        if project is None and key is not None:  # Vertex AI's express mode
            return cls(
                api_key=key, vertex=True, base_url=base_url, key_variable=key_variable or "GOOGLE_API_KEY"
            )
        if project is None and not local:
            raise ConfigurationError(
                "GOOGLE_GENAI_USE_VERTEXAI is set but GOOGLE_CLOUD_PROJECT is not: name the project whose "
                "quota the calls use (and GOOGLE_CLOUD_LOCATION, default global)"
            )
        return cls(
            vertex=True,
            cloud_project=project or EMULATOR_PROJECT,
            location=location or EMULATOR_LOCATION,
            base_url=base_url,
        )

    @property
    def local(self) -> bool:
        """Whether the base URL is on this machine's loopback interface."""
        return self.base_url is not None and is_loopback(self.base_url)

    @property
    def project(self) -> str:
        """Whose quota calls count against: the Vertex project, else a digest that does not give away the key."""
        if self.cloud_project:
            return self.cloud_project
        return hashlib.sha256((self.api_key or "").encode()).hexdigest()[:12]

    @property
    def where(self) -> str:
        """The address asked, for messages."""
        return self.base_url or ("Vertex AI" if self.vertex else "the Gemini API")


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine itself, by name or number; no look-up."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _wants_vertex(environ: Mapping[str, str]) -> bool:
    for name in ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI"):
        if name in environ:
            return environ[name].lower() in ("true", "1")
    return False
