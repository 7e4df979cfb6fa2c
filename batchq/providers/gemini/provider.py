"""The provider: one google-genai client a process, every call typed and ended at its deadline."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from batchq.core.records import JsonObject
from batchq.errors import Fatal, Unavailable, Unsendable
from batchq.providers.base import Embedded, Request, TextsToEmbed, Uploaded
from batchq.providers.gemini import files
from batchq.providers.gemini.config import GeminiConfig
from batchq.providers.gemini.vectors import vectors_of

if TYPE_CHECKING:
    from google import genai

T = TypeVar("T")

MOST_CALLS = 400  # at once in one process; the rest wait for a connection, inside their deadline
PREFLIGHT_S = 10.0
WELL_KNOWN = "application_default_credentials.json"  # where `gcloud auth application-default login` writes


class GeminiProvider:
    """Gemini for all tasks of a process. Building one is free; the client (0.3 s) comes with the first call.

    google.genai takes 1.5 s to import, so nothing here does until then.
    """

    def __init__(self, config: GeminiConfig, *, most_calls: int = MOST_CALLS) -> None:
        self._config = config
        self._most_calls = most_calls
        self._building = threading.Lock()
        self._built: _Built | None = None
        _alive.add(self)

    def __repr__(self) -> str:
        return f"GeminiProvider({self._config!r})"

    @property
    def project(self) -> str:
        return self._config.project

    def generate(self, model: str, request: Request, *, timeout_s: float) -> JsonObject:
        def ask(client: genai.Client) -> None:
            contents: Any = list(request.contents)
            config = self._ready().config_of(request.config)
            client.models.generate_content(model=model, contents=contents, config=config)

        return self._call(ask, timeout_s, read_answer)

    def embed(self, model: str, asked: TextsToEmbed, *, timeout_s: float) -> Embedded:
        def ask(client: genai.Client) -> None:
            # A Content a text: gemini-embedding-2 makes one vector of a list of plain texts.
            contents: Any = [{"role": "user", "parts": [{"text": text}]} for text in asked.texts]
            config: Any = dict(asked.config)
            client.models.embed_content(model=model, contents=contents, config=config)

        return self._call(ask, timeout_s, read_vectors)

    def upload(self, name: str, data: bytes, kind: str, *, timeout_s: float) -> Uploaded:
        if self._config.vertex:
            raise Unsendable(
                f"a file of {len(data) / 1e6:.1f} MB is too large for a request, and Vertex AI takes no uploads: name a "
                "gs:// address of it (fileData) in a request, or make it smaller",
                kind="TOO_LARGE",
            )
        return files.upload(self._ask_of_files, name, data, kind, timeout_s)

    def delete_file(self, name: str, *, timeout_s: float) -> None:
        files.delete(self._ask_of_files, name, timeout_s)

    def _ask_of_files(self, ask: Callable[[genai.Client], Any], timeout_s: float) -> JsonObject:
        return self._call(ask, timeout_s, read_answer)

    def warm(self) -> None:
        """Build the client now, so that the first call leaves when it is told to."""
        with contextlib.suppress(Exception):  # the call itself says what is wrong
            self._ready()

    def preflight(self, models: Iterable[str]) -> None:
        ends = time.monotonic() + PREFLIGHT_S
        for model in dict.fromkeys(models):
            ask = functools.partial(_ask_for, model=model)
            try:
                self._call(ask, ends - time.monotonic(), len)
            except Fatal as error:
                self._refuse(model, error)

    def _call(self, ask: Callable[[genai.Client], Any], timeout_s: float, read: Callable[[bytes], T]) -> T:
        """Ask, and read the answer's bytes; whatever goes wrong comes out as one of our errors."""
        seen = None
        try:
            built = self._ready()  # building it is no part of the call's time
            with built.exchange(timeout_s) as seen:
                ask(built.client)
            return read(seen.body)
        except Exception as exc:
            from batchq.providers.gemini.errors import typed
            from batchq.providers.gemini.transport import Exchange

            raise typed(exc, self._config, seen or Exchange(deadline=0.0)) from exc

    def _refuse(self, model: str, error: Fatal) -> NoReturn:
        if error.code != 404:
            raise error
        raise Fatal(
            f"{self._config.where} has no model {model!r}: {error.message}", code=404, kind=error.kind
        ) from error

    def close(self) -> None:
        with self._building:
            built, self._built = self._built, None
        if built:
            built.close()

    def _ready(self) -> _Built:
        built = self._built
        if built is None:
            with self._building:
                built = self._built = self._built or _Built(self._config, self._most_calls)
        return built

    def _start_afresh(self) -> None:
        """Forget connections and locks: a forked child must not use its parent's."""
        self._building = threading.Lock()
        self._built = None


