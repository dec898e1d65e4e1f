"""SwinIR for real photographs, trained with KAIR."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET
from losses.recipes._vgg19 import KAIR_FIVE

SWINIR_GAN = Recipe(
    name="swinir-gan",
    summary=(
        "SwinIR real-world ×4 GAN: L1 1, five VGG19 layers by L1 1, vanilla GAN 0.1 with a U-Net "
        "discriminator; published against sharpened HR."
    ),
    source=(
        "Liang et al., SwinIR, ICCV workshops 2021; KAIR options/swinir/"
        "train_swinir_sr_realworld_x4_gan.json at fc1732f; KAIR#79"
    ),
    terms=(
        RecipeTerm("l1", 1.0, original="KAIR G_lossfn_type l1, G_lossfn_weight 1: nn.L1Loss"),
        KAIR_FIVE,
        RecipeTerm(
            "adversarial",
            0.1,
            {"kind": "vanilla", **UNET},
            original=(
                "KAIR gan_type gan, D_lossfn_weight 0.1, discriminator_unet: nn.BCEWithLogitsLoss of all "
                "pixels' logits; D's halves summed"
            ),
        ),
    ),
    notes=(
        "HR is sharpened before it is degraded and compared (use_sharp true).",
        "The authors report similar results for least squares with weight 1 (KAIR#79).",
        "Results are those of the generator's running average (decay 0.999).",
    ),
)
