"""The provider and the operations against the emulator, over the Developer API and Vertex AI."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw

from batchq.emulator import Emulator, EmulatorOptions, expected_text, parse_fault
from batchq.errors import Fatal, ProviderError, Rejected, Throttled, Unavailable
from batchq.operations.base import Blob, Call
from batchq.operations.extract import Extract
from batchq.operations.generate import Generate
from batchq.operations.schemas import misfit
from batchq.providers.gemini import GeminiConfig, GeminiProvider

MODEL = "gemini-2.5-flash-lite"
INVOICE = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "total": {"type": "number"}, "paid": {"type": "boolean"}},
    "required": ["number", "total"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(EmulatorOptions()) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: Emulator) -> Iterator[Emulator]:
    yield running
    running.configure(rpm=None, faults=())
    running.reset()


def provider_of(emulator: Emulator, *, vertex: bool = False) -> GeminiProvider:
    environ = {"GOOGLE_GEMINI_BASE_URL": emulator.url}
    if vertex:
        environ |= {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p-1"}
    return GeminiProvider(GeminiConfig.from_env(environ))


@pytest.fixture(params=[False, True], ids=["developer", "vertex"])
def provider(
    request: pytest.FixtureRequest, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GeminiProvider]:
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    provider = provider_of(emulator, vertex=request.param)
    yield provider
    provider.close()


def call(input: dict[str, Any], **more: Any) -> Call:
    return Call(item_id="i", input=input, model=MODEL, timeout_s=10, **more)


def scan() -> bytes:
    pages = []
    for text in ("INVOICE 17", "TOTAL 42.00"):
        page = Image.new("L", (200, 80), 255)
        ImageDraw.Draw(page).text((10, 10), text, fill=0)
        pages.append(page)
    out = io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    return out.getvalue()


def test_a_prompt_gets_its_own_answer_and_a_count_of_tokens(provider: GeminiProvider) -> None:
    answer = Generate(lambda: provider).run(call({"prompt": "how many apples?"}))
    assert answer.text == expected_text("how many apples?")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_a_schema_is_filled_and_the_answer_parsed(provider: GeminiProvider) -> None:
    answer = Generate(lambda: provider).run(call({"prompt": "an invoice"}, schema=INVOICE))
    assert set(answer.data) >= {"number", "total"}
    assert misfit(answer.data, INVOICE) is None


def test_a_tiff_of_two_pages_is_extracted_though_gemini_reads_no_tiff(provider: GeminiProvider) -> None:
    operation = Extract(lambda: provider)
    item = {"file": {"name": "scan.tif", "sha256": "0", "size": 1}}
    answer = operation.run(call(item, schema=INVOICE, blob=Blob("scan.tif", scan())))
    assert misfit(answer.data, INVOICE) is None


def test_preflight_knows_the_models_and_refuses_others(provider: GeminiProvider) -> None:
    provider.preflight([MODEL])
    with pytest.raises(Fatal, match="no-such-model"):
        provider.preflight([MODEL, "no-such-model"])


def test_a_refused_key_is_found_by_the_preflight(emulator: Emulator) -> None:
    provider = GeminiProvider(GeminiConfig(api_key="bad-key", base_url=emulator.url))
    with pytest.raises(Fatal, match="check GEMINI_API_KEY"):
        provider.preflight([MODEL])
    provider.close()


@pytest.mark.parametrize("vertex", [False, True])
def test_a_broken_quota_says_which_and_how_long_save_on_vertex(
    emulator: Emulator, vertex: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    provider = provider_of(emulator, vertex=vertex)
    emulator.configure(rpm=1)
    operation = Generate(lambda: provider)
    operation.run(call({"prompt": "one"}))
    with pytest.raises(Throttled) as caught:
        operation.run(call({"prompt": "two"}))
    provider.close()
    named = [violation.quota_id for violation in caught.value.violations if "PerMinute" in violation.quota_id]
    assert (bool(named), bool(caught.value.retry_after_ms)) == (not vertex, not vertex)


@pytest.mark.parametrize(
    ("fault", "becomes", "kind"),
    [
        ("429", Throttled, "RESOURCE_EXHAUSTED"),
        ("429-day", Throttled, "RESOURCE_EXHAUSTED"),
        ("429-no-retry", Throttled, "RESOURCE_EXHAUSTED"),
        ("429-zero", Fatal, "RESOURCE_EXHAUSTED"),
        ("capacity", Throttled, "RESOURCE_EXHAUSTED"),
        ("400", Rejected, "INVALID_ARGUMENT"),
        ("401", Fatal, "UNAUTHENTICATED"),
        ("403", Fatal, "PERMISSION_DENIED"),
        ("404", Fatal, "NOT_FOUND"),
        ("500", Unavailable, "INTERNAL"),
        ("502", Unavailable, "BAD_GATEWAY"),
        ("503", Unavailable, "UNAVAILABLE"),
        ("504", Unavailable, "DEADLINE_EXCEEDED"),
        ("drop", Unavailable, "CONNECTION"),
        ("reset", Unavailable, "CONNECTION"),
        ("not-json", Unavailable, "UNREADABLE"),
        ("half-json", Unavailable, "UNREADABLE"),
        ("empty", Unavailable, "UNREADABLE"),
        ("charset", Unavailable, "UNREADABLE"),
        ("no-candidates", Unavailable, "EMPTY"),
        ("no-text", Unavailable, "EMPTY"),
        ("no-parts", Unavailable, "EMPTY"),
        ("blocked", Rejected, "BLOCKED"),
        ("safety", Rejected, "BLOCKED"),
        ("recitation", Rejected, "BLOCKED"),
        ("truncated", Rejected, "TRUNCATED"),
        ("malformed", Unavailable, "INCOMPLETE"),
        ("schema", Unavailable, "SCHEMA_MISMATCH"),
    ],
)
def test_each_fault_becomes_its_error_after_one_request(
    emulator: Emulator, fault: str, becomes: type[ProviderError], kind: str
) -> None:
    emulator.configure(faults=(parse_fault(fault),))
    provider = provider_of(emulator)
    with pytest.raises(ProviderError) as caught:
        Generate(lambda: provider).run(call({"prompt": "x"}, schema=INVOICE))
    provider.close()
    assert (type(caught.value), caught.value.kind) == (becomes, kind)
    assert len(emulator.calls()) == 1
