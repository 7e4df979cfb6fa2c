"""A plain function of the user's is an operation; what it raises decides on a retry."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NotRequired

import billiard.common
import pytest
from pydantic import BaseModel, PositiveInt
from typing_extensions import TypedDict

from batchq import wiring
from batchq.core.records import Answer, Usage
from batchq.errors import (
    ConfigurationError,
    Fatal,
    ProviderError,
    Rejected,
    Throttled,
    Unavailable,
    Unsendable,
)
from batchq.operations import registry
from batchq.operations.base import Call
from batchq.settings import Settings


class Order(BaseModel):
    quantity: PositiveInt


class Delivery(BaseModel):
    missing: int


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_own", {})
    monkeypatch.setattr(registry, "_defaults", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def run(name: str, input: dict[str, Any] | None = None, **more: Any) -> Answer:
    return registry.get(name).run(Call(item_id="q-1", input=input or {}, model=None, **more))


def test_a_function_of_the_input_is_an_operation() -> None:
    @registry.operation("shout")
    def shout(input: Any) -> Any:
        return {"loud": input["text"].upper(), "pair": (1, 2)}

    answer = run("shout", {"text": "hi"})
    assert answer.response == {"output": {"loud": "HI", "pair": [1, 2]}}
    assert answer.data == answer.response["output"]
    assert answer.text is None
    assert "shout" in registry.names()


def test_a_function_may_take_the_call_too() -> None:
    @registry.operation("who")
    def who(input: Any, call: Call) -> str:
        return call.item_id

    @registry.operation("perhaps")
    def perhaps(input: Any, call: Call | None = None) -> str:
        return call.item_id if call else "none"

    @registry.operation("setting")
    def setting(input: Any, colour: str = "red") -> str:
        return colour

    assert (run("who").text, run("perhaps").text, run("setting").text) == ("q-1", "q-1", "red")


def test_a_function_may_return_a_whole_answer() -> None:
    answer = Answer({"candidates": []}, text="x", usage=Usage(1, 2))

    @registry.operation("whole")
    def whole(input: Any) -> Answer:
        return answer

    assert run("whole") is answer


@pytest.mark.parametrize(
    ("raised", "becomes", "kind"),
    [
        (OSError("disk"), Unavailable, "OSError"),
        (TimeoutError("slow"), Unavailable, "TimeoutError"),
        (ConnectionResetError("gone"), Unavailable, "ConnectionResetError"),
        (RuntimeError("odd"), Unavailable, "RuntimeError"),
        (ValueError("bad"), Rejected, "ValueError"),
        (TypeError("bad"), Rejected, "TypeError"),
        (KeyError("name"), Rejected, "KeyError"),
        (IndexError("9"), Rejected, "IndexError"),
        (AssertionError(), Rejected, "AssertionError"),
        (NotImplementedError("later"), Rejected, "NotImplementedError"),
        (SystemExit(3), Rejected, "SystemExit"),
        (Throttled("slow down", retry_after_ms=5), Throttled, "RESOURCE_EXHAUSTED"),
        (Fatal("no key", code=401, kind="UNAUTHENTICATED"), Fatal, "UNAUTHENTICATED"),
    ],
)
def test_what_a_function_raises_decides_on_a_retry(
    raised: BaseException, becomes: type[ProviderError], kind: str
) -> None:
    @registry.operation("fails")
    def fails(input: Any) -> None:
        raise raised

    with pytest.raises(ProviderError) as caught:
        run("fails")
    assert type(caught.value) is becomes
    assert caught.value.kind == kind


def test_a_process_that_is_told_to_end_in_an_operation_is_no_fault_of_the_item() -> None:
    """billiard's handler raises in the middle of whatever a child of prefork is at."""

    @registry.operation("works")
    def works(input: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(billiard.common, "_should_have_exited", [False])
            before = signal.getsignal(signal.SIGTERM)
            try:
                billiard.common._shutdown_cleanup(signal.SIGTERM, None)
            finally:
                signal.signal(signal.SIGTERM, before)

    with pytest.raises(SystemExit):
        run("works")


def test_an_exceptions_text_is_kept_on_one_line_and_capped() -> None:
    @registry.operation("fails")
    def fails(input: Any) -> None:
        raise ValueError("one\ntwo\x1b[31m" + "x" * 1000)

    with pytest.raises(Rejected) as caught:
        run("fails")
    assert caught.value.message.startswith(r"one\ntwo")
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) == 500


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), b"x", float("nan"), {"a": {"b": {1}}}, "\ud800", lambda: 1]
)
def test_a_value_that_is_no_json_is_refused_by_its_type(value: Any) -> None:
    @registry.operation("odd")
    def odd(input: Any) -> Any:
        return value

    with pytest.raises(
        Rejected, match=f"operation odd returned a {type(value).__name__} that is no JSON"
    ) as caught:
        run("odd")
    assert caught.value.kind == "NOT_JSON"


