"""How well contrast is seen: the weights of wavelet bands at three heights' distance from 1080 rows.

Watson, Yang, Solomon, Villasenor, "Visibility of wavelet quantization noise", 1997, formula 11 and
tables IV (luma) and V.
"""

from __future__ import annotations

import math
import struct

_AMPLITUDES = ((0.67234, 0.72709), (0.41317, 0.49428), (0.22727, 0.28688), (0.11792, 0.15214))
_A, _K, _F0 = 0.495, 0.466, 0.401
_DIRECTIONS = (1.0, 0.534)  #: g of horizontal and vertical, and of diagonal detail


def weights(scale: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the weights of horizontal, vertical and diagonal detail: as they are, and as whole numbers.

    Whole numbers are times 2²¹, 2²¹ and 2²³ at scale 0, where libvmaf writes them down, and times
    2³² at the others.
    """
    upright, diagonal = (1 / _step(scale, k) for k in range(2))
    factors = tuple(_float32(factor) for factor in (upright, upright, diagonal))
    if scale == 0:
        return factors, (36453, 36453, 49417)
    return factors, tuple(int(factor * 2**32) for factor in factors)


def _step(scale: int, direction: int) -> float:
    """The least visible step Q, rounded to float32 wherever libvmaf holds a float."""
    per_degree = _float32(3.0 * 1080 * math.pi / 180.0)
    frequency = 2.0 ** (scale + 1) * _float32(_F0) * _float32(_DIRECTIONS[direction])
    octaves = _float32(math.log10(frequency / per_degree))
    power = _float32(_float32(_float32(_K) * octaves) * octaves)
    amplitude = _float32(_AMPLITUDES[scale][direction])
    return _float32(2.0 * _float32(_A) * 10.0**power / amplitude)


def _float32(value: float) -> float:
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest
