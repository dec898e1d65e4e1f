"""A user's own weights: a state dict in a .pth or .safetensors file, read without running code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workers.weights.catalogue import WeightsUnavailable

#: What trainers call the state dict inside a checkpoint, the averaged one first.
_WRAPPINGS = ("params_ema", "params", "state_dict", "model")


def read_state(path: str) -> dict[str, Tensor]:
    """Return the tensors of the state dict at `path`, on the CPU; raises `WeightsUnavailable`.

    One level of wrapping as trainers add (`params_ema`, `params`, `state_dict`, `model`) is taken
    off, and so is `module.` before all keys.
    """
    file = Path(path).expanduser()
    if file.exists() and not file.is_file():
        # A pipe would never end, and a device never either.
        raise WeightsUnavailable(f"Weights {path} are no file; name a .pth or .safetensors file.")
    try:
        found: Any = load_file(file) if file.suffix == ".safetensors" else _unpickled(file)
    except OSError as error:
        raise WeightsUnavailable(
            f"Weights {path} cannot be read: {error.strerror or error}; name a .pth or .safetensors "
            "file on the worker."
        ) from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsUnavailable(
            f"Weights {path} are no plain state dict ({_first_line(error)}); save "
            "`network.state_dict()`, without optimiser, classes or scripts."
        ) from error
    return _tensors(found, path)


def _unpickled(file: Path) -> Any:
    with warnings.catch_warnings():
        # Of a TorchScript archive torch warns first, and then refuses it.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True)


def _tensors(found: Any, path: str) -> dict[str, Tensor]:
    wrapped = [key for key in _WRAPPINGS if isinstance(found, Mapping) and key in found]
    state = found[wrapped[0]] if wrapped else found
    kept = (
        {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not kept:
        raise WeightsUnavailable(
            f"Weights {path} hold no tensors by name; save `network.state_dict()`."
        )
    prefix = "module." if all(key.startswith("module.") for key in kept) else ""
    return {key.removeprefix(prefix): value for key, value in kept.items()}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
