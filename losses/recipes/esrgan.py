"""ESRGAN as released in BasicSR, and KAIR's variant whose relativistic mean is per position."""

from __future__ import annotations

from dataclasses import replace

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import VGG_IMAGE
from losses.recipes._vgg19 import CONV5_4

ESRGAN = Recipe(
    name="esrgan",
    summary="ESRGAN: L1 0.01, VGG19 conv5_4 before ReLU by L1, relativistic average GAN 0.005.",
    source=(
        "Wang et al., ESRGAN, ECCV workshops 2018, sec. 3.3 and 4.1; BasicSR "
        "options/train/ESRGAN/train_ESRGAN_x4.yml at 8d56e3a"
    ),
    terms=(
        RecipeTerm("l1", 1e-2, original="BasicSR L1Loss(loss_weight=1e-2, reduction='mean')"),
        CONV5_4,
        RecipeTerm(
            "adversarial",
            5e-3,
            {"kind": "relativistic", "average": "global", **VGG_IMAGE},
            original=(
                "BasicSR ESRGANModel, GANLoss('vanilla', loss_weight=5e-3): half of cross-entropy of "
                "D(HR) - mean D(SR) to 0 and of D(SR) - mean D(HR) to 1; means over everything"
            ),
        ),
    ),
    notes=(
        "The generator started from RRDBNet trained on L1; SROOE takes over these weights.",
        "Results are those of the generator's running average (decay 0.999), or interpolated with the start.",
    ),
)

KAIR_MSRRESNET = Recipe(
    name="kair-msrresnet-gan",
    summary=(
        "KAIR's ESRGAN weights for MSRResNet: L1 0.01, VGG19 conv5_4 by L1, relativistic GAN 0.005 with "
        "its mean over the batch only, per patch position."
    ),
    source="KAIR options/train_msrresnet_gan.json, models/model_gan.py and models/loss.py at fc1732f",
    terms=(
        RecipeTerm("l1", 1e-2, original="KAIR G_lossfn_type l1, G_lossfn_weight 1e-2: nn.L1Loss"),
        replace(
            CONV5_4,
            original="KAIR F_lossfn_type l1, F_lossfn_weight 1, F_feature_layer 34: conv5_4 before ReLU",
        ),
        RecipeTerm(
            "adversarial",
            5e-3,
            {"kind": "relativistic", "average": "position", **VGG_IMAGE},
            original=(
                "KAIR gan_type ragan, D_lossfn_weight 5e-3: as ESRGAN, but torch.mean(·, 0, True): "
                "over the batch, separately at each position of the logits"
            ),
        ),
    ),
    notes=("Results are those of the generator's running average (decay 0.999).",),
)
