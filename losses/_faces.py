"""Heat maps of facial landmarks of SR beside HR, and the windows through which faces are seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses._functional import UnsuitableInput


@dataclass(frozen=True)
class Faces:
    """What a face network says about the faces in a batch of `count` images."""

    sr: Tensor  #: heat maps (K, 68, h, w) of the K faces
    hr: Tensor  #: likewise, without gradient
    sample: Tensor  #: (K,) which image of the batch a face is in
    count: int  #: images in the batch, with and without faces
    found: int | None = None  #: images with a face; None: to be counted from `sample`

    @property
    def seen(self) -> int:
        """How many images have a face; waits for a GPU unless `found` was given."""
        return images_in(self.sample) if self.found is None else self.found


def images_in(sample: Tensor) -> int:
    """Return how many different images the faces of `sample` (K,) are in."""
    return int(torch.bincount(sample).count_nonzero())


class FaceSource(NamedTuple):
    """Which face network heat maps come from; losses with equal sources share one pass of it."""

    network: str = "landmarks68"  #: landmarks68 or fan
    weights: str = ""  #: a state dict's path on the worker; empty: the catalogue's
    sigma: float = 1.0  #: landmarks68: deviation of the rendered Gaussians, in pixels of the map


@dataclass(frozen=True)
class Windows:
    """Where the K faces of a batch are, upright whatever way their images were turned.

    A frame takes (u, v, 1), with u to the face's own right edge and v to its chin, both in [-1, 1]
    over the face's box, to (x, y) in pixels of the image (0 to W and 0 to H at its edges). A face
    network widens a box to the square it was trained on, unless the frames are `exact`.
    """

    frames: Tensor  #: (K, 2, 3)
    sample: Tensor  #: (K,) which image of the batch a face is in
    count: int  #: images in the batch
    found: int  #: of these, images with a face
    longest: float  #: the longest side of any box in pixels, 0 without faces
    exact: bool = False  #: the frames are the windows themselves, not boxes around faces

    @classmethod
    def of_frames(
        cls, frames: Tensor, sample: Tensor, count: int, *, exact: bool = False
    ) -> Windows:
        """Return windows of (K, 2, 3) frames; best from the CPU, as their sizes are read."""
        sides = 2 * frames[:, :, :2].norm(dim=1)
        longest = float(sides.max()) if len(frames) else 0.0
        return cls(frames, sample, count, images_in(sample), longest, exact)

    @classmethod
    def of_boxes(cls, boxes: Tensor, sample: Tensor, count: int) -> Windows:
        """Return windows of upright faces in boxes (K, 4): left, top, right, bottom in pixels."""
        low, high = boxes[:, :2], boxes[:, 2:]
        half, centre = (high - low) / 2, (high + low) / 2
        frames = torch.cat([torch.diag_embed(half), centre[:, :, None]], dim=2)
        return cls.of_frames(frames, sample, count)

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Windows:
        """Return the windows of aligned face crops: each whole image is one, as it is."""
        box = torch.tensor([[0.0, 0.0, width, height]]).expand(count, 4)
        boxes = cls.of_boxes(box, torch.arange(count), count)
        return cls.of_frames(boxes.frames, boxes.sample, count, exact=True)


class Framing(NamedTuple):
    """The square a face network looks at, from a face's box."""

    reach: float = 1.0  #: side of the square, in sides of the box
    lift: float = 0.0  #: how far its centre is above the box's, in heights of the box
    by: str = "longer"  #: which side of the box counts: the longer one, or the mean of both

    def square(self, frames: Tensor) -> Tensor:
        """Return the frames (K, 2, 3) of squares around boxes."""
        right, down, centre = frames.unbind(dim=2)
        sides = torch.stack([right.norm(dim=1), down.norm(dim=1)], dim=1)
        half = self.reach * (sides.amax(dim=1) if self.by == "longer" else sides.mean(dim=1))
        along_x, along_y = (half / sides.T).unbind()
        centre = centre - 2 * self.lift * down
        return torch.stack([right * along_x[:, None], down * along_y[:, None], centre], dim=2)


class FaceNetwork(nn.Module):
    """A frozen network that tells where 68 facial landmarks are; a subclass brings `maps`.

    Landmarks in the order of iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35 (30 its tip), eyes
    36-47, mouth 48-67.
    """

    side: int  #: height and width of the crops it takes
    framing: Framing

    def maps(self, crops: Tensor) -> Tensor:
        """Return heat maps (K, 68, h, w) of RGB crops (K, 3, side, side) in [0, 1]."""
        raise NotImplementedError

    def compare(self, sr: Tensor, hr: Tensor, windows: Windows) -> Faces:
        """Return the heat maps of both batches, (N, 3, H, W) in [0, 1]; HR's without gradient."""
        if len(hr) != windows.count:
            raise UnsuitableInput(
                f"Windows are of {windows.count} images, but HR has {len(hr)}; make them of one batch."
            )
        with torch.no_grad():
            target = self._seen(hr, windows)
        sample = windows.sample.to(sr.device)
        return Faces(self._seen(sr, windows), target, sample, windows.count, windows.found)

    def cut(self, images: Tensor, windows: Windows) -> Tensor:
        """Return the faces (K, 3, side, side), upright, black where a window leaves its image.

        One `grid_sample`, bilinear; faces larger than `side` are sampled more finely and averaged,
        so that every pixel under them gets its part of the gradient.
        """
        frames = windows.frames.to(images)
        reach = 1.0
        if not windows.exact:
            frames, reach = self.framing.square(frames), self.framing.reach
        finer = max(1, math.ceil(reach * windows.longest / self.side))
        size = torch.tensor([[images.shape[3]], [images.shape[2]]]).to(images)
        theta = 2 * frames / size
        theta = torch.cat([theta[..., :2], theta[..., 2:] - 1], dim=2)
        fine = self.side * finer
        # In half precision the grid would be pixels off.
        with torch.autocast(images.device.type, enabled=False):
            grid = F.affine_grid(theta, [len(theta), 3, fine, fine], align_corners=False)
            seen = images[windows.sample.to(images.device)]
            crops = F.grid_sample(seen, grid, align_corners=False)
        return F.avg_pool2d(crops, finer) if finer > 1 else crops

    def _seen(self, images: Tensor, windows: Windows) -> Tensor:
        images = images.to(next(self.buffers()).dtype)
        if len(windows.sample) == 0:
            # No face, but SR still belongs to the graph: its gradient is zero, not missing.
            return images[:0].flatten()[:, None, None, None].expand(0, 68, 1, 1)
        return self.maps(self.cut(images, windows))
