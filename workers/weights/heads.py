"""Learned weights of feature channels (LPIPS, DISTS) under the names of the layers they belong to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_VGG16 = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

#: The layers LPIPS reads, by how many there are and how wide the second is.
_LPIPS: dict[tuple[int, int], tuple[str, ...]] = {
    (5, 128): _VGG16,
    (7, 128): ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
}

#: The layers DISTS reads and how many channels each has; the first is the image itself.
_DISTS = dict(zip(("image", *_VGG16), (3, 64, 128, 256, 512, 512), strict=True))


def heads_by_layer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return heads (C,) by layer, `relu1_2`, or for DISTS by `alpha.relu1_2` and `beta.relu1_2`.

    Takes the published files' own names (`lin0.model.1.weight`, .. or alpha and beta of all channels
    in a row); a file that has other names is returned as it is, flattened.
    """
    if set(state) == {"alpha", "beta"}:
        return _dists(state)
    if all(key.startswith("lin") for key in state):
        return _lpips(state)
    return {key: _flat(tensor) for key, tensor in state.items()}


def _lpips(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    rows = [_flat(state[f"lin{index}.model.1.weight"]) for index in range(len(state))]
    layout = (len(rows), len(rows[1]) if len(rows) > 1 else 0)
    if layout not in _LPIPS:
        raise ValueError(f"heads of {len(rows)} layers are of none of vgg16 and squeezenet1_1")
    return dict(zip(_LPIPS[layout], rows, strict=True))


def _dists(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        # Copies, since safetensors keeps no views.
        parts = torch.split_with_sizes(_flat(tensor), list(_DISTS.values()))
        found |= {
            f"{name}.{layer}": part.clone() for layer, part in zip(_DISTS, parts, strict=True)
        }
    return found


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32).flatten()
