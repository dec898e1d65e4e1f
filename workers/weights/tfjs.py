"""TensorFlow.js's weights: a manifest of names, shapes and scales beside one run of bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

#: Last part of a TensorFlow name → torch's, and the order of axes that torch wants.
_PLACES: dict[str, tuple[str, tuple[int, ...]]] = {
    "filters": ("weight", (3, 2, 0, 1)),
    "depthwise_filter": ("depthwise", (2, 3, 0, 1)),
    "pointwise_filter": ("pointwise", (3, 2, 0, 1)),
    "weights": ("weight", (1, 0)),
    "bias": ("bias", (0,)),
}


def read_tfjs(file: Path) -> dict[str, Tensor]:
    """Return the tensors of `NAME.bin` beside `NAME-weights_manifest.json`, in torch's order of axes.

    `a/b/filters` becomes `a.b.weight`. Values are bytes q that stand for q · scale + min. Raises
    ValueError, KeyError or OSError for other files.
    """
    groups = json.loads(file.with_name(f"{file.stem}-weights_manifest.json").read_text())
    content = file.read_bytes()
    state: dict[str, Tensor] = {}
    offset = 0
    for entry in (entry for group in groups for entry in group["weights"]):
        scaling, shape = entry["quantization"], entry["shape"]
        if scaling["dtype"] != "uint8":
            raise ValueError(f"{entry['name']} holds {scaling['dtype']}, not bytes")
        bytes_ = np.frombuffer(content, np.uint8, math.prod(shape), offset).reshape(shape)
        values = bytes_.astype(np.float32) * scaling["scale"] + scaling["min"]
        *path, last = entry["name"].split("/")
        name, axes = _PLACES[last]
        tensor = np.ascontiguousarray(values.transpose(axes), np.float32)
        state[".".join([*path, name])] = torch.from_numpy(tensor)
        offset += bytes_.size
    if offset != len(content):
        raise ValueError(f"it has {len(content)} bytes, but its manifest tells of {offset}")
    return state
