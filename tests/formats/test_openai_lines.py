"""OpenAI Batch lines ask Gemini the same, or say which field cannot be asked."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from formats_helpers import Inputs, only_complaint, problem_of

from batchq.core.records import Item
from batchq.errors import InputError
from batchq.operations.generate import Generate, no_provider

PNG = base64.b64encode(b"\x89PNG bytes").decode()
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
TOOL = {"name": "look", "description": "Looks", "parameters": SCHEMA, "strict": True}


def line(body: Any, url: str = CHAT, **more: Any) -> str:
    return json.dumps({"custom_id": "a", "method": "POST", "url": url, "body": body, **more})


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "messages": list(messages) or [{"role": "user", "content": "Hi"}], **fields}


def item(inputs: Inputs, body: Any, url: str = CHAT, **more: Any) -> Item:
    [made] = inputs.items("a.jsonl", line(body, url, **more))
    return made


def request(inputs: Inputs, body: Any, url: str = CHAT) -> dict[str, Any]:
    """What is asked, which the operation takes as it is."""
    made = item(inputs, body, url)
    assert made.problem is None, made.problem
    assert Generate(no_provider).check(made.input, made.input["request"].get("model")) is None
    asked: dict[str, Any] = made.input["request"]
    return asked


def test_a_file_of_them_is_known_by_its_first_line(inputs: Inputs) -> None:
    reading = inputs.open("a.jsonl", line(chat()) + "\n" + line({"input": "Hi"}, RESPONSES))
    assert (reading.format, reading.described) == ("openai", "OpenAI Batch JSON lines")
    assert [row.id for row in reading if isinstance(row, Item)] == ["a", "a"]
    assert inputs.piped(line(chat())).format == "openai"


def test_messages_become_contents_and_a_system_instruction(inputs: Inputs) -> None:
    asked = request(
        inputs,
        chat(
            {"role": "system", "content": "Be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "In French"}]},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Salut"},
            {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "now?"}]},
        ),
    )
    assert asked == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Salut"}]},
            {"role": "user", "parts": [{"text": "And"}, {"text": "now?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief"}, {"text": "In French"}]},
    }


def test_settings_become_those_of_generation(inputs: Inputs) -> None:
    asked = request(
        inputs,
        chat(
            temperature=0.3,
            top_p=0.9,
            max_completion_tokens=50,
            stop="END",
            seed=7,
            n=2,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            logprobs=True,
            top_logprobs=3,
            reasoning_effort="low",
            service_tier="flex",
        ),
    )
    assert asked["generationConfig"] == {
        "temperature": 0.3,
        "topP": 0.9,
        "maxOutputTokens": 50,
        "stopSequences": ["END"],
        "seed": 7,
        "candidateCount": 2,
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "thinkingConfig": {"thinkingBudget": 1024},
    }
    assert asked["serviceTier"] == "flex"


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (
            CHAT,
            chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}),
        ),
        (
            RESPONSES,
            {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}},
        ),
    ],
)
def test_a_schema_for_the_answer_is_kept(inputs: Inputs, url: str, body: Any) -> None:
    assert request(inputs, body, url)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }


def test_json_without_a_schema_and_plain_text_are_asked_for(inputs: Inputs) -> None:
    asked = request(inputs, chat(response_format={"type": "json_object"}))
    assert asked["generationConfig"] == {"responseMimeType": "application/json"}
    assert "generationConfig" not in request(inputs, chat(response_format={"type": "text"}))


@pytest.mark.parametrize(
    ("url", "part", "inline"),
    [
        (
            CHAT,
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            "image/png",
        ),
        (CHAT, {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}, "audio/mp3"),
        (
            CHAT,
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}"}},
            "application/pdf",
        ),
        (CHAT, {"type": "file", "file": {"file_data": PNG, "filename": "x.pdf"}}, "application/pdf"),
        (
            RESPONSES,
            {"type": "input_image", "image_url": f"data:image/webp;charset=x;base64,{PNG}"},
            "image/webp",
        ),
        (
            RESPONSES,
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PNG}"},
            "application/pdf",
        ),
    ],
)
def test_bytes_in_a_data_url_go_along_inline(
    inputs: Inputs, url: str, part: dict[str, Any], inline: str
) -> None:
    said = [{"role": "user", "content": [part]}]
    body = {"messages": said} if url == CHAT else {"input": said}
    assert request(inputs, body, url)["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": inline, "data": PNG}}
    ]


def test_calls_of_functions_and_their_results_are_turns(inputs: Inputs) -> None:
    calls = [
        {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": "look", "arguments": f'{{"n":{number}}}'},
        }
        for number in (1, 2)
    ]
    asked = request(
        inputs,
        chat(
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": '{"found": true}'},
            {"role": "tool", "tool_call_id": "c2", "content": "nothing"},
            tools=[{"type": "function", "function": TOOL}],
            tool_choice={"type": "function", "function": {"name": "look"}},
        ),
    )
    called, returned = asked["contents"][1:]
    assert called["role"] == "model"
    assert [part["functionCall"] for part in called["parts"]] == [
        {"name": "look", "args": {"n": 1}},
        {"name": "look", "args": {"n": 2}},
    ]
    assert [part["functionResponse"] for part in returned["parts"]] == [
        {"name": "look", "response": {"found": True}},
        {"name": "look", "response": {"result": "nothing"}},
    ]
    assert asked["tools"] == [
        {"functionDeclarations": [{"name": "look", "description": "Looks", "parametersJsonSchema": SCHEMA}]}
    ]
    assert asked["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}}


def test_responses_are_mapped_as_well(inputs: Inputs) -> None:
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes?"}],
        },
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "seen"},
    ]
    asked = request(
        inputs,
        {
            "instructions": "Be brief",
            "input": said,
            "max_output_tokens": 9,
            "tools": [{"type": "function", **TOOL}],
            "reasoning": {"effort": "none", "summary": "auto"},
            "tool_choice": "auto",
        },
        RESPONSES,
    )
    assert [content["role"] for content in asked["contents"]] == ["user", "model", "model", "user"]
    assert asked["systemInstruction"] == {"parts": [{"text": "Be brief"}]}
    assert asked["generationConfig"] == {
        "maxOutputTokens": 9,
        "thinkingConfig": {"thinkingBudget": 0, "includeThoughts": True},
    }
    assert request(inputs, {"input": "Hi"}, RESPONSES) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]
    }


def test_what_says_nothing_about_the_answer_is_left_out(inputs: Inputs) -> None:
    body = chat(metadata={"a": "b"}, store=True, user="u", stream=False, logit_bias={}, seed=None, tools=[])
    assert request(inputs, {**body, "parallel_tool_calls": False}) == request(inputs, chat())


def test_a_gemini_model_is_kept_to_be_compared_with_the_jobs_and_openais_is_not(inputs: Inputs) -> None:
    assert request(inputs, {**chat(), "model": "gemini-2.5-flash"})["model"] == "gemini-2.5-flash"
    assert "model" not in request(inputs, {**chat(), "model": "gpt-5.4-nano"})


def said(*parts: Any) -> dict[str, Any]:
    return chat({"role": "user", "content": list(parts)})


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (chat(logit_bias={"5": 1}), "UNSUPPORTED", "body.logit_bias"),
        (chat(stream=True), "UNSUPPORTED", "body.stream is true,"),
        (chat(modalities=["text", "audio"]), "UNSUPPORTED", 'body.modalities is ["text", "audio"],'),
        (chat(prediction={"type": "content"}), "UNSUPPORTED", "body.prediction"),
        (chat(temprature=1), "UNSUPPORTED", "did you mean 'temperature'"),
        (chat(reasoning_effort="huge"), "UNSUPPORTED", "body.reasoning_effort"),
        (chat(tools=[{"type": "web_search"}]), "UNSUPPORTED", "body.tools[0].type"),
        (
            chat(tools=[{"type": "function", "function": TOOL}], parallel_tool_calls=False),
            "UNSUPPORTED",
            "body.parallel",
        ),
        (chat(tool_choice="maybe"), "UNSUPPORTED", "body.tool_choice is 'maybe':"),
        (chat(service_tier="scale"), "UNSUPPORTED", "body.service_tier"),
        (chat(response_format={"type": "grammar"}), "UNSUPPORTED", "body.response_format.type"),
        (
            chat(response_format={"type": "json_schema", "json_schema": {"name": "n"}}),
            "WRONG_TYPE",
            "json_schema.schema",
        ),
        (chat({"role": "user", "content": "Hi", "name": "Bo"}), "UNSUPPORTED", "body.messages[0].name"),
        (chat({"role": "wizard", "content": "Hi"}), "UNSUPPORTED", "body.messages[0].role"),
        (chat({"role": "user", "content": 5}), "WRONG_TYPE", "body.messages[0].content"),
        (chat({"role": "tool", "tool_call_id": "x", "content": "y"}), "INVALID_INPUT", "tool_call_id"),
        (
            said({"type": "image_url", "image_url": {"url": "https://x/a.png"}}),
            "UNSUPPORTED",
            "content[0].image_url",
        ),
        (
            said({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%"}}),
            "INVALID_INPUT",
            "no base64",
        ),
        (
            said({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}),
            "INVALID_INPUT",
            "is empty",
        ),
        (said({"type": "file", "file": {"file_id": "f-1"}}), "UNSUPPORTED", "file.file_id"),
        (said({"type": "file", "file": {"file_data": PNG}}), "INVALID_INPUT", "what it is"),
        (said({"type": "video"}), "UNSUPPORTED", "content[0].type"),
        (said({"type": None}), "UNSUPPORTED", "content[0].type is null,"),
        (chat({"role": "system", "content": "Be brief"}), "EMPTY_PROMPT", "asks nothing"),
        (chat({"role": "user", "content": "  "}), "EMPTY_PROMPT", "asks nothing"),
        ({"model": "gpt-5"}, "WRONG_TYPE", "body.messages is null"),
        ([], "WRONG_TYPE", "body is a list"),
        (None, "WRONG_TYPE", "body is null"),
    ],
)
def test_what_cannot_be_asked_names_the_field(inputs: Inputs, body: Any, status: str, message: str) -> None:
    problem = problem_of(item(inputs, body))
    assert problem.status == status
    assert message in problem.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": "Hi", "previous_response_id": "r"}, "body.previous_response_id"),
        ({"input": "Hi", "include": ["reasoning"]}, "body.include"),
        ({"input": [{"type": "reasoning"}]}, "body.input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "file_id"),
        ({"input": "Hi", "text": {"grammar": "x"}}, "body.text.grammar"),
        ({"input": "Hi", "reasoning": {"budget": 5}}, "body.reasoning.budget"),
    ],
)
def test_so_do_responses(inputs: Inputs, body: Any, message: str) -> None:
    problem = problem_of(item(inputs, body, RESPONSES))
    assert problem.status == "UNSUPPORTED"
    assert message in problem.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "/v1/moderations"}, "'/v1/moderations'"),
        ({"method": "GET"}, "must be POST"),
        ({"custom": 1}, "did you mean 'custom_id'?"),
    ],
)
def test_lines_for_something_else_say_so(inputs: Inputs, fields: dict[str, Any], message: str) -> None:
    body = {**chat(), "input": "to be embedded"} if "url" in fields else chat()
    [made] = inputs.items("a.jsonl", line(body, **{"url": CHAT, **fields}))
    assert message in problem_of(made).message


def test_the_api_follows_from_the_body_where_no_url_is_named(inputs: Inputs) -> None:
    bodies = [
        chat(),
        {"input": "Hi", "model": "gpt-5"},
        {"input": "Hi", "model": "text-embedding-3-small"},
    ]
    lines = [json.dumps({"custom_id": str(number), "body": body}) for number, body in enumerate(bodies)]
    first, second, third = inputs.items("a.jsonl", "\n".join(lines))
    assert first.input == second.input
    assert (third.operation, third.input) == ("embed", {"text": "Hi"})


EMBEDDINGS = "/v1/embeddings"


def test_an_embeddings_line_is_an_item_of_embed(inputs: Inputs) -> None:
    body = {"input": "Hi", "model": "text-embedding-3-small", "dimensions": 256, "encoding_format": "float"}
    [made] = inputs.items("a.jsonl", line(body, url=EMBEDDINGS))
    assert (made.operation, made.problem) == ("embed", None)
    assert made.input == {"text": "Hi", "output_dimensionality": 256}
    [listed] = inputs.items("b.jsonl", line({"input": ["Hi"], "user": "u"}, url=EMBEDDINGS))
    assert listed.input == {"text": "Hi"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input": ["a", "b"]}, "a line of its own"),
        ({"input": [1, 2]}, "a line of its own"),
        ({"input": "a", "encoding_format": "base64"}, "vectors are floats"),
        ({"input": "a", "temperature": 1}, "body.temperature"),
        ({"input": 5}, "body.input"),
    ],
)
def test_what_embeddings_lines_cannot_ask_of_gemini_is_named(
    inputs: Inputs, fields: dict[str, Any], message: str
) -> None:
    [made] = inputs.items("a.jsonl", line(fields, url=EMBEDDINGS))
    assert message in problem_of(made).message


def test_a_line_without_a_body_breaks_the_list(inputs: Inputs) -> None:
    rows = inputs.rows("a.jsonl", line(chat()) + '\n{"custom_id": "b"}')
    assert only_complaint(rows).place == "line 2"
    assert "no body" in only_complaint(rows).problem


def test_bytes_beyond_the_limit_are_refused(inputs: Inputs) -> None:
    big = base64.b64encode(bytes(21_000_001)).decode()
    problem = problem_of(
        item(inputs, said({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{big}"}}))
    )
    assert problem.status == "TOO_LARGE"


def test_a_template_has_no_place_in_whole_requests(inputs: Inputs) -> None:
    with pytest.raises(InputError, match="--prompt is for rows"):
        inputs.open("a.jsonl", line(chat()), prompt="{body}")
