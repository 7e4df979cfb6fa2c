"""What goes over the wire, how many calls go at once, and that each of them ends at its deadline."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_server import ANSWER, Script, Serve, in_turn, reply

from batchq.errors import Fatal, ProviderError, Unavailable
from batchq.operations.base import Blob, Call
from batchq.operations.generate import Generate
from batchq.providers.base import Request
from batchq.providers.gemini import GeminiConfig, GeminiProvider

MODEL = "gemini-2.5-flash-lite"
ASK = Request([{"role": "user", "parts": [{"text": "hi"}]}])


# The wire -------------------------------------------------------------------------------------------------


def test_the_answer_is_kept_as_it_stood_on_the_wire_unknown_fields_too(serve: Serve) -> None:
    server, provider = serve(reply(ANSWER))
    assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER
    head = server.requests[0].partition(b"\r\n\r\n")[0].decode()
    assert head.startswith(f"POST /v1/models/{MODEL}:generateContent HTTP/1.1")
    assert "x-goog-api-key: a-key-that-is-secret" in head


CAMEL = {
    "contents": [
        {
            "role": "user",
            "parts": [
                {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
                {"text": "what is it?"},
            ],
        },
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"fastMode": True}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"theAnswer": 1}}}]},
    ],
    "systemInstruction": {"parts": [{"text": "be short"}]},
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 20,
        "candidateCount": 1,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "additionalProperties": {"type": "string"}},
        "responseModalities": ["TEXT"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False},
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"}],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "look", "description": "look it up", "parametersJsonSchema": {"type": "object"}}
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "cachedContent": "cachedContents/abc",
    "serviceTier": "flex",
    "labels": {"team": "a"},
}


FREE = ("args", "response", "responseJsonSchema", "response_json_schema", "labels")  # users' own names inside


def renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [renamed(entry, rename) for entry in value]
    if not isinstance(value, dict):
        return value
    return {rename(k): v if k in FREE else renamed(v, rename) for k, v in value.items()}


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


@pytest.mark.parametrize("raw", [CAMEL, renamed(CAMEL, snake)], ids=["camelCase", "snake_case"])
def test_a_raw_request_arrives_with_every_field_in_either_spelling(serve: Serve, raw: dict[str, Any]) -> None:
    server, provider = serve(reply(ANSWER))
    operation = Generate(lambda: provider)
    assert operation.check({"request": raw}, None) is None
    operation.run(Call(item_id="i", input={"request": raw}, model=MODEL))
    # google-genai writes some names in snake_case, which the API reads as well
    assert [renamed(body, camel) for body in server.bodies] == [CAMEL]


def test_a_real_batch_file_goes_through_unchanged(serve: Serve) -> None:
    root = os.environ.get("BATCHQ_TEST_DATA")
    if root is None:
        pytest.skip("real batch files: set BATCHQ_TEST_DATA")
    lines = (Path(root) / "batch-jsonl" / "gemini_text_input.jsonl").read_text().splitlines()
    requests = [json.loads(line)["request"] for line in lines]
    server, provider = serve(reply(ANSWER))
    operation = Generate(lambda: provider)
    for raw in requests:
        assert operation.check({"request": raw}, None) is None
        operation.run(Call(item_id="i", input={"request": raw}, model=MODEL))
    assert [{**body, "generationConfig": {}} for body in server.bodies] == [
        {**request, "generationConfig": {}} for request in requests
    ]


def test_options_and_schema_arrive_where_gemini_looks_for_them(serve: Serve) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    answer = json.loads(json.dumps(ANSWER))
    answer["candidates"][0]["content"]["parts"][0]["text"] = '{"a": "b"}'
    server, provider = serve(reply(answer))
    options = {
        "temperature": 0,
        "systemInstruction": "be kind",
        "service_tier": "flex",
        "prompt": "sum it up",
    }
    call = Call("i", {"text": "doc"}, MODEL, options, schema)
    assert Generate(lambda: provider).run(call).data == {"a": "b"}
    [sent] = server.bodies
    assert sent["generationConfig"] == {
        "temperature": 0,
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert sent["systemInstruction"]["parts"] == [{"text": "be kind"}]
    assert sent["serviceTier"] == "flex"


def test_a_files_bytes_arrive_whole(serve: Serve) -> None:
    data = b"%PDF-1.7\n" + os.urandom(3_000_000) + b"\n%%EOF\n"
    server, provider = serve(reply(ANSWER))
    call = Call("i", {"file": {"name": "a.pdf"}, "prompt": "sum it up"}, MODEL, blob=Blob("a.pdf", data))
    Generate(lambda: provider).run(call)
    document, instruction = server.bodies[0]["contents"][0]["parts"]
    assert document["inlineData"]["mime_type"] == "application/pdf"
    # URL-safe base64, as google-genai writes it
    assert base64.urlsafe_b64decode(document["inlineData"]["data"]) == data
    assert instruction == {"text": "sum it up"}


def test_a_model_that_wants_to_be_continued_makes_no_second_request(serve: Serve) -> None:
    answer = json.loads(json.dumps(ANSWER))
    answer["candidates"][0] |= {"finishReason": "CONTINUATION", "continuationToken": "AAAA"}
    server, provider = serve(reply(answer))
    assert provider.generate(MODEL, ASK, timeout_s=5) == answer
    assert len(server.requests) == 1


def test_vertex_is_asked_under_its_project_with_a_token(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    server, _ = serve(reply(ANSWER))
    config = GeminiConfig.from_env(
        {
            "GOOGLE_GENAI_USE_VERTEXAI": "true",
            "GOOGLE_CLOUD_PROJECT": "p-1",
            "GOOGLE_CLOUD_LOCATION": "europe-west4",
            "GOOGLE_VERTEX_BASE_URL": server.url,
        }
    )
    provider = GeminiProvider(config)
    assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER
    provider.close()
    head = server.requests[0].partition(b"\r\n\r\n")[0].decode()
    path = "projects/p-1/locations/europe-west4/publishers/google/models"
    assert f" /v1beta1/{path}/{MODEL}:generateContent " in head
    assert "Authorization: Bearer emulator" in head


# Preflight ------------------------------------------------------------------------------------------------


def test_preflight_asks_for_each_model_once(serve: Serve) -> None:
    server, provider = serve(reply({"name": "models/x"}))
    provider.preflight(["a", "b", "a"])
    paths = [request.split(b" ")[1] for request in server.requests]
    assert paths == [b"/v1/models/a", b"/v1/models/b"]


def test_preflight_names_an_unknown_model_and_a_refused_key(serve: Serve) -> None:
    def error(code: int, status: str, message: str) -> Script:
        raw = {"error": {"code": code, "status": status, "message": message}}
        return reply(raw, f"{code} No")

    _, provider = serve(error(404, "NOT_FOUND", "models/gemini-9 is not found"))
    with pytest.raises(Fatal, match="has no model 'gemini-9'"):
        provider.preflight(["gemini-9"])
    _, provider = serve(error(400, "INVALID_ARGUMENT", "API key not valid."))
    with pytest.raises(Fatal, match="check GEMINI_API_KEY"):
        provider.preflight([MODEL])


def test_preflight_without_a_network_may_pass_later() -> None:
    provider = GeminiProvider(GeminiConfig(api_key="k", base_url="http://127.0.0.1:1"))
    with pytest.raises(Unavailable):
        provider.preflight([MODEL])


# Deadlines ------------------------------------------------------------------------------------------------


def drip(head: bytes, every_s: float = 0.02) -> Script:
    def script(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b" ")
            time.sleep(every_s)  # the fault itself, not a wait for something

    return script


def silent(connection: socket.socket, _request: bytes) -> None:
    while connection.recv(1):
        pass


SLOW: dict[str, Script] = {
    "silent": silent,
    "dripping head": drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "dripping body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    "dripping error": drip(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n"),
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_a_call_ends_at_its_deadline_however_the_answer_drips(serve: Serve, script: Script) -> None:
    server, provider = serve(in_turn(reply(ANSWER), script, reply(ANSWER)))
    provider.generate(MODEL, ASK, timeout_s=5)
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        provider.generate(MODEL, ASK, timeout_s=0.3)
    assert 0.25 < time.monotonic() - began < 3.0
    assert caught.value.kind == "TIMEOUT"
    assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER, "and the provider stays usable"
    assert len(server.requests) == 3


def test_the_wait_for_a_connection_is_inside_the_deadline(serve: Serve) -> None:
    server, _ = serve(silent)
    provider = GeminiProvider(GeminiConfig(api_key="k", base_url=server.url), most_calls=1)
    kinds: list[str] = []

    def ask(timeout_s: float) -> None:
        with pytest.raises(Unavailable) as caught:
            provider.generate(MODEL, ASK, timeout_s=timeout_s)
        kinds.append(caught.value.kind)

    first = threading.Thread(target=ask, args=(1.0,))
    first.start()
    until(lambda: len(server.requests) == 1)
    began = time.monotonic()
    ask(0.2)
    assert time.monotonic() - began < 0.9
    first.join()
    assert kinds == ["TIMEOUT", "TIMEOUT"]
    assert len(server.requests) == 1


def test_a_name_that_nobody_resolves_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: asleep.wait(30) and [])
    provider = GeminiProvider(GeminiConfig(api_key="k", base_url="http://slow.example"))
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        provider.generate(MODEL, ASK, timeout_s=0.3)
    asleep.set()
    assert caught.value.kind == "TIMEOUT"
    assert time.monotonic() - began < 3


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from batchq.errors import Unavailable
from batchq.providers.base import Request
from batchq.providers.gemini import GeminiConfig, GeminiProvider
provider = GeminiProvider(GeminiConfig(api_key="k", base_url=sys.argv[1]))
ask = Request([{"parts": [{"text": "hi"}]}])
provider.generate("m", ask, timeout_s=10)

def call(timeout_s):
    began = time.monotonic()
    try:
        provider.generate("m", ask, timeout_s=timeout_s)
    except Unavailable as exc:
        return exc.kind, time.monotonic() - began
    return "answered", time.monotonic() - began

began = time.monotonic()
jobs = [gevent.spawn(call, 0.5 + 0.01 * n) for n in range(50)]
gevent.joinall(jobs)
assert {job.value[0] for job in jobs} == {"TIMEOUT"}, [job.value for job in jobs]
for n, job in enumerate(jobs):
    assert 0.45 + 0.01 * n < job.value[1] < 5, (n, job.value)
assert time.monotonic() - began < 6  # one after the other they would take 37 s
try:
    with gevent.Timeout(0.2):
        provider.generate("m", ask, timeout_s=30)
except gevent.Timeout:
    print("ended")
"""


