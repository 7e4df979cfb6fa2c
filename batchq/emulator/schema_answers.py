"""A JSON value that fits a schema, drawn from a digest: the same for the same prompt, another for another.

Takes Gemini's OpenAPI subset (responseSchema: types in capitals, nullable, anyOf, propertyOrdering, numbers
written as strings) and JSON Schema (responseJsonSchema: $ref, type lists, const, additionalProperties,
pattern as far as it goes). Free strings carry the digest, and names suggest values: dates, amounts, currencies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from random import Random
from typing import Any

from batchq.emulator.patterns import matching

DEEP = 6  # levels after which optional things are left out, so that recursive schemas end
DEEPEST = 60  # levels at which a schema counts as endless
NULLS = 8  # one nullable value in so many is null

CURRENCIES = ("EUR", "USD", "GBP", "CHF")
AMOUNTS = ("total", "amount", "price", "cost", "tax", "vat", "subtotal", "balance", "net", "gross", "sum")
COUNTS = ("quantity", "qty", "count", "units")
IDS = ("id", "number", "no", "reference", "key")

Schema = Mapping[str, Any]


class Unfit(ValueError):
    """No value is known to fit the schema; the message says where."""


def fit(schema: Schema, digest: bytes) -> Any:
    """A value that fits. Raises Unfit for a schema that ends nowhere, contradicts itself or is none."""
    return _Fitter(schema, digest).value(schema, "", 0)


def get(schema: Schema, name: str) -> Any:
    """A keyword in camelCase or snake_case: google-genai writes either."""
    value = schema.get(name)
    return schema.get(SNAKE[name]) if value is None and name in SNAKE else value


SNAKE = {
    "anyOf": "any_of",
    "oneOf": "one_of",
    "allOf": "all_of",
    "propertyOrdering": "property_ordering",
    "additionalProperties": "additional_properties",
    "prefixItems": "prefix_items",
    "minItems": "min_items",
    "maxItems": "max_items",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
    "$ref": "ref",
    "$defs": "defs",
}


class _Fitter:
    def __init__(self, root: Schema, digest: bytes) -> None:
        self.root = root
        self.mark = digest.hex()[:16]
        self.dice = Random(int.from_bytes(digest[:16]))  # draws of an answer, in the schema's own order

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if schema is True or schema == {}:
            return f"{name or 'value'} {self.mark}"
        if not isinstance(schema, Mapping):
            raise Unfit(f"{name or 'the schema'} is no schema: {schema!r}")
        if depth > DEEPEST:
            raise Unfit(f"the schema has no end at {name}")
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.dice.choice(list(schema["enum"]))
        for keyword in ("anyOf", "oneOf"):
            if options := get(schema, keyword):
                return self._one_of(schema, keyword, options, name, depth)
        return self._typed(schema, self._type(schema, depth), name, depth)

    def _typed(self, schema: Schema, kind: str, name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, name, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer":
                return self._integer(schema, name)
            case "number":
                return self._number(schema, name)
            case "boolean":
                return self.dice.random() < 0.5
            case "null":
                return None
        raise Unfit(f"{name or 'the schema'}: {kind!r} is no type")

    def _type(self, schema: Schema, depth: int) -> str:
        kind = schema.get("type")
        kinds = [str(one).lower() for one in (kind if isinstance(kind, list) else [kind]) if one]
        if schema.get("nullable") and "null" not in kinds:
            kinds.append("null")
        if kinds in ([], ["null"]) and not kind:
            kinds = [_implied(schema), *kinds]
        solid = [one for one in kinds if one not in ("null", "type_unspecified")]
        if "null" in kinds and (not solid or depth > DEEP or self.dice.randrange(NULLS) == 0):
            return "null"
        return self.dice.choice(solid) if len(solid) > 1 else solid[0] if solid else _implied(schema)

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its $ref followed and its allOf merged in."""
        for _ in range(DEEPEST):
            reference = get(schema, "$ref")
            if isinstance(reference, str):
                rest = {key: value for key, value in schema.items() if key not in ("$ref", "ref")}
                schema = _merged(self._target(reference), rest)
            elif parts := get(schema, "allOf"):
                rest = {key: value for key, value in schema.items() if key not in ("allOf", "all_of")}
                for part in parts:
                    rest = dict(_merged(self._resolved(part), rest))
                schema = rest
            else:
                return schema
        raise Unfit("the schema's $ref goes round in circles")

    def _target(self, reference: str) -> Schema:
        node: Any = self.root
        if not reference.startswith("#"):
            raise Unfit(f"the schema's $ref {reference!r} leads nowhere")
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list):
                node = node[int(step)] if step.isdigit() and int(step) < len(node) else None
            else:
                node = get(node, step) if isinstance(node, Mapping) else None
        if not isinstance(node, Mapping):
            raise Unfit(f"the schema's $ref {reference!r} leads nowhere")
        return node

    def _one_of(self, schema: Schema, keyword: str, options: Any, name: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key not in (keyword, SNAKE[keyword])}
        merged = [_merged(self._resolved(option), rest) for option in options if isinstance(option, Mapping)]
        nulls = [option for option in merged if str(option.get("type")).lower() == "null"]
        solid = [option for option in merged if option not in nulls]
        if nulls and (not solid or depth > DEEP or self.dice.randrange(NULLS) == 0):
            return None
        if not solid:
            raise Unfit(f"{name or 'the schema'}: nothing fits {keyword}")
        if depth > DEEP:  # the plainest way out of a recursion
            solid = sorted(solid, key=_weight)[:1]
        return self.value(self.dice.choice(solid), name, depth + 1)

    def _object(self, schema: Schema, name: str, depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or []
        order = [key for key in get(schema, "propertyOrdering") or [] if key in properties]
        order += [key for key in properties if key not in order]
        order += [key for key in required if key not in order]
        if depth > DEEP:
            order = [key for key in order if key in required]
        most = _whole(get(schema, "maxProperties"))
        if most is not None and len(order) > most:
            order = sorted(order, key=lambda key: key not in required)[:most]
        answer = {
            key: self.value(properties.get(key, {}), key, depth + 1)
            for key in order
            if properties.get(key) is not False
        }
        least = _whole(get(schema, "minProperties")) or 0
        more = get(schema, "additionalProperties")
        free = not properties and isinstance(more, Mapping)  # a map: give it something
        while len(answer) < max(least, 1 if free and depth <= DEEP else 0):
            if more is False:
                raise Unfit(f"{name or 'the schema'} asks for more properties than it allows")
            key = f"{name or 'key'}_{len(answer) + 1}"
            answer[key] = self.value(more if isinstance(more, Mapping) else {}, key, depth + 1)
        return answer

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = _whole(get(schema, "minItems")) or 0
        most = _whole(get(schema, "maxItems"))
        size = least if depth > DEEP else max(least, self.dice.randint(1, 3))
        size = size if most is None else min(size, most)
        first = get(schema, "prefixItems") or []
        answer = [self.value(item, name, depth + 1) for item in first]
        items = schema.get("items", True)
        if items is False or (items is True and first):
            return answer
        one = name.removesuffix("s") or "item"
        for _ in range(100 * (size + 1)):
            if len(answer) >= size:
                break
            value = self.value(items, one, depth + 1)
            if not (get(schema, "uniqueItems") and value in answer):
                answer.append(value)
        if len(answer) < least:
            raise Unfit(f"{name or 'the schema'}: too few values to make {least} different items")
        return answer

    def _string(self, schema: Schema, name: str) -> str:
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and (text := matching(pattern, self.dice)) is not None:
            return text
        least, most = _whole(get(schema, "minLength")) or 0, _whole(get(schema, "maxLength"))
        kind = schema.get("format")
        text = self._formatted(kind) if isinstance(kind, str) else None
        if text is None:
            text = self._named(name)
        if len(text) < least:
            text = (text + " " + self.mark * (least // 16 + 1))[:least]
        return text if most is None else text[:most]

    def _formatted(self, kind: str) -> str | None:
        day = self._date()
        return {
            "date": day,
            "date-time": f"{day}T12:00:00Z",
            "time": "12:00:00Z",
            "duration": "P1D",
            "email": f"{self.mark}@example.com",
            "hostname": f"{self.mark}.example.com",
            "uri": f"https://example.com/{self.mark}",
            "url": f"https://example.com/{self.mark}",
            "uuid": f"{self.mark[:8]}-{self.mark[8:12]}-4{self.mark[13:16]}-8000-{self.mark[:12]}",
            "ipv4": f"192.0.2.{self.dice.randrange(1, 255)}",
            "ipv6": f"2001:db8::{self.dice.randrange(1, 65535):x}",
        }.get(kind)

    def _named(self, name: str) -> str:
        words = _words(name)
        if "date" in words:
            return self._date()
        if "currency" in words:
            return self.dice.choice(CURRENCIES)
        if words & set(IDS):
            return self.mark.upper()
        if words & set(AMOUNTS):
            return f"{self.dice.randrange(100, 100_000) / 100:.2f}"
        return f"{name or 'text'} {self.mark}"

    def _date(self) -> str:
        return (date(2025, 1, 1) + timedelta(days=self.dice.randrange(365))).isoformat()

    def _integer(self, schema: Schema, name: str) -> int:
        low, high = _bounds(schema, 1, 9 if _words(name) & set(COUNTS) else 1000)
        least, most = math.ceil(low), math.floor(high)
        if least == low and _exclusive(schema, "Minimum", low):
            least += 1
        if most == high and _exclusive(schema, "Maximum", high):
            most -= 1
        step = _number(schema.get("multipleOf"))
        if step and step == int(step):
            lowest, highest = -(-least // int(step)), most // int(step)
            if lowest > highest:
                raise Unfit(f"{name or 'the schema'}: no multiple of {step} between {least} and {most}")
            return self.dice.randint(lowest, highest) * int(step)
        if least > most:
            raise Unfit(f"{name or 'the schema'}: no whole number between {low} and {high}")
        return self.dice.randint(least, most)

    def _number(self, schema: Schema, name: str) -> float | int:
        step = _number(schema.get("multipleOf"))
        low, high = _bounds(schema, 1, 9 if _words(name) & set(COUNTS) else 1000)
        if low > high:
            raise Unfit(f"{name or 'the schema'}: no number between {low} and {high}")
        if step:
            lowest, highest = math.ceil(low / step), math.floor(high / step)
            return round(self.dice.randint(lowest, max(lowest, highest)) * step, 9)
        share = 0.05 + 0.9 * self.dice.random()  # inside, so that exclusive bounds hold
        exact = low + share * (high - low)
        rounded = round(exact, 2)
        return rounded if low < rounded < high else exact


def _merged(base: Schema, more: Schema) -> Schema:
    """Both schemas at once: properties and required of both, `more` in all else."""
    if not more:
        return base
    merged = {**base, **more}
    for keyword in ("properties",):
        if keyword in base and keyword in more:
            merged[keyword] = {**base[keyword], **more[keyword]}
    if "required" in base and "required" in more:
        merged["required"] = list(dict.fromkeys([*base["required"], *more["required"]]))
    return merged


def _weight(schema: Schema) -> int:
    kind = str(schema.get("type", "object")).lower()
    return {"object": 2, "array": 1}.get(kind, 0)


def _implied(schema: Schema) -> str:
    """The type of a schema that names none, by its other keywords."""
    if "properties" in schema or "required" in schema or get(schema, "additionalProperties") is not None:
        return "object"
    if "items" in schema or get(schema, "prefixItems") is not None:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def _words(name: str) -> set[str]:
    spaced = "".join(f" {c}" if c.isupper() else c if c.isalnum() else " " for c in name)
    return set(spaced.lower().split())


def _bounds(schema: Schema, low: float, high: float) -> tuple[float, float]:
    given_low = [_number(schema.get(key)) for key in ("minimum", "exclusiveMinimum")]
    given_high = [_number(schema.get(key)) for key in ("maximum", "exclusiveMaximum")]
    lows = [bound for bound in given_low if bound is not None]
    highs = [bound for bound in given_high if bound is not None]
    if lows and not highs:
        high = max(high, max(lows) + 1000)
    if highs and not lows:
        low = min(low, min(highs) - 1000)
    return (max(lows) if lows else low), (min(highs) if highs else high)


def _exclusive(schema: Schema, end: str, bound: float) -> bool:
    return _number(schema.get(f"exclusive{end}")) == bound


def _number(value: Any) -> float | None:
    """Gemini writes 64-bit numbers as strings."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
