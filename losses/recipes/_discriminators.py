"""The discriminators recipes were published with, as parameters of `adversarial`."""

from __future__ import annotations

from typing import Any

#: SRGAN's, for crops of 96 px. Ours reads the mean over all places, so that any patch will do;
#: `crop: 96` restores the published dense layer.
SRGAN_IMAGE: dict[str, Any] = {
    "discriminator": "image",
    "channels": 64,
    "depth": 4,
    "norm": "batch",
    "spectral_norm": False,
}

#: ESRGAN's, for crops of 128 px: one halving more.
VGG_IMAGE: dict[str, Any] = SRGAN_IMAGE | {"depth": 5}

#: Real-ESRGAN's U-Net with spectral normalisation, 64 channels wide; one logit per pixel.
UNET: dict[str, Any] = {"discriminator": "unet", "channels": 64, "spectral_norm": True}
