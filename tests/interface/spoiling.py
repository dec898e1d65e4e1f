"""Definitions that nobody should send: a valid one, spoilt in some of its places."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]

#: Written as they are into the JSON: what Python's own writer would not, or not so.
_LITERALS = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "5e-324", "-0.0", "1E400",
    "9" * 400, "-" + "9" * 400, "9" * 5000, str(2**31), str(2**63), str(2**64), "-1", "0", "1",
    "1.0", "0.5", "true", "false", "null", "[]", "{}", "[[]]", '""',
]  # fmt: skip
_DEEP = ["[" * depth + "]" * depth for depth in (100, 900, 20_000)] + [
    '{"a":' * depth + "1" + "}" * depth for depth in (100, 900, 20_000)
]
_TEXTS = [
    "\x00", "a\x00b", "../../../etc/passwd", "/photos/\x00/train", "\ud800", "a\udfffb", "\ufeff",
    "\u202enoisserger", "é" * 70, "🜁", "x" * 3000, " ", "\n", "small\n", "data:text/plain;base64,AAAA",
    "data:," + "x" * 2000, "package:skimage/data/../../os.py", "package:os/../../etc/passwd",
    "os:system", "builtins:eval", "subprocess:Popen", "file:///etc/passwd", "http://169.254.169.254/",
    "\\\\host\\share", "%00", "{{7*7}}", "${HOME}", "'; DROP TABLE study; --", "__class__", "$schema",
    "search", "pixel", "paper", "l1", "content", "psnr_y", "vgg19", "NaN", "1", "True", "null",
]  # fmt: skip
_FIELDS = [
    "name", "loss", "weight", "share", "range", "optional", "parameters", "steps", "rungs", "labels",
    "classes", "trials", "gpu_hours", "wall_hours", "ahead", "startup", "space", "sampler", "ema",
    "max_running", "keep", "after", "transfer", "seeds", "candidates", "__class__", "$schema", "",
    "a\x00b", "\ud800", "features", "layers", "mix", "eps", "depth", "relative", "kind",
]  # fmt: skip


class Literal(str):
    """JSON as it is to be sent."""

    __slots__ = ()


_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(_TEXTS),
    st.sampled_from(_LITERALS).map(Literal),
)
#: What may stand in any place.
_values = st.one_of(
    _plain,
    _plain,
    st.sampled_from(_DEEP).map(Literal),
    st.lists(_plain, max_size=4),
    st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=8), _plain, max_size=4),
)


def _places(part: Any, at: Place = ()) -> list[Place]:
    """Every place in a document, the whole first."""
    found = [at]
    if isinstance(part, dict | list):
        for name, value in part.items() if isinstance(part, dict) else enumerate(part):
            found += _places(value, (*at, name))
    return found


@st.composite
def spoilt(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A definition's JSON with one to four places changed, removed, added to or said twice."""
    document: Any = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 4))):
        if not isinstance(document, dict):
            break
        place = draw(st.sampled_from(_places(document)))
        document = _change(draw, document, place)
    text = _written(document)
    if isinstance(document, dict) and draw(st.integers(0, 9)) == 0:
        field = draw(st.sampled_from(sorted(valid)))
        text = f"{text[:-1]}, {json.dumps(field)}: {_written(draw(_values))}}}"
    return text.encode("utf-8", "surrogatepass")


def _change(draw: st.DrawFn, document: Any, place: Place) -> Any:
    if not place:
        if draw(st.integers(0, 19)):  # as a whole rarely: that ends the matter
            document[draw(st.sampled_from(_FIELDS))] = draw(_values)
            return document
        return draw(_values)
    parent = document
    for name in place[:-1]:
        parent = parent[name]
    last, act = place[-1], draw(st.sampled_from(["put", "put", "put", "add", "remove", "near"]))
    if act == "remove":
        del parent[last]
    elif act == "add" and isinstance(parent, dict):
        parent[draw(st.sampled_from(_FIELDS))] = draw(_values)
    elif act == "add":
        parent.append(draw(_values | st.just(copy.deepcopy(parent[last]))))
    elif act == "near" and isinstance(parent[last], int | float):
        parent[last] = draw(st.sampled_from([0, 1, 2, 0.5, -1, 1e-9, 1e9, 2**31 - 1, 2**31, 2**53]))
    else:
        parent[last] = draw(_values)
    return document


def _written(part: Any) -> str:
    """JSON, with literals as they are and lone surrogates as they should not be."""
    if isinstance(part, Literal):
        return str(part)
    if isinstance(part, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_written(v)}" for k, v in part.items()) + "}"
    if isinstance(part, list):
        return "[" + ", ".join(map(_written, part)) + "]"
    return json.dumps(part)