_alive: weakref.WeakSet[GeminiProvider] = weakref.WeakSet()


def _after_fork() -> None:
    for provider in list(_alive):
        provider._start_afresh()


os.register_at_fork(after_in_child=_after_fork)


class _Built:
    """A google-genai client and what it holds open.

    The client is kept referenced for as long as it is used: one that loses its last reference closes
    itself, even in the middle of a call. Its async half is never used, but building it loads certificates
    three more times unless it is given ours. What stands on packages that are slow to import is kept here too: an
    import costs each call something, also of what is there.
    """

    def __init__(self, config: GeminiConfig, most_calls: int) -> None:
        import httpx2
        from google import genai
        from google.genai import types

        from batchq.providers.gemini.requests import config_of
        from batchq.providers.gemini.transport import Transport, certificates, exchange

        self.config_of, self.exchange = config_of, exchange
        context = certificates()
        self._transport = Transport(context, most=most_calls, proxy=_proxy(config))
        # follow_redirects stays off: a redirect would be a second request, with the key in its headers
        self._http = httpx2.Client(
            transport=self._transport,
            timeout=None,
            trust_env=False,
            headers={"accept-encoding": "gzip, deflate"},
        )
        self.client = genai.Client(
            vertexai=config.vertex,
            api_key=config.api_key,
            project=config.cloud_project if config.vertex else None,
            location=config.location if config.vertex else None,
            credentials=_credentials(config),
            http_options=types.HttpOptions(
                base_url=config.base_url,
                httpx_client=self._http,
                async_client_args={"verify": context, "ssl": context},
            ),
        )

    def close(self) -> None:
        self._http.close()
        self._transport.close()


def _ask_for(client: genai.Client, model: str) -> object:
    return client.models.get(model=model)


def read_answer(body: bytes) -> JsonObject:
    """The JSON object of an answer's bytes. Strict: anything that is not UTF-8 JSON is Unavailable.

    google-genai would decode with replacement characters and drop fields it does not know.
    """

    if not body:
        raise Unavailable("the answer has no body", kind="UNREADABLE")
    answer: Any = _decode(body.decode())
    if not isinstance(answer, dict):
        raise Unavailable("the answer is JSON but no object", kind="UNREADABLE")
    if b"\\ud" in body or b"\\uD" in body:
        json.dumps(answer, ensure_ascii=False).encode()  # a lone surrogate could not be stored
    return answer


def _no_constant(name: str) -> NoReturn:
    raise Unavailable(f"the answer holds {name}, which is not JSON", kind="UNREADABLE")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode  # json.loads would make one a call


def read_vectors(body: bytes) -> Embedded:
    return vectors_of(read_answer(body))


def _proxy(config: GeminiConfig) -> str | None:
    """The environment's proxy for the address asked (HTTPS_PROXY, NO_PROXY, …); None: straight."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    if config.local:
        return None
    address = urlsplit(config.base_url or "https://generativelanguage.googleapis.com")
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(address.hostname or ""):
        return None
    if urlsplit(proxy).scheme != "http":
        raise Fatal(
            f"the proxy {urlsplit(proxy).scheme}://{urlsplit(proxy).hostname} cannot be used: set HTTPS_PROXY "
            "to an http:// proxy, or NO_PROXY",
            kind="CONFIGURATION",
        )
    return proxy


def _credentials(config: GeminiConfig) -> Any:
    """A made-up token for a local emulator of Vertex AI; None: google-genai finds Google's own."""
    if not (config.vertex and config.local and config.api_key is None):
        return None
    from google.oauth2.credentials import Credentials

    gcloud = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or (gcloud / WELL_KNOWN).exists():
        return None
    return Credentials(token="emulator")  # type: ignore[no-untyped-call]  # noqa: S106
