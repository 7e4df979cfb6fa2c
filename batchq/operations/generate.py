"""generate: a prompt, messages, text, file or whole request in; the model's answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchq.core.records import Answer, JsonObject
from batchq.errors import Fatal, ProviderError, Rejected, Unavailable, Unsendable
from batchq.operations import media
from batchq.operations.answers import answer_of, parsed
from batchq.operations.attachments import addresses, outsourced
from batchq.operations.base import Blob, Call
from batchq.operations.options import PROMPT, check_options, check_ranges, split
from batchq.operations.schemas import check_schema, misfit
from batchq.operations.texts import bad_text
from batchq.providers.base import Provider, Request

MODEL = "gemini-2.5-flash-lite"
KINDS = ("prompt", "messages", "text", "file", "request")  # an input has one; text and file may have a prompt
ROLES = {"user": "user", "assistant": "model", "model": "model"}


class Generate:
    """Asks a model. `provider` is called at the first item, so that a submitter needs no key."""

    name = "generate"
    default_model: str | None = MODEL
    default_schema: Mapping[str, Any] | None = None
    needs_provider = True

    def __init__(self, provider: Callable[[], Provider]) -> None:
        self._provider = provider

    # Before anything is stored ------------------------------------------------------------------------

    def check(self, input: Mapping[str, Any], model: str | None) -> str | None:
        kinds = [kind for kind in KINDS if kind in input]
        if not kinds:
            return f"nothing to send: give one of {', '.join(KINDS)}"
        unknown = [str(name) for name in input if name not in KINDS]
        if unknown:
            return f"unknown field {unknown[0]!r}: an input has one of {', '.join(KINDS)}"
        if kinds[0] == PROMPT and len(kinds) == 2 and kinds[1] in ("text", "file"):
            return bad_text(input[PROMPT], PROMPT) or self.check({kinds[1]: input[kinds[1]]}, model)
        if len(kinds) > 1:
            return f"{' and '.join(kinds)} do not go together: give one of them"
        problem = _CHECKS[kinds[0]](input[kinds[0]])
        if problem is None and kinds[0] == "request":
            problem = _other_model(input["request"], model or MODEL)
        return problem

    def check_file(self, blob: Blob) -> str | None:
        try:
            media.check(blob)
        except Unsendable as exc:
            return str(exc)
        return None

    def check_job(self, options: Mapping[str, Any], schema: Mapping[str, Any] | None) -> str | None:
        problem = check_options(options)
        if problem or schema is None:
            return problem
        config, _ = split(options)
        for name in ("response_schema", "response_json_schema"):
            if name in config:
                return f"option {name} and the job's schema contradict each other: keep one"
        if config.get("response_mime_type", "application/json") != "application/json":
            return "option response_mime_type must be application/json where the job has a schema"
        return check_schema(schema)

    # On the worker ------------------------------------------------------------------------------------

    def run(self, call: Call) -> Answer:
        model = call.model or self.default_model or MODEL
        request = self.request(call, model)
        try:
            response = self._provider().generate(model, request, timeout_s=call.timeout_s)
        except Rejected as exc:
            _check_files(request, call, exc)
            raise
        answer = answer_of(response, model)
        return answer if call.schema is None else fitting(answer, call)

    def upload(self, call: Call) -> None:
        self.request(call, call.model or self.default_model or MODEL)

    def request(self, call: Call, model: str) -> Request:
        """What is sent. The item's own settings win over the job's options. Raises Unsendable."""
        config, prompt = split(call.options)
        try:
            contents, own = self._contents(call, prompt, model)
        except ValueError as exc:
            raise Unsendable(str(exc), kind="INVALID_ARGUMENT") from exc
        config.update(own)
        if call.schema is not None:
            config.pop("response_schema", None)
            config.update(response_mime_type="application/json", response_json_schema=call.schema)
        return Request(outsourced(contents, call.uploads), config)

    def _contents(
        self, call: Call, prompt: str | None, model: str
    ) -> tuple[list[Mapping[str, Any]], JsonObject]:
        """Contents, and the settings that come with the item. Raises ValueError, Unsendable."""
        input = call.input
        if "request" in input:
            return _of_request(input["request"], model)
        if "messages" in input:
            return _of_messages(input["messages"])
        instruction = input.get(PROMPT) or prompt
        if call.blob is not None:
            return [_user(*media.parts_of(call.blob), *_said(instruction))], {}
        if "text" in input:
            return [_user(*_said(instruction), {"text": input["text"]})], {}
        if "file" in input:
            raise ValueError("the file's bytes did not come with the item")
        return [_user({"text": input[PROMPT]})], {}


def _check_files(request: Request, call: Call, refused: Rejected) -> None:
    """Raises Unavailable where it may be for a file that we uploaded, and that the provider has no more."""
    uris = addresses(request.contents)
    if refused.code not in (403, 404) or call.uploads is None or not uris:
        return
    for uri in uris:
        call.uploads.lost(uri)
    raise Unavailable(
        f"an uploaded file is gone: {refused.message}", code=refused.code, kind="FILE_GONE"
    ) from refused


def fitting(answer: Answer, call: Call) -> Answer:
    """The answer with its parsed data, once it fits the job's schema.

    Raises, with the usage of the call, Unavailable on the first attempt (a model asked again often gets it
    right) and Rejected after it.
    """
    assert call.schema is not None
    try:
        data = parsed(answer.text or "")
        problem = misfit(data, call.schema)
    except (ValueError, RecursionError) as exc:
        data, problem = None, f"it is no JSON: {exc}"
    if problem is None:
        return Answer(answer.response, answer.text, data, answer.usage, answer.model)
    kind: type[ProviderError] = Unavailable if call.attempt < 2 else Rejected
    raise kind(f"the answer does not fit the schema: {problem}", kind="SCHEMA_MISMATCH", usage=answer.usage)


def _user(*parts: JsonObject) -> JsonObject:
    return {"role": "user", "parts": list(parts)}


def _said(instruction: str | None) -> list[JsonObject]:
    return [{"text": instruction}] if instruction else []


def _of_request(raw: Mapping[str, Any], model: str) -> tuple[list[Mapping[str, Any]], JsonObject]:
    from batchq.providers.gemini.requests import parse_request

    request = parse_request(raw)
    problem = _other_model(raw, model)
    if problem is not None:
        raise ValueError(problem)
    return list(request.contents), dict(request.config)


def _other_model(raw: Mapping[str, Any], model: str) -> str | None:
    named = raw.get("model")
    if not named or _bare(str(named)) == _bare(model):
        return None
    return f"the request names model {named}, but the job runs {model}: submit it apart"


def _of_messages(messages: list[Mapping[str, str]]) -> tuple[list[Mapping[str, Any]], JsonObject]:
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    contents: list[Mapping[str, Any]] = [
        {"role": ROLES[message["role"]], "parts": [{"text": message["content"]}]}
        for message in messages
        if message["role"] != "system"
    ]
    return contents, {"system_instruction": system} if system else {}


def _bare(model: str) -> str:
    return model.rsplit("/", 1)[-1]


def _bad_messages(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages must be a list, and not empty"
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            return f"{where} must be an object with role and content"
        if unknown := [str(name) for name in message if name not in ("role", "content")]:
            return f"{where} has an unknown field {unknown[0]!r}: it has role and content"
        if message.get("role") not in ("system", *ROLES):
            return f"{where}.role must be system, user or assistant, not {message.get('role')!r}"
        if problem := bad_text(message.get("content"), f"{where}.content"):
            return problem
    if all(message["role"] == "system" for message in messages):
        return "messages has no message of the user"
    return None


def _bad_file(file: Any) -> str | None:
    if isinstance(file, str):
        return None if file.strip() else "file is empty"
    return None if isinstance(file, Mapping) and file.get("name") else "file must be a path"


def _bad_request(raw: Any) -> str | None:
    from batchq.providers.gemini.requests import check_config, parse_request

    if not isinstance(raw, Mapping):
        return "request must be an object: a GenerateContentRequest"
    try:
        config = parse_request(raw).config
    except ValueError as exc:
        return str(exc)
    return check_ranges(config, "request: ") or check_config(config, "request")


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "prompt": lambda value: bad_text(value, "prompt"),
    "text": lambda value: bad_text(value, "text"),
    "messages": _bad_messages,
    "file": _bad_file,
    "request": _bad_request,
}


def no_provider() -> Provider:
    """What stands in for a provider where none was set: in a submitter, nothing is asked."""
    raise Fatal("this process has no provider: set GEMINI_API_KEY for its worker", kind="CONFIGURATION")
