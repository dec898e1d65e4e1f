"""LDL: ESRGAN or Real-ESRGAN with a penalty on what looks like an artefact."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET, VGG_IMAGE
from losses.recipes._vgg19 import FIVE

_L1 = RecipeTerm("l1", 1e-2, original="BasicSR L1Loss(loss_weight=1e-2, reduction='mean')")
_LDL = RecipeTerm(
    "ldl",
    1.0,
    {"criterion": "l1", "gradient": "through_map", "window": 7},
    original=(
        "LDL artifacts_opt L1Loss(loss_weight=1): mean |w·SR - w·HR|, w = get_refined_artifact_map(HR, SR, "
        "SR of the running average, 7); the gradient flows through w too"
    ),
)

LDL = Recipe(
    name="ldl",
    summary=(
        "LDL on ESRGAN (bicubic degradation): L1 0.01, artefact map 1, five VGG19 layers by L1 1, "
        "relativistic average GAN 0.005."
    ),
    source="Liang et al., LDL, CVPR 2022; LDL options/train/LDL/train_Synthetic_LDL.yml at 2d22ddd",
    terms=(
        _L1,
        _LDL,
        FIVE,
        RecipeTerm(
            "adversarial",
            5e-3,
            {"kind": "relativistic", "average": "global", **VGG_IMAGE},
            original=(
                "LDL ESRGANArtifactsDisModel, GANLoss('vanilla', loss_weight=5e-3), relativistic as in "
                "BasicSR's ESRGANModel; VGGStyleDiscriminator128"
            ),
        ),
    ),
    notes=(
        "Needs the generator's running average (decay 0.999) during training, not only for results.",
        "The generator started from ESRGAN's L1 model.",
    ),
)

LDL_REAL = Recipe(
    name="ldl-real",
    summary=(
        "LDL on Real-ESRGAN: L1 0.01, artefact map 1, five VGG19 layers by L1 1, vanilla GAN 0.1 with a "
        "U-Net discriminator; L1 and features against USM-sharpened HR."
    ),
    source=(
        "Liang et al., LDL, CVPR 2022; LDL options/train/LDL/train_Realworld_LDL.yml at 2d22ddd, the same "
        "in BasicSR options/train/LDL/train_LDL_Real_x4.yml at 8d56e3a"
    ),
    terms=(
        _L1,
        _LDL,
        FIVE,
        RecipeTerm(
            "adversarial",
            0.1,
            {"kind": "vanilla", **UNET},
            original=(
                "BasicSR GANLoss(gan_type='vanilla', loss_weight=1e-1) on UNetDiscriminatorSN(num_feat=64): "
                "mean cross-entropy over all pixels' logits; D's halves summed"
            ),
        ),
    ),
    notes=(
        "L1 and features compare with USM-sharpened HR; the artefact map and the discriminator see HR "
        "as it is.",
        "Needs the generator's running average (decay 0.999) during training, not only for results.",
        "LR comes from Real-ESRGAN's degradation; the generator started from Real-ESRNet.",
    ),
)
