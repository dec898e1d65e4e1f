"""Reads a study's definition from YAML or JSON, as people write it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from service.contract.errors import InvalidStudy

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers, and no key twice.

    PyYAML speaks YAML 1.1, where `1e-3` is a text, `010` is eight, `1:30` is ninety and
    `2026-01-01` is a date; no author of a study means any of these.
    """


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in ("float", "int", "timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 16) if text.startswith("0x") else int(text)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != _MERGE and isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"`{key.value}` is there twice; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> dict[str, Any]:
    """The document in a file as plain data, unchecked; InvalidStudy if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidStudy(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise InvalidStudy(f"{path} is not UTF-8 text (byte {error.start})") from error
    document = parse(text, name=str(path))
    if not isinstance(document, dict):
        raise InvalidStudy(f"{path} holds no mapping of fields; `srtune study init` writes one")
    return document


def parse(text: str, *, name: str) -> Any:
    """YAML, of which JSON is a part, as plain data that JSON can carry."""
    try:
        document = yaml.load(text, Loader=_Loader)  # nosec B506  # a SafeLoader
        json.dumps(document, allow_nan=False)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidStudy(f"{name}{where}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InvalidStudy(f"{name}: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidStudy(
            f"{name} holds what JSON cannot say: {error}; write plain numbers, texts and lists"
        ) from error
    return document
