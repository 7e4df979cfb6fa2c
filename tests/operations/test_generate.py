"""generate and extract: what is refused before it is stored, what is sent, and what an answer amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from batchq.core.records import Usage
from batchq.errors import ProviderError, Rejected, Unavailable
from batchq.operations.answers import answer_of
from batchq.operations.base import Blob, Call
from batchq.operations.extract import INSTRUCTION, Extract
from batchq.operations.generate import Generate, fitting, no_provider
from batchq.providers.base import Request

GENERATE, EXTRACT = Generate(no_provider), Extract(no_provider)
MODEL = "gemini-2.5-flash-lite"
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def sent(operation: Generate = GENERATE, **call: Any) -> Request:
    return operation.request(Call(item_id="i", model=MODEL, **{"input": {}, **call}), MODEL)


def response(text: str | None = "fine", reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"finishReason": reason, "index": 0}
    if text is not None:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6}
    return {"candidates": [candidate], "usageMetadata": usage, **more}


# Inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "input",
    [
        {"prompt": "why?"},
        {"text": "a document"},
        {"text": "a document", "prompt": "sum it up"},
        {"file": "scan.png"},
        {"file": {"name": "scan.png", "sha256": "0", "size": 3}, "prompt": "what is it?"},
        {"messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "why?"}]},
        {"request": {"contents": [{"parts": [{"text": "why?"}]}]}},
        {"request": {"contents": "why?", "generation_config": {"max_output_tokens": 5}}},
        {
            "request": {
                "contents": [{"parts": [{"text": "x"}]}],
                "systemInstruction": {"parts": [{"text": "y"}]},
            }
        },
    ],
)
def test_every_documented_form_of_input_is_taken(input: dict[str, Any]) -> None:
    assert GENERATE.check(input, None) is None


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({}, "nothing to send"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": 7}, "prompt must be a text, not int"),
        ({"prompt": None}, "prompt must be a text, not NoneType"),
        ({"prompt": "\ud83d"}, "half a surrogate pair at character 1"),
        ({"prompt": "é" * 2_097_153}, "4,194,306 bytes, more than 4,194,304"),
        ({"prompt": "x", "promt": "y"}, "unknown field 'promt'"),
        ({"prompt": "x", "messages": []}, "prompt and messages do not go together"),
        ({"file": ""}, "file is empty"),
        ({"file": 3}, "file must be a path"),
        ({"messages": []}, "messages must be a list, and not empty"),
        ({"messages": [{"role": "user"}]}, "messages[0].content must be a text"),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].role must be system, user or assistant",
        ),
        ({"messages": [{"role": "system", "content": "x"}]}, "no message of the user"),
        (
            {"messages": [{"role": "user", "content": "x", "nmae": 1}]},
            "messages[0] has an unknown field 'nmae'",
        ),
        ({"request": "x"}, "request must be an object"),
        ({"request": {}}, "request.contents must be a list"),
        ({"request": {"contents": []}}, "request.contents must be a list"),
        ({"request": {"contents": [{"parts": []}]}}, "request.contents[0] has no parts"),
        (
            {"request": {"contents": [{"parts": [{"txt": "x"}]}]}},
            "request.contents[0].parts[0].txt: is not known",
        ),
        ({"request": {"contents": "x", "generationConfg": {}}}, "did you mean generation_config?"),
        ({"request": {"contents": "x", "generationConfig": {"temprature": 1}}}, "did you mean temperature?"),
        (
            {"request": {"contents": "x", "generationConfig": {"temperature": 9}}},
            "temperature must be a number",
        ),
        ({"request": {"contents": "x", "config": {"httpOptions": {}}}}, "batchq decides on retries"),
        (
            {"request": {"contents": "x", "generationConfig": {"thinkingConfig": {"a": 1}}}},
            "thinking_config.a",
        ),
    ],
)
def test_a_bad_input_is_refused_with_a_message_that_names_the_field(input: dict[str, Any], says: str) -> None:
    assert says in (GENERATE.check(input, None) or "nothing")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": 9}, "option temperature must be a number from 0 to 2, not 9"),
        ({"temperature": "hot"}, "option temperature must be a number"),
        ({"temperature": True}, "option temperature must be a number"),
        ({"temperature": float("nan")}, "option temperature must be a number"),
        ({"maxOutputTokens": -1}, "option max_output_tokens must be a whole number from 1"),
        ({"max_output_tokens": 10**12}, "option max_output_tokens must be a whole number"),
        ({"max_tokens": 5}, "option max_tokens is no known option"),
        ({"temperatur": 1}, "did you mean temperature?"),
        ({"prompt": ""}, "option prompt must be a text"),
        ({"stop_sequences": "x"}, "option stop_sequences must be a list of texts"),
        ({"thinking_config": {"budget": 1}}, "option.thinking_config.budget: is not known"),
        ({"http_options": {"timeout": 5}}, "option http_options cannot be set"),
        ({"top_p": 0.1, "topP": 0.2}, "option topP is given twice"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_stored(options: dict[str, Any], says: str) -> None:
    assert says in (GENERATE.check_job(options, None) or "nothing")


def test_every_config_field_of_google_genai_is_an_option_in_both_spellings() -> None:
    options = {
        "temperature": 0.5,
        "topP": 0.9,
        "systemInstruction": "be kind",
        "thinking_config": {"thinkingBudget": 0},
        "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
        "service_tier": "flex",
        "tools": [{"googleSearch": {}}],
        "labels": {"team": "a"},
        "prompt": "sum it up",
    }
    assert GENERATE.check_job(options, None) is None


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "objekt"}, "type"),
        ({"properties": {"a": {"type": 5}}}, "properties.a.type"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "'#/$defs/none' leads nowhere"),
        ({"properties": {"a": {"pattern": "("}}}, "properties.a.pattern: '(' is not a 'regex'"),
        ({"patternProperties": {"[": {}}}, "is not a 'regex'"),
        ([], "must be a JSON object, not list"),
    ],
)
def test_a_schema_that_is_no_json_schema_is_refused_and_the_place_named(schema: Any, says: str) -> None:
    assert says in (GENERATE.check_job({}, schema) or "nothing")


def test_a_schema_with_references_and_an_older_draft_are_taken() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"line": {"type": "object", "properties": {"next": {"$ref": "#/definitions/line"}}}},
        "properties": {"lines": {"type": "array", "items": {"$ref": "#/definitions/line"}}},
        "examples": [{"$ref": "no reference at all"}],
    }
    assert GENERATE.check_job({}, schema) is None


def test_a_schema_beside_a_response_schema_option_is_a_contradiction() -> None:
    assert "contradict" in (GENERATE.check_job({"responseSchema": {"type": "OBJECT"}}, SCHEMA) or "")
    assert "application/json" in (GENERATE.check_job({"response_mime_type": "text/plain"}, SCHEMA) or "")


# What is sent ---------------------------------------------------------------------------------------------


def test_messages_become_contents_and_a_system_instruction() -> None:
    messages = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "why?"},
    ]
    request = sent(input={"messages": messages}, options={"system_instruction": "the job's"})
    assert [(c["role"], c["parts"][0]["text"]) for c in request.contents] == [
        ("user", "hello"),
        ("model", "hi"),
        ("user", "why?"),
    ]
    assert request.config == {"system_instruction": "be short"}


def test_a_requests_own_settings_win_over_the_jobs_options() -> None:
    raw = {"contents": "x", "generationConfig": {"temperature": 0.9}, "safetySettings": []}
    request = sent(input={"request": raw}, options={"temperature": 0.1, "topK": 3})
    assert request.config == {"temperature": 0.9, "top_k": 3, "safety_settings": []}


def test_a_request_that_names_another_model_than_the_job_is_not_sent_to_the_wrong_one() -> None:
    raw = {"contents": "x", "model": f"models/{MODEL}"}
    assert sent(input={"request": raw}).contents
    with pytest.raises(Rejected, match=r"names model gemini-2\.5-pro"):
        sent(input={"request": {**raw, "model": "gemini-2.5-pro"}})


def test_the_instruction_goes_with_each_text_and_the_items_own_wins() -> None:
    parts = sent(input={"text": "doc"}, options={"prompt": "sum it up"}).contents[0]["parts"]
    assert parts == [{"text": "sum it up"}, {"text": "doc"}]
    parts = sent(input={"text": "doc", "prompt": "mine"}, options={"prompt": "sum it up"}).contents[0][
        "parts"
    ]
    assert parts[0] == {"text": "mine"}


def test_a_schema_is_asked_for_as_json_schema_which_takes_free_form_objects() -> None:
    config = sent(input={"prompt": "x"}, schema=SCHEMA).config
    assert config == {"response_mime_type": "application/json", "response_json_schema": SCHEMA}


def test_extract_needs_a_document_and_a_schema_and_brings_its_own_instruction() -> None:
    assert "give file or text" in (EXTRACT.check({"prompt": "x"}, None) or "")
    assert "needs a schema" in (EXTRACT.check_job({}, None) or "")
    assert EXTRACT.check_job({"prompt": "my own"}, SCHEMA) is None
    request = sent(EXTRACT, input={"file": {"name": "a.txt"}}, blob=Blob("a.txt", b"Total 5"), schema=SCHEMA)
    assert [part["text"] for part in request.contents[0]["parts"]] == ["File a.txt:\n\nTotal 5", INSTRUCTION]
    assert request.config["temperature"] == 0.2
    own = sent(EXTRACT, input={"text": "t"}, options={"prompt": "my own", "temperature": 0.7}, schema=SCHEMA)
    assert own.contents[0]["parts"][0] == {"text": "my own"}
    assert own.config["temperature"] == 0.7


# Answers --------------------------------------------------------------------------------------------------


def test_an_answer_has_its_text_and_all_billed_tokens() -> None:
    raw = response("fine")
    raw["candidates"][0]["content"]["parts"].insert(0, {"text": "let me see", "thought": True})
    raw["usageMetadata"]["cachedContentTokenCount"] = 3
    answer = answer_of(raw, MODEL)
    assert (answer.text, answer.response, answer.model) == ("fine", raw, MODEL)
    assert answer.usage == Usage(input_tokens=10, output_tokens=10, cached_tokens=3)


@pytest.mark.parametrize(
    ("raw", "error", "kind", "says"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, Rejected, "BLOCKED", "prompt was blocked (SAFETY)"),
        (response(None, "SAFETY"), Rejected, "BLOCKED", "withheld (SAFETY)"),
        (response("half", "RECITATION"), Rejected, "BLOCKED", "withheld (RECITATION)"),
        (response(None, "PROHIBITED_CONTENT"), Rejected, "BLOCKED", "PROHIBITED_CONTENT"),
        (response(None, "SPII"), Rejected, "BLOCKED", "SPII"),
        (response("cut o", "MAX_TOKENS"), Rejected, "TRUNCATED", "after 10 output tokens"),
        (response(None, "MAX_TOKENS"), Rejected, "TRUNCATED", "max_output_tokens"),
        (response(None, "OTHER"), Unavailable, "INCOMPLETE", "OTHER"),
        (response(None, "MALFORMED_FUNCTION_CALL"), Unavailable, "INCOMPLETE", "MALFORMED"),
        ({"candidates": []}, Unavailable, "EMPTY", "no candidates"),
        ({}, Unavailable, "EMPTY", "no candidates"),
        (response(None), Unavailable, "EMPTY", "answered nothing"),
        (response("  "), Unavailable, "EMPTY", "answered nothing"),
        ({"candidates": "x"}, Unavailable, "UNREADABLE", "shape"),
        ({"candidates": [7]}, Unavailable, "UNREADABLE", "shape"),
    ],
)
def test_an_answer_that_is_none_is_told_from_success(
    raw: dict[str, Any], error: type[ProviderError], kind: str, says: str
) -> None:
    with pytest.raises(error) as caught:
        answer_of(raw, MODEL)
    assert caught.value.kind == kind
    assert says in str(caught.value)


def test_tokens_of_an_answer_that_is_none_are_not_lost() -> None:
    with pytest.raises(Rejected) as caught:
        answer_of(response("cut", "MAX_TOKENS"), MODEL)
    assert caught.value.usage == Usage(input_tokens=10, output_tokens=10)


def test_a_function_call_without_text_is_a_success() -> None:
    raw = response(None)
    raw["candidates"][0]["content"] = {"parts": [{"functionCall": {"name": "book", "args": {}}}]}
    assert answer_of(raw, MODEL).text is None


def call_with(attempt: int, schema: Mapping[str, Any] = SCHEMA) -> Call:
    return Call(item_id="i", input={"prompt": "x"}, model=MODEL, schema=schema, attempt=attempt)


def test_an_answer_that_fits_its_schema_is_parsed() -> None:
    assert fitting(answer_of(response('{"total": 4.5}'), MODEL), call_with(1)).data == {"total": 4.5}


@pytest.mark.parametrize(
    "text", ['{"total": "4"}', "{}", "no json", '{"total": NaN}', "[" * 20_000, '{"total": 4']
)
def test_an_answer_that_does_not_fit_is_asked_again_once_and_then_refused(text: str) -> None:
    answer = answer_of(response(text), MODEL)
    with pytest.raises(Unavailable) as first:
        fitting(answer, call_with(1))
    with pytest.raises(Rejected) as second:
        fitting(answer, call_with(2))
    assert first.value.kind == second.value.kind == "SCHEMA_MISMATCH"
    assert first.value.usage == second.value.usage == Usage(input_tokens=10, output_tokens=10)


def test_a_misfit_names_the_place() -> None:
    with pytest.raises(Unavailable, match=r"total: 'four' is not of type 'number'"):
        fitting(answer_of(response('{"total": "four"}'), MODEL), call_with(1))