def test_an_output_that_does_not_fit_the_jobs_schema_is_refused() -> None:
    @registry.operation("count")
    def count(input: Any) -> Any:
        return "many"

    with pytest.raises(Rejected, match="is not of type 'integer'"):
        run("count", schema={"type": "integer"})


@pytest.mark.parametrize("name", ["generate", "extract", "embed", "control", "dead_letter"])
def test_an_operation_cannot_take_a_name_of_batchqs_own(name: str) -> None:
    with pytest.raises(ConfigurationError, match="has a name of batchq's own"):
        registry.operation(name)(lambda value: value)


@pytest.mark.parametrize("name", ["", "Shout", "a b", "a.b", "x" * 64])
def test_a_name_that_makes_no_queue_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name is lower-case letters"):
        registry.operation(name)(lambda value: value)


def test_functions_that_cannot_be_run_are_refused_when_they_are_named() -> None:
    async def later(input: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="is async"):
        registry.operation("later")(later)
    with pytest.raises(ConfigurationError, match="must take"):
        registry.operation("none")(lambda: 1)


def test_two_functions_cannot_share_a_name() -> None:
    @registry.operation("same")
    def one(input: Any) -> None: ...

    registry.operation("same")(one)
    with pytest.raises(ConfigurationError, match="defined by both"):
        registry.operation("same")(lambda value: value)


def test_an_unknown_operation_is_named_with_what_there_is() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no operation 'shuot', only embed, extract, generate.*BATCHQ_INCLUDE"
    ):
        registry.get("shuot")