def test_on_gevent_dripping_answers_end_at_their_own_deadlines_all_at_once(serve: Serve) -> None:
    server, _ = serve(in_turn(reply(ANSWER), SLOW["dripping body"]))
    done = subprocess.run(
        [sys.executable, "-c", GEVENT, server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ended"), done.stderr
    # on a slow machine some deadlines end before their request is out
    assert 2 < len(server.requests) <= 52


# Connections ----------------------------------------------------------------------------------------------


def test_four_hundred_calls_go_at_once_and_their_connections_are_used_again(serve: Serve) -> None:
    everybody = threading.Barrier(400)

    def script(connection: socket.socket, request: bytes) -> None:
        everybody.wait(20)  # nobody is answered before all 400 have asked
        reply(ANSWER)(connection, request)

    server, provider = serve(script)
    provider._ready()
    wrong: list[object] = []

    def ask() -> None:
        try:
            assert provider.generate(MODEL, ASK, timeout_s=30) == ANSWER
        except BaseException as exc:
            wrong.append(exc)

    for _ in range(2):
        threads = [threading.Thread(target=ask) for _ in range(400)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []
    assert server.most_in_call == 400
    assert server.connections == 400


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(serve: Serve) -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket, request: bytes) -> None:
        reply(ANSWER)(connection, request)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server, provider = serve(answer_and_close)
    for _ in range(3):
        assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER
        assert closed.wait(5)
        closed.clear()
    assert (server.connections, len(server.requests)) == (3, 3)


def test_a_forked_child_builds_its_own_client_and_connections(serve: Serve) -> None:
    server, provider = serve(reply(ANSWER))
    provider.generate(MODEL, ASK, timeout_s=5)
    provider._building.acquire()  # as if another thread was building at the moment of the fork
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for ever ends, and fails the test
        try:
            fine = provider.generate(MODEL, ASK, timeout_s=5) == ANSWER
            provider.close()
        except BaseException:
            fine = False
        os._exit(0 if fine else 1)
    provider._building.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert server.connections == 2
    assert provider.generate(MODEL, ASK, timeout_s=5) == ANSWER, "and the parent's are still its own"
    assert server.connections == 2


def test_a_closed_provider_opens_again_when_it_is_asked(serve: Serve) -> None:
    server, provider = serve(reply(ANSWER))
    for _ in range(2):
        provider.generate(MODEL, ASK, timeout_s=5)
        provider.close()
        provider.close()
    assert server.connections == 2


def test_a_client_that_nobody_else_holds_is_not_closed_between_calls(serve: Serve) -> None:
    import gc

    server, provider = serve(reply(ANSWER))
    for _ in range(3):
        provider.generate(MODEL, ASK, timeout_s=5)
        gc.collect()
    assert server.connections == 1


def test_the_environments_proxy_is_used_but_never_for_this_machine(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, direct = serve(reply(ANSWER))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    away = GeminiProvider(GeminiConfig(api_key="k", base_url="http://gemini.example"))
    assert away.generate(MODEL, ASK, timeout_s=5) == ANSWER
    assert proxy.requests[0].startswith(b"POST http://gemini.example/v1/models/")
    away.close()
    direct.generate(MODEL, ASK, timeout_s=5)
    assert proxy.requests[1].startswith(b"POST /v1/models/")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ProviderError, match="NO_PROXY"):
        GeminiProvider(GeminiConfig(api_key="k", base_url="http://gemini.example")).generate(
            MODEL, ASK, timeout_s=5
        )
