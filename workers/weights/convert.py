"""Foreign weight files under the key names `losses` reads; none of them may run code while it is read."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from workers.weights.catalogue import Format, WeightsUnavailable
from workers.weights.heads import heads_by_layer
from workers.weights.st_lpips import read_st_lpips
from workers.weights.tfjs import read_tfjs

#: Convolutions per block of VGG16, and torchvision's index of each block's first one.
_VGG16 = ((2, 0), (2, 5), (3, 10), (3, 17), (3, 24))

#: torchvision's index of each fire module of SqueezeNet 1.1.
_FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}


def convert(file: Path, form: Format) -> dict[str, Tensor]:
    """Return the float32 tensors of `file` under the names `losses` reads, or raise `WeightsUnavailable`."""
    try:
        return _READERS[form](file)
    except (KeyError, OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsUnavailable(
            f"{file.name} is not a {form} file ({error}); the pinned file may have been replaced."
        ) from error


def _keras_vgg16(file: Path) -> dict[str, Tensor]:
    """Read the thirteen convolutions of a Keras 3 file; its edge-detection heads are left out."""
    state: dict[str, Tensor] = {}
    with h5py.File(file, "r") as weights:
        for block, (convolutions, first) in enumerate(_VGG16, start=1):
            for index in range(convolutions):
                layer = "conv2d" if index == 0 else f"conv2d_{index}"
                group = weights[f"block{block}/layers/{layer}/vars"]
                key = f"features.{first + 2 * index}"
                state |= _convolution(key, np.asarray(group["0"]), np.asarray(group["1"]))
    return state


def _pickled_squeezenet(file: Path) -> dict[str, Tensor]:
    weights = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="latin1").load()
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, index in _FIRES.items():
        names[f"fire{fire}/squeeze1x1"] = f"features.{index}.squeeze"
        names[f"fire{fire}/expand1x1"] = f"features.{index}.expand1x1"
        names[f"fire{fire}/expand3x3"] = f"features.{index}.expand3x3"
    state: dict[str, Tensor] = {}
    for name, key in names.items():
        kernel, bias = weights[name]
        state |= _convolution(key, np.asarray(kernel), np.asarray(bias))
    return state


def _torch_state(file: Path) -> dict[str, Tensor]:
    """Read a published state dict; VGG's fully connected 500 MB, and all classifiers, are left out."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    kept = {key: value.float().contiguous() for key, value in state.items() if _is_trunk(key)}
    if not kept:
        raise ValueError("it has no tensors of convolutions")
    return kept


def _is_trunk(key: str) -> bool:
    # SqueezeNet's classifier is a convolution, classifier.1, and one of its layers.
    classifies = key.startswith(("classifier.", "fc.")) and key.split(".")[1] != "1"
    return not classifies and not key.endswith("num_batches_tracked")


def _channel_weights(file: Path) -> dict[str, Tensor]:
    """Read the heads of LPIPS or DISTS."""
    return heads_by_layer(torch.load(file, map_location="cpu", weights_only=True))


def _convolution(
    key: str, kernel: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]
) -> dict[str, Tensor]:
    """Return weight and bias of a (height, width, inputs, outputs) kernel in torch's order."""
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), dtype=np.float32))
    return {
        f"{key}.weight": weight,
        f"{key}.bias": torch.from_numpy(np.ascontiguousarray(bias.ravel(), dtype=np.float32)),
    }


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can make numpy arrays and containers, and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module_name, global_name) == ("numpy", "dtype"):
            return np.dtype
        if (module_name, global_name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        ):
            # numpy's own way to rebuild an array; taken from an array, as the module is private.
            return np.zeros(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


_READERS: dict[Format, Callable[[Path], dict[str, Tensor]]] = {
    "keras_vgg16": _keras_vgg16,
    "pickled_squeezenet": _pickled_squeezenet,
    "torch_state": _torch_state,
    "channel_weights": _channel_weights,
    "st_lpips": read_st_lpips,
    "tfjs": read_tfjs,
}
