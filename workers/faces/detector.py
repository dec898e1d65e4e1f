"""Faces in a photograph, by face-api's tiny detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers import weights

#: Mean of R, G, B in 0..255 that the network was trained with.
_MEAN = (117.001, 114.697, 97.404)

#: Width and height of the boxes that a cell starts from, in cells.
_ANCHORS = (
    (1.603231, 2.094468),
    (6.041143, 7.080126),
    (2.882459, 3.518061),
    (4.266906, 5.178857),
    (9.041765, 10.66308),
)

#: Side of a cell in pixels of the network's input.
_CELL = 32

#: The longer side of a photo as the network was trained to see it.
_COARSEST = 416


class Boxes(NamedTuple):
    """The faces of one photograph, the surest first."""

    boxes: Tensor  #: (K, 4): left, top, right, bottom in pixels, 0 to W and 0 to H at the edges
    scores: Tensor  #: (K,) in [0, 1]


class FaceDetector(nn.Module):
    """A fully convolutional detector whose boxes hold all 68 landmarks of a face; frozen.

    A photo is looked at with its longer side 416 pixels long, the network's own size, and at twice,
    four times, .. that (up to `finest`, and to one and a half times the photo), since it sees faces
    from about 50 pixels on: at 1664, a thirtieth of the longer side. Redmon, Farhadi, "YOLO9000", CVPR 2017, with separable
    convolutions; V. Mühler, "face-api.js", 2018.
    """

    mean: Tensor
    anchors: Tensor

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        for key, tensor in state.items():
            self.register_buffer(key.replace(".", "_"), tensor)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("anchors", torch.tensor(_ANCHORS).view(5, 2, 1, 1))
        self.eval()

    @torch.no_grad()
    def detect(
        self, photo: Tensor, *, least: float = 0.6, smallest: float = 32.0, finest: int = 1664
    ) -> Boxes:
        """Return the faces of a uint8 RGB photo (3, H, W), clipped to it.

        `least` is the score below which a box is no face, `smallest` the least height in pixels of
        one, `finest` the longest side at which the photo is looked at.
        """
        longer = max(photo.shape[1:])
        sides = [_COARSEST]
        while sides[-1] * 2 <= min(finest, 1.5 * longer):
            sides.append(sides[-1] * 2)
        found = [self._at(photo, side / longer) for side in sides]
        boxes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        height, width = photo.shape[1:]
        edges = torch.tensor([width, height, width, height]).to(boxes)
        boxes = torch.minimum(boxes.clamp_min(0), edges)
        wanted = (scores >= least) & (boxes[:, 3] - boxes[:, 1] >= smallest)
        return distinct(boxes[wanted], scores[wanted])

    def _at(self, photo: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Return all boxes (M, 4) in pixels of the photo, and scores (M,), seen at one scale."""
        seen = self._resized(photo, scale)
        out = self._cells(F.pad(seen, [0, -seen.shape[3] % _CELL, 0, -seen.shape[2] % _CELL]))
        out = out.view(5, 5, *out.shape[2:])
        rows, columns = (torch.arange(n).to(out) for n in out.shape[2:])
        centre = out[:, :2].sigmoid()
        centre = torch.stack([centre[:, 0] + columns, centre[:, 1] + rows[:, None]], dim=1)
        half = out[:, 2:4].exp() * self.anchors / 2
        corners = torch.cat([centre - half, centre + half], dim=1) * (_CELL / scale)
        return corners.movedim(1, -1).reshape(-1, 4), out[:, 4].sigmoid().flatten()

    def _resized(self, photo: Tensor, scale: float) -> Tensor:
        images = photo[None].to(self.mean)
        size = [max(1, round(length * scale)) for length in photo.shape[1:]]
        return F.interpolate(images, size, mode="bilinear", antialias=scale < 1)

    def _cells(self, x: Tensor) -> Tensor:
        """Return (1, 25, rows, columns): for each of five anchors x, y, width, height, score."""
        x = (x - self.mean) / 255
        x = _leaky(F.conv2d(x, self._of("conv0_weight"), self._of("conv0_bias")))
        for index in range(1, 6):
            # The last pooling keeps the size: TensorFlow's "same" pads the end with nothing.
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            x = self._separable(x, f"conv{index}")
        x = F.max_pool2d(F.pad(x, [0, 1, 0, 1], value=-torch.inf), 2, 1)
        return F.conv2d(x, self._of("conv8_weight"), self._of("conv8_bias"))

    def _separable(self, x: Tensor, name: str) -> Tensor:
        x = F.conv2d(x, self._of(f"{name}_depthwise"), padding=1, groups=x.shape[1])
        return _leaky(F.conv2d(x, self._of(f"{name}_pointwise"), self._of(f"{name}_bias")))

    def _of(self, name: str) -> Tensor:
        return self.get_buffer(name)


def detector() -> FaceDetector:
    """Return the detector with its published weights; raises `WeightsUnavailable`."""
    return FaceDetector(weights.load("face_detector"))


def distinct(boxes: Tensor, scores: Tensor, *, most: float = 0.4) -> Boxes:
    """Return the boxes, the surest first, without those that share over `most` with a surer one.

    What two boxes share is the area of their intersection in that of their union.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, scores = boxes[order], scores[order]
    shared = _shared(boxes)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not kept or float(shared[index, kept].max()) <= most:
            kept.append(index)
    return Boxes(boxes[kept], scores[kept])


def _shared(boxes: Tensor) -> Tensor:
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = (high - low).clamp_min(0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return both / (area[:, None] + area - both)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)
