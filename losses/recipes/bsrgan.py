"""BSRGAN, whose paper and whose released configuration disagree."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET
from losses.recipes._vgg19 import KAIR_FIVE

BSRGAN = Recipe(
    name="bsrgan",
    summary=(
        "BSRGAN as its paper has it: L1 1, VGG19 conv4_4 by L1 1 (against colour shift), PatchGAN with "
        "spectral normalisation by least squares 0.1."
    ),
    source=(
        "Zhang et al., Designing a practical degradation model, ICCV 2021, end of sec. 5; KAIR#136 "
        "sets it beside the configuration"
    ),
    terms=(
        RecipeTerm("l1", 1.0, original="L1 loss, weight 1; KAIR's nn.L1Loss, a mean"),
        RecipeTerm(
            "content",
            1.0,
            {"backbone": "vgg19", "layers": {"conv4_4": 1.0}, "criterion": "l1"},
            original=(
                "VGG loss of weight 1 “on the fourth convolution before the fourth rather than the fifth "
                "maxpooling layer”; in KAIR's terms F_feature_layer 25, l1, before ReLU"
            ),
        ),
        RecipeTerm(
            "adversarial",
            0.1,
            {"kind": "lsgan", "discriminator": "patch", "channels": 64, "spectral_norm": True},
            original=(
                "“spectral norm-based least square PatchGAN loss” of weight 0.1; KAIR's lsgan is nn.MSELoss "
                "to 1, without 1/2"
            ),
        ),
    ),
    notes=(
        "KAIR's PatchGAN normalises every layer and has a receptive field of 70 px; ours leaves the "
        "first and the last layer free.",
        "LR comes from BSRGAN's shuffled degradation; the generator started from BSRNet.",
    ),
)

BSRGAN_RELEASED = Recipe(
    name="bsrgan-released",
    summary=(
        "BSRGAN as its configuration was released: L1 1, five VGG19 layers by L1 1, least squares GAN 1 "
        "with a U-Net discriminator; ten times the paper's adversarial weight."
    ),
    source="KAIR options/train_bsrgan_x4_gan.json at fc1732f; KAIR#136 (open)",
    terms=(
        RecipeTerm("l1", 1.0, original="KAIR G_lossfn_type l1, G_lossfn_weight 1: nn.L1Loss"),
        KAIR_FIVE,
        RecipeTerm(
            "adversarial",
            1.0,
            {"kind": "lsgan", **UNET},
            original=(
                "KAIR gan_type lsgan, D_lossfn_weight 1, discriminator_unet: nn.MSELoss of all pixels' "
                "logits to 1, without 1/2; D's halves summed"
            ),
        ),
    ),
    notes=(
        "HR is not sharpened (use_sharp false); LR comes from BSRGAN's shuffled degradation.",
        "The generator started from BSRNet; results are those of its running average (0.999).",
    ),
)