def test_modules_are_loaded_and_bring_their_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_fine.py").write_text(
        "from batchq.operations.registry import operation\n"
        "@operation('twice', check=lambda input: None if 'n' in input else 'n is missing')\n"
        "def twice(input):\n    return input['n'] * 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.load(["own_fine"])
    registry.load(["own_fine"])
    assert run("twice", {"n": 4}).data == 8
    assert registry.get("twice").check({}, None) == "n is missing"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, r"importing 'own_bad' is not on the Python path"),
        ("import own_missing_too", r"importing 'own_bad' failed: ModuleNotFoundError.*own_missing_too"),
        ("def (", r"importing 'own_bad' failed: SyntaxError"),
        ("1 / 0", r"importing 'own_bad' failed: ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_a_clear_configuration_error(
    source: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source is not None:
        (tmp_path / "own_bad.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=says):
        registry.load(["own_bad"])


def test_without_a_provider_a_built_in_operation_says_what_to_set() -> None:
    with pytest.raises(Fatal, match="set GEMINI_API_KEY"):
        run("generate", {"prompt": "x"})


def test_checking_needs_neither_a_provider_nor_google_genai() -> None:
    import subprocess

    code = (
        "import sys\n"
        "from batchq.operations import registry\n"
        "from batchq.providers.gemini import GeminiConfig, GeminiProvider\n"
        "o = registry.get('extract')\n"
        "assert o.check({'file': 'a.png'}, None) is None\n"
        "assert o.check_job({'temperature': 0.1, 'prompt': 'p'}, {'type': 'object'}) is None\n"
        "GeminiProvider(GeminiConfig.from_env({'GEMINI_API_KEY': 'k'}))\n"
        "print([m for m in ('google.genai', 'httpx2', 'PIL') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_operation_may_take_and_give_pydantic_models() -> None:
    @registry.operation("typed")
    def typed(order: Order, call: Call) -> Delivery:
        return Delivery(missing=order.quantity + call.attempt)

    one = registry.get("typed")
    assert one.check({"quantity": 2}, None) is None
    assert one.check({"quantity": 0}, None) == "quantity: Input should be greater than 0"
    assert "Field required" in str(one.check({}, None))
    assert one.default_schema == Delivery.model_json_schema()
    assert one.run(Call("id", {"quantity": 2}, None, schema=one.default_schema)).data == {"missing": 3}

    @registry.operation("untyped")
    def untyped(input: "what nobody knows") -> "nor this":  # type: ignore[valid-type]  # noqa: F722
        return input

    assert registry.get("untyped").default_schema is None
    assert registry.get("untyped").run(Call("id", {"a": 1}, None)).data == {"a": 1}


@dataclass
class Crate:
    weight: int
    marks: list[str] = field(default_factory=list)


class Label(TypedDict):
    text: str
    printed: NotRequired[date]


def test_dataclasses_and_typed_dicts_are_types_too() -> None:
    @registry.operation("label")
    def label(crate: Crate) -> Label:
        return {"text": f"{crate.weight} kg {crate.marks}", "printed": date(2026, 11, 21)}

    one = registry.get("label")
    assert one.check({"weight": 2, "marks": ["fragile"]}, None) is None
    assert one.check({"weight": "x", "marks": [1]}, None) == (
        "weight: Input should be a valid integer, unable to parse string as an integer; "
        "marks.0: Input should be a valid string"
    )
    assert run("label", {"weight": 2}).data == {"text": "2 kg []", "printed": "2026-11-21"}
    assert one.default_schema is not None
    assert set(one.default_schema["properties"]) == {"text", "printed"}


def test_an_input_is_looked_at_again_before_the_call_and_is_no_attempt() -> None:
    @registry.operation("label")
    def label(crate: Crate) -> None:
        raise AssertionError("not to be called")

    with pytest.raises(Unsendable, match="weight: Field required") as caught:
        run("label", {})
    assert caught.value.kind == "INVALID_INPUT"


def test_an_output_that_is_not_of_its_type_is_refused_by_field() -> None:
    @registry.operation("label")
    def label(input: Any) -> Label:
        return {"text": 7}  # type: ignore[typeddict-item]

    with pytest.raises(
        Rejected, match="operation label returned what is not of its type: text: Input"
    ) as caught:
        run("label")
    assert caught.value.kind == "SCHEMA_MISMATCH"


@pytest.mark.parametrize("kind", [str, int, list[str], bytes])
def test_a_type_that_no_input_can_have_is_refused_when_it_is_named(kind: Any) -> None:
    def whole(input: Any) -> None: ...

    whole.__annotations__["input"] = kind
    with pytest.raises(ConfigurationError, match="an item's input is an object: annotate a Pydantic model"):
        registry.operation("whole")(whole)


def installed(folder: Path, code: str) -> None:
    """A package as pip leaves it."""
    (folder / "own_installed.py").write_text(code)
    about = folder / "own_shouting-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-shouting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[batchq.operations]\nshouting = own_installed\n")


def test_an_installed_package_brings_operations_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from batchq import operation\n@operation('loud', queue='hall', rpm=7)\n"
        "def loud(input):\n    return input['prompt'].upper()\n"
    )
    installed(tmp_path, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.load_installed.cache_clear()
    assert "batchq.hall" in wiring.worker_queues(Settings())
    assert run("loud", {"prompt": "hey"}).data == "HEY"
    assert wiring.load_operations(Settings()).queues["hall"].requests_per_minute == 7
    registry.load_installed.cache_clear()


def test_an_installed_package_that_is_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "import nothing_of_this_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.load_installed.cache_clear()
    with pytest.raises(
        ConfigurationError, match=r"operations of own-shouting cannot be loaded .*own_installed"
    ):
        registry.load_installed()
    registry.load_installed.cache_clear()
