"""Distance of the facial landmarks of SR from those of HR."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from losses._faces import Faces, FaceSource
from losses._functional import UnsuitableInput, full_precision, image_pair
from losses._registry import register
from losses._spec import InvalidParameter, Range


@register("landmark_prior", family="prior", side="perception", share=(0.0, 0.5), cost="high")
class LandmarkPrior(nn.Module):
    """Squared distance of the heat maps M of 68 facial landmarks that a frozen network sees in SR and in HR.

    reduction sum: (1/68) Σ_n Σ_ij (M_SR - M_HR)² per face, n over landmarks, ij over the map
    (Super-FAN); mean: the mean over landmarks and map (DIC's MSE), 1/(hw) of it. Then the mean over
    the faces of an image, and over all images of the batch: one without a face contributes 0 and is
    counted (`seen` images so far, of which `without_face`). No landmarks need to be labelled.

    `network` landmarks68 (64×64 maps, rendered with `sigma`) or fan (its own 64×64 maps; `weights` is
    the path of a state dict). `faces` detect: where a detector found them wholly inside the crop of
    HR; whole: every image is an aligned face. Images (N, 3, H, W) in [0, 1]; 0 for equal images. Of
    little use below about 30 pixels a face, and where SR starts from ×8: landmarks more than 4σ off
    have no gradient. Bulat, Tzimiropoulos, "Super-FAN", CVPR 2018; Ma et al., "Deep face
    super-resolution with iterative collaboration" (DIC), CVPR 2020.
    """

    needs = ("faces",)

    def __init__(
        self,
        network: Annotated[
            Literal["landmarks68", "fan"], "which network sees them"
        ] = "landmarks68",
        weights: Annotated[str, "path of a state dict on the worker; empty: the catalogue's"] = "",
        faces: Annotated[
            Literal["detect", "whole"], "find faces in the photos, or every image is one"
        ] = "detect",
        reduction: Annotated[
            Literal["sum", "mean"], "sum over the map (Super-FAN) or its mean (DIC)"
        ] = "sum",
        sigma: Annotated[
            float, Range(0.5, 8.0), "landmarks68: deviation of the Gaussians, in map pixels"
        ] = 1.0,
    ) -> None:
        super().__init__()
        if network == "fan" and not weights:
            raise InvalidParameter(
                "landmark_prior.weights is empty, but no published package holds FAN's; give the path of its "
                "state dict, or set landmark_prior.network to landmarks68."
            )
        self.face_source = FaceSource(network, weights, sigma)
        self.faces = faces
        self.reduction = reduction
        self.seen = 0  #: images so far
        self.without_face = 0  #: of these, images in which no face was

    def forward(self, sr: Tensor, hr: Tensor, *, faces: Faces) -> Tensor:
        sr, hr = image_pair(sr, hr)
        if faces.count != len(sr):
            raise UnsuitableInput(
                f"Faces are of {faces.count} images, but SR has {len(sr)}; make them of this batch."
            )
        self.seen += faces.count
        self.without_face += faces.count - faces.seen
        return self.distance(full_precision(faces.sr), full_precision(faces.hr), faces)

    def distance(self, sr: Tensor, hr: Tensor, faces: Faces) -> Tensor:
        """Return the scalar of heat maps (K, 68, h, w), which are `faces`' in full precision."""
        errors = (sr - hr).square()
        each = (
            errors.mean(dim=(1, 2, 3))
            if self.reduction == "mean"
            else errors.sum(dim=(2, 3)).mean(dim=1)
        )
        # Several faces in one image share its vote.
        sharing = torch.zeros(faces.count, device=sr.device, dtype=sr.dtype)
        sharing = sharing.index_add(0, faces.sample, torch.ones_like(each))
        return (each / sharing[faces.sample]).sum() / faces.count
