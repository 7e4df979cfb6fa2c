"""google-genai, unchanged, against the emulator: answers, refusals, quotas and counts.

The clients are annotated Any: all that google-genai returns is Optional, and the tests read what they expect.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import math
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batchq.emulator import (
    Emulator,
    EmulatorOptions,
    Limits,
    expected_embedding,
    expected_json,
    expected_text,
    prompt_key,
)
from batchq.emulator.admin import _is_near, administer
from batchq.emulator.app import _masked
from batchq.emulator.asked import load, read_embeddings, read_generate, read_predict
from batchq.emulator.emulation import Emulation
from batchq.emulator.labels import Labels
from batchq.emulator.limits import Breach, Quota
from batchq.emulator.recording import Series
from batchq.emulator.refusals import Refusal, over_quota
from batchq.emulator.replies import embedded, generated
from batchq.errors import ConfigurationError

LITE = "gemini-2.5-flash-lite"
PATH = f"/v1/models/{LITE}:generateContent"


def picture(form: str = "PNG", shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(stream, form)
    return stream.getvalue()


def asked(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def post(emulator: Emulator, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """A request by hand, with the key `k` unless other headers are given; status and body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        emulator.url + path, data=data, method="POST", headers=headers or {"x-goog-api-key": "k"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


# --- answers ---------------------------------------------------------------------------------------------


def test_an_answer_belongs_to_its_prompt(either: Any) -> None:
    for prompt in ("one", "two", "Ünïcödé 🎉\nwith lines", "x" * 5000):
        response = either.models.generate_content(model=LITE, contents=prompt)
        assert response.text == expected_text(prompt)
        assert response.candidates[0].finish_reason is types.FinishReason.STOP
        assert response.model_version == LITE
        assert response.response_id
    assert len({expected_text(f"{'same start ' * 20}{number}") for number in range(50)}) == 50


def test_instructions_and_files_are_part_of_what_is_answered(gemini: Any) -> None:
    seen = set()
    for system, shade in ((None, 0), ("be brief", 0), ("be brief", 1)):
        data = picture(shade=shade)
        response = gemini.models.generate_content(
            model=LITE,
            contents=["read this", types.Part.from_bytes(data=data, mime_type="image/png")],
            config={"system_instruction": system},
        )
        assert response.text == expected_text("read this", system=system, media=[data])
        seen.add(response.text)
    assert len(seen) == 3


class Line(pydantic.BaseModel):
    description: str
    quantity: int = pydantic.Field(ge=1, le=9)


class Invoice(pydantic.BaseModel):
    supplier: str
    total: float
    paid: bool
    note: str | None = None
    lines: list[Line]


def test_an_answer_under_a_pydantic_schema_is_parsed_by_the_client(either: Any) -> None:
    config = {"response_schema": Invoice, "response_mime_type": "application/json"}
    parsed = [
        either.models.generate_content(model=LITE, contents=f"invoice {number}", config=config).parsed
        for number in range(20)
    ]
    assert all(isinstance(one, Invoice) for one in parsed)
    assert len({one.supplier for one in parsed}) == 20


def test_an_answer_under_a_json_schema_fits_it(either: Any) -> None:
    schema = Invoice.model_json_schema()
    config = {"response_json_schema": schema, "response_mime_type": "application/json"}
    response = either.models.generate_content(model=LITE, contents="invoice", config=config)
    Invoice.model_validate_json(response.text)
    assert json.loads(response.text) == expected_json(schema, "invoice")


def test_usage_counts_text_images_and_pages(gemini: Any) -> None:
    pdf = b"%PDF-1.4\n1 0 obj <</Type /Pages>> 2 0 obj <</Type /Page>> 3 0 obj <</Type/Page>>"
    response = gemini.models.generate_content(
        model=LITE,
        contents=[
            "x" * 41,
            types.Part.from_bytes(data=picture("JPEG"), mime_type="image/jpeg"),
            types.Part.from_bytes(data=pdf, mime_type="application/pdf"),
        ],
    )
    usage = response.usage_metadata
    details = {detail.modality.name: detail.token_count for detail in usage.prompt_tokens_details}
    assert details == {"TEXT": 11, "IMAGE": 258, "DOCUMENT": 516}
    assert usage.prompt_token_count == 785
    assert usage.candidates_token_count == math.ceil(len(response.text) / 4)
    assert usage.total_token_count == 785 + usage.candidates_token_count
    assert usage.thoughts_token_count is None
    counted = gemini.models.count_tokens(model=LITE, contents="x" * 41)
    assert counted.total_tokens == 11


def test_an_answer_longer_than_its_budget_is_cut(gemini: Any) -> None:
    response = gemini.models.generate_content(model=LITE, contents="hello", config={"max_output_tokens": 3})
    assert response.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert response.text == expected_text("hello")[:12]


def test_a_thinking_model_can_think_its_whole_budget_away(gemini: Any) -> None:
    model = "gemini-2.5-flash"
    plain = gemini.models.generate_content(model=model, contents="hello")
    assert plain.usage_metadata.thoughts_token_count > 0
    cut = gemini.models.generate_content(model=model, contents="hello", config={"max_output_tokens": 5})
    assert cut.text is None
    assert cut.usage_metadata.thoughts_token_count == 5
    off = gemini.models.generate_content(
        model=model, contents="hello", config={"thinking_config": {"thinking_budget": 0}}
    )
    assert off.usage_metadata.thoughts_token_count is None


def test_stop_sequences_candidates_and_streams(gemini: Any) -> None:
    cut = gemini.models.generate_content(model=LITE, contents="a b", config={"stop_sequences": [":"]})
    assert cut.text == expected_text("a b").split(":")[0]
    several = gemini.models.generate_content(model=LITE, contents="a b", config={"candidate_count": 3})
    assert [candidate.index for candidate in several.candidates] == [0, 1, 2]
    streamed = gemini.models.generate_content_stream(model=LITE, contents="a b")
    assert "".join(chunk.text for chunk in streamed) == expected_text("a b")


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2", "text-embedding-004"])
def test_each_content_gets_the_vector_of_its_own_text(either: Any, model: str) -> None:
    texts = ["one", "two", "three"]
    contents = [types.Content(parts=[types.Part(text=text)]) for text in texts]
    response = either.models.embed_content(
        model=model, contents=contents, config={"output_dimensionality": 12}
    )
    vectors = [embedding.values for embedding in response.embeddings]
    assert vectors == [expected_embedding(text, model=model, dimensions=12) for text in texts]
    assert len({tuple(vector) for vector in vectors}) == 3


def test_embedding_2_merges_a_list_of_texts_into_one_vector(either: Any) -> None:
    merged = either.models.embed_content(model="gemini-embedding-2", contents=["one", "two"])
    assert len(merged.embeddings) == 1
    apart = either.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert len(apart.embeddings) == 2


@pytest.mark.parametrize(("model", "size"), [("gemini-embedding-001", 3072), ("text-embedding-004", 768)])
def test_vectors_have_length_1_and_the_models_own_dimensions(model: str, size: int) -> None:
    vector = expected_embedding("text", model=model)
    assert len(vector) == size
    assert math.isclose(sum(value * value for value in vector), 1.0, abs_tol=1e-5)
    other = expected_embedding("other text", model=model)
    assert abs(sum(a * b for a, b in zip(vector, other, strict=True))) < 0.2


def test_models_are_listed_and_described(either: Any) -> None:
    names = {model.name.rsplit("/", 1)[-1] for model in either.models.list()}
    assert {LITE, "gemini-2.5-pro", "gemini-embedding-001"} <= names
    assert either.models.get(model=LITE).name.endswith(LITE)
    with pytest.raises(errors.ClientError) as caught:
        either.models.get(model="gemini-0-none")
    assert caught.value.code == 404


def test_labels_answer_in_place_of_the_echo(gemini: Any, emulator: Emulator, tmp_path: Path) -> None:
    data = picture(shade=9)
    labels = [
        {"match": prompt_key("", media=()).hex(), "answer": "of nothing"},
        {"match": sha256(data).hexdigest(), "answer": {"total": "9.00"}},
        {"match": "train leaves", "answer": "42"},
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(json.dumps(label) for label in labels))
    emulator.configure(answers=str(file))
    part = types.Part.from_bytes(data=data, mime_type="image/png")
    assert json.loads(gemini.models.generate_content(model=LITE, contents=["read", part]).text) == {
        "total": "9.00"
    }
    assert gemini.models.generate_content(model=LITE, contents="A train leaves at 9.").text == "42"
    assert gemini.models.generate_content(model=LITE, contents="other").text == expected_text("other")
    file.write_text('{"match": 3}')
    with pytest.raises(ConfigurationError, match="line 1"):
        emulator.configure(answers=str(file))


def test_the_environment_variable_is_all_a_client_needs(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", "from-the-environment")
    with genai.Client() as client:
        assert client.models.generate_content(model=LITE, contents="x").text == expected_text("x")
    assert emulator.calls()[0]["project"] == _masked("from-the-environment")


def test_vertex_takes_a_key_in_express_mode(emulator: Emulator) -> None:
    options = types.HttpOptions(base_url=emulator.url)
    with genai.Client(vertexai=True, api_key="express", http_options=options) as client:
        assert client.models.generate_content(model=LITE, contents="x").text == expected_text("x")
    assert emulator.calls()[0]["project"] == "express"


# --- refusals --------------------------------------------------------------------------------------------


def test_keys_are_refused_in_googles_words(emulator: Emulator) -> None:
    status, body = post(emulator, PATH, asked(), **{"x-goog-api-key": "bad-key"})
    assert (status, body["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert body["error"]["message"] == "API key not valid. Please pass a valid API key."
    assert body["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    status, body = post(emulator, PATH, asked(), **{"x-no-key": ""})
    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert post(emulator, PATH, asked(), **{"x-goog-api-key": "forbidden-7"})[0] == 403
    assert post(emulator, PATH + "?key=by-query", asked(), **{"x-no-key": ""})[0] == 200
    vertex = f"/v1/projects/p/locations/l/publishers/google/models/{LITE}:generateContent"
    assert post(emulator, vertex, asked(), **{"x-no-key": ""})[0] == 401
    assert post(emulator, vertex, asked(), Authorization="Bearer any")[0] == 200
    assert emulator.stats()["statuses"] == {"400": 1, "403": 2, "401": 1, "200": 2}


@pytest.mark.parametrize("model", ["gemini-0-none", "gemini-embedding-001", "gemini-2.5-flash-lite-image"])
def test_a_model_that_cannot_do_it_is_not_found(either: Any, model: str) -> None:
    with pytest.raises(errors.ClientError) as caught:
        either.models.generate_content(model=model, contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert model in str(caught.value)


PNG = base64.b64encode(picture()).decode()


def inlined(kind: str, data: str = PNG) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": kind, "data": data}}
    return {"contents": [{"role": "user", "parts": [{"text": "read"}, part]}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "Invalid JSON payload"),
        (b"[]", "Root element"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": "hello"}, "contents is not specified"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "required oneof field 'data'"),
        ({"contents": [{"role": "bot", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": [{"text": 7}]}]}, "Invalid value"),
        (asked(promptt="x"), 'Unknown name "promptt"'),
        (asked(generationConfig={"temprature": 1}), "Unknown name \"temprature\" at 'generation_config'"),
        (asked(generationConfig={"temperature": 2.1}), "temperature must be in the range"),
        (asked(generationConfig={"temperature": "hot"}), "Invalid value"),
        (asked(generationConfig={"topP": 1.5}), "top_p must be in the range"),
        (asked(generationConfig={"maxOutputTokens": 0}), "max_output_tokens"),
        (asked(generationConfig={"responseSchema": {"type": "STRING"}}), "only allowed for response MIME"),
        (
            asked(generationConfig={"responseSchema": {"typ": 1}, "responseMimeType": "application/json"}),
            'Unknown name "typ"',
        ),
        (
            asked(
                generationConfig={
                    "responseJsonSchema": {"$ref": "#/$defs/x"},
                    "responseMimeType": "application/json",
                }
            ),
            "leads nowhere",
        ),
        (inlined("image/tiff"), "Unsupported MIME type: image/tiff"),
        (inlined("image/bmp"), "Unsupported MIME type: image/bmp"),
        (inlined("image/gif"), "Unsupported MIME type: image/gif"),
        (inlined("image/png", "!!!"), "Base64 decoding failed"),
        (inlined("image/png", "aGVsbG8="), "Unable to process input image"),
        (inlined("application/pdf", "aGVsbG8="), "no pages"),
    ],
)
def test_what_gemini_refuses_is_refused(emulator: Emulator, body: Any, said: str) -> None:
    status, answer = post(emulator, PATH, body)
    assert (status, answer["error"]["code"], answer["error"]["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert said in answer["error"]["message"]


def test_too_large_a_request_is_refused_whole(emulator: Emulator) -> None:
    body = json.dumps(asked("x" * (20 * 1024 * 1024))).encode()
    status, answer = post(emulator, PATH, body)
    assert status == 400
    assert "payload size exceeds the limit: 20971520 bytes" in answer["error"]["message"]
    assert post(emulator, PATH, asked())[0] == 200


def test_a_prompt_of_too_many_tokens_is_refused_and_costs_quota(emulator: Emulator) -> None:
    emulator.configure(rpm=1)
    status, answer = post(emulator, PATH, asked("x" * (4 * 1_048_577)))
    assert status == 400
    assert "(1048577) exceeds the maximum number of tokens allowed (1048576)" in answer["error"]["message"]
    assert post(emulator, PATH, asked())[0] == 429


def test_snake_case_and_camel_case_are_one(emulator: Emulator) -> None:
    raw = {
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}, {"text": "x"}]}],
        "system_instruction": {"parts": [{"text": "be"}]},
        "generation_config": {"max_output_tokens": 2, "top_p": 0.5},
    }
    status, answer = post(emulator, PATH.replace("v1", "v1beta"), raw)
    assert status == 200
    text = expected_text("x", system="be", media=[picture()])
    assert answer["candidates"][0]["content"]["parts"][0]["text"] == text[:8]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 9) | st.integers(),
        st.sampled_from([1.5, 2.0, -0.5]) | st.floats(allow_nan=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
SCHEMA = st.dictionaries(
    st.sampled_from(
        [
            "type",
            "enum",
            "properties",
            "required",
            "items",
            "minItems",
            "maxItems",
            "anyOf",
            "allOf",
            "$ref",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "nullable",
            "propertyOrdering",
            "additionalProperties",
            "const",
        ]
    ),
    JSON | st.sampled_from(["object", "array", "string", "integer", "#", "[", "(?=x)"]),
    max_size=4,
)
CONFIG = st.fixed_dictionaries(
    {"responseMimeType": st.sampled_from(["application/json", "text/x.enum"])},
    optional={
        "responseJsonSchema": SCHEMA | JSON,
        "thinkingConfig": st.dictionaries(st.just("thinkingBudget"), JSON) | JSON,
        "stopSequences": JSON,
        "candidateCount": JSON,
        "maxOutputTokens": JSON,
        "temperature": JSON,
    },
)
PART = st.dictionaries(
    st.sampled_from(["text", "inlineData", "fileData", "functionCall", "x"]), JSON, max_size=2
)
CONTENT = st.dictionaries(st.sampled_from(["parts", "role"]), JSON | st.lists(PART | JSON, max_size=2))


def answer_or_refuse(raw: dict[str, Any]) -> bool:
    """Whether it was answered. Anything but an answer or a Refusal is an error of the emulator's own."""
    asked_for = read_generate(load(json.dumps(raw).encode()))
    if asked_for.problem is None:
        with contextlib.suppress(Refusal):
            json.dumps(generated(asked_for, LITE, Labels()))
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(CONFIG)
def test_no_options_however_odd_make_it_stumble(config: Any) -> None:
    answer_or_refuse(asked(generationConfig=config))


@settings(max_examples=400, deadline=None)
@given(JSON | st.lists(CONTENT, max_size=2), JSON, JSON)
def test_no_contents_however_odd_make_it_stumble(contents: Any, config: Any, system: Any) -> None:
    answer_or_refuse({"contents": contents, "generationConfig": config, "systemInstruction": system})
    for texts, problem in (
        read_embeddings([{"content": contents, "outputDimensionality": config}]),
        read_embeddings(contents),
        read_predict({"instances": contents, "parameters": config}),
    ):
        if problem is None:
            json.loads(embedded(texts, LITE, "batchEmbedContents", False))


def test_a_batch_of_more_than_100_texts_is_refused(gemini: Any) -> None:
    with pytest.raises(errors.ClientError, match="at most 100 requests"):
        gemini.models.embed_content(model="gemini-embedding-001", contents=["x"] * 101)


# --- quotas ----------------------------------------------------------------------------------------------


def refusals(client: Any, count: int, prompt: str = "hello") -> list[Any]:
    found = []
    for _ in range(count):
        try:
            client.models.generate_content(model=LITE, contents=prompt)
        except errors.ClientError as exc:
            found.append(exc)
    return found


def details_of(error: Any) -> dict[str, dict[str, Any]]:
    listed = error.details["error"]["details"]
    return {detail["@type"].rsplit(".", 1)[-1]: detail for detail in listed}


def test_a_broken_minute_quota_is_told_as_google_tells_it(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=3)
    found = refusals(gemini, 5)
    assert [(one.code, one.status) for one in found] == [(429, "RESOURCE_EXHAUSTED")] * 2
    details = details_of(found[0])
    assert list(details) == ["QuotaFailure", "Help", "RetryInfo"]
    assert details["QuotaFailure"]["violations"] == [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model",
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaDimensions": {"location": "global", "model": LITE},
            "quotaValue": "3",
        }
    ]
    assert 40 < int(details["RetryInfo"]["retryDelay"].rstrip("s")) < 60


def test_retry_info_is_rounded_down() -> None:
    breach = Breach(Quota.RPM, 3, wait_us=26_999_999)
    error = json.loads(over_quota([breach], LITE, embeds=False, now_us=0).body())["error"]
    assert error["details"][-1]["retryDelay"] == "26s"
    assert error["message"].endswith("Please retry in 26.999999s.")


def test_tokens_and_days_break_quotas_of_their_own(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(tpm=100, rpd=2)
    (by_tokens,) = refusals(gemini, 1, "x" * 404)
    assert [one["quotaId"] for one in details_of(by_tokens)["QuotaFailure"]["violations"]] == [
        "GenerateContentInputTokensPerModelPerMinute"
    ]
    (by_day,) = refusals(gemini, 3, "x")
    details = details_of(by_day)
    assert [one["quotaId"] for one in details["QuotaFailure"]["violations"]] == [
        "GenerateRequestsPerDayPerProjectPerModel"
    ]
    assert int(details["RetryInfo"]["retryDelay"].rstrip("s")) < 60, "even a day's quota asks for seconds"
    emulator.new_day()
    assert refusals(gemini, 1) == []


def test_a_limit_of_0_leaves_the_value_out_and_says_so_in_words(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=0)
    (error,) = refusals(gemini, 1)
    assert "quotaValue" not in details_of(error)["QuotaFailure"]["violations"][0]
    assert "limit: 0" in error.message


def test_vertex_says_429_without_details(vertex: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=1)
    (error,) = refusals(vertex, 2)
    assert "details" not in error.details["error"]


def test_a_vertex_project_and_a_key_of_one_name_have_quotas_of_their_own(emulator: Emulator) -> None:
    emulator.configure(rpm=1)
    vertex_path = f"/v1/projects/k/locations/l/publishers/google/models/{LITE}:generateContent"
    assert post(emulator, PATH, asked())[0] == 200
    assert post(emulator, vertex_path, asked(), Authorization="Bearer any")[0] == 200
    assert {one["project"] for one in emulator.stats()["quotas"]} == {"k", "projects/k"}


def test_each_text_of_a_batch_counts_as_a_request(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=5)
    gemini.models.embed_content(model="gemini-embedding-001", contents=["a", "b", "c"])
    with pytest.raises(errors.ClientError) as caught:
        gemini.models.embed_content(model="gemini-embedding-001", contents=["a", "b", "c"])
    violation = details_of(caught.value)["QuotaFailure"]["violations"][0]
    assert violation["quotaId"] == "EmbedContentRequestsPerMinutePerProjectPerModel"
    assert emulator.stats()["most_requests_in_60_s"] == 3


def test_limits_change_under_way_and_can_differ_by_model(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=1, model_limits={"gemini-2.5-flash": {"rpm": 3}})
    assert len(refusals(gemini, 2)) == 1
    emulator.configure(rpm=2)
    assert len(refusals(gemini, 2)) == 1
    for _ in range(3):
        gemini.models.generate_content(model="gemini-2.5-flash", contents="x")
    with pytest.raises(ConfigurationError, match="'rmp' is no option"):
        emulator.configure(rmp=3)
    emulator.configure(model_limits={LITE: Limits(rpm=4)})
    assert len(refusals(gemini, 3)) == 1


def test_the_window_can_be_changed_to_a_bucket(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=60)
    assert refusals(gemini, 3) == []
    emulator.configure(window="bucket", burst=2, rpm=1)
    assert refusals(gemini, 1) == [], "a new window begins empty"
    assert len(refusals(gemini, 2)) == 2, "the bucket holds no more than the limit"


# --- counts ----------------------------------------------------------------------------------------------


def test_it_counts_what_it_saw_by_outcome_and_by_prompt(gemini: Any, emulator: Emulator) -> None:
    emulator.configure(rpm=4)
    for prompt in ("a", "b", "b", "c"):
        gemini.models.generate_content(model=LITE, contents=prompt)
    refusals(gemini, 2, "c")
    gemini.models.count_tokens(model=LITE, contents="a")
    stats = emulator.stats()
    wanted = {"requests": 7, "admitted": 4, "answered": 5, "rate_limited": 2, "distinct_prompts": 3}
    assert {name: stats[name] for name in wanted} == wanted
    assert (stats["most_requests_in_60_s"], stats["in_flight"], stats["peak_in_flight"]) == (4, 0, 1)
    assert stats["methods"] == {"generateContent": 6, "countTokens": 1}
    by_text = {one["text"]: (one["requests"], one["answered"]) for one in emulator.prompts()}
    assert by_text == {"a": (1, 1), "b": (2, 2), "c": (3, 1)}
    assert emulator.requests_of(prompt_key("c")) == 3
    assert [call["outcome"] for call in emulator.calls()].count("rate_limited") == 2
    assert len(emulator.admissions()) == 4
    emulator.reset()
    assert emulator.stats()["requests"] == 0
    assert refusals(gemini, 4) == []


def test_the_counts_are_to_be_had_over_http_too(gemini: Any, emulator: Emulator) -> None:
    gemini.models.generate_content(model=LITE, contents="a")

    def get(what: str) -> Any:
        with urllib.request.urlopen(f"{emulator.url}/emulator/{what}", timeout=5) as response:
            return json.load(response)

    assert get("stats")["answered"] == 1
    assert get("prompts") == [{"key": prompt_key("a").hex()[:16], "requests": 1, "answered": 1, "text": "a"}]
    gemini.models.generate_content(model=LITE, contents="b")
    gemini.models.generate_content(model=LITE, contents="b")
    assert [one["text"] for one in get("prompts?least=2")] == ["b"]
    assert len(get("prompts?limit=1")) == 1
    (call,) = get("calls?limit=1")
    assert (call["outcome"], call["status"], call["model"]) == ("answered", 200, LITE)
    assert len(get("admissions")) == 3
    assert post(emulator, "/emulator/config", {"rpm": 1, "faults": ["503:0.5"]})[0] == 200
    assert (get("options")["rpm"], get("options")["faults"][0]["rate"]) == (1, 0.5)
    status, said = post(emulator, "/emulator/config", {"rpm": "many"})
    assert (status, "rpm" in said["error"]) == (400, True)
    assert post(emulator, "/emulator/reset", {"day": True})[0] == 200
    assert get("stats")["answered"] == 3
    assert post(emulator, "/emulator/reset", {})[0] == 200
    assert get("stats")["answered"] == 0


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5), st.integers(1, 99)), min_size=1, max_size=60))
def test_the_most_in_any_minute_is_counted_exactly(steps: list[tuple[float, int, int]]) -> None:
    series, seen, now_s = Series(), [], 0.0
    for pause_s, requests, tokens in steps:
        now_s += pause_s
        series.add(now_s, requests, tokens)
        seen.append((now_s, requests, tokens))
    windows = [[one for one in seen if one[0] <= end and end - one[0] < 60] for end, _, _ in seen]
    assert series.most_requests == max(sum(one[1] for one in window) for window in windows)
    assert series.most_tokens == max(sum(one[2] for one in window) for window in windows)


def test_orders_are_taken_from_this_machine_only() -> None:
    assert all(_is_near(address) for address in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"))
    assert not any(_is_near(address) for address in ("10.0.0.1", "203.0.113.5", "fe80::1", "", None))
    stranger: Any = SimpleNamespace(remote="203.0.113.5", method="GET")
    refused = asyncio.run(administer(Emulation(EmulatorOptions()), stranger, "/emulator/stats", ""))
    assert refused.status == 403


def test_keys_are_never_shown_whole(emulator: Emulator) -> None:
    key = "AIzaSy-a-key-of-the-usual-length"
    post(emulator, PATH, asked(), **{"x-goog-api-key": key})
    assert key not in json.dumps([emulator.stats(), emulator.calls()])


def test_prompts_beyond_those_kept_are_counted_in_all_only() -> None:
    with Emulator(EmulatorOptions(keep_prompts=2, keep_calls=3)) as emulator:
        for number in range(5):
            post(emulator, PATH, asked(f"prompt {number}"))
        stats = emulator.stats()
        assert (stats["answered"], stats["distinct_prompts"], stats["uncounted_prompts"]) == (5, 2, 3)
        assert len(emulator.calls()) == 3
