"""SAFMN's stages for real photographs: L1 with a Fourier term, then a GAN with LDL."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET
from losses.recipes._vgg19 import FIVE

SAFMN_FFT = Recipe(
    name="safmn-fft",
    summary=(
        "SAFMN, first stage: L1 1 and 0.05 of L1 between unnormalised Fourier transforms, real and "
        "imaginary parts apart; no GAN."
    ),
    source="SAFMN options/train/SAFMN/train_real_SAFMN_round1_x2.yml and basicsr/losses/losses.py at 68c2182",
    terms=(
        RecipeTerm("l1", 1.0, original="BasicSR L1Loss(loss_weight=1, reduction='mean')"),
        RecipeTerm(
            "fft",
            0.05,
            {"norm": "backward", "criterion": "l1"},
            original=(
                "SAFMN FFTLoss(loss_weight=0.05, reduction='mean'): nn.L1Loss of rfft2 without "
                "normalisation, real and imaginary parts stacked"
            ),
        ),
    ),
    notes=(
        "An unnormalised transform grows with the patch: the same 0.05 means more on larger patches.",
        "The authors elsewhere give 0.1 for the Fourier term (SAFMN#34).",
    ),
)

SAFMN_REAL = Recipe(
    name="safmn-real",
    summary=(
        "SAFMN, last stage: L1 1, artefact map of LDL 1, five VGG19 layers by L1 1, vanilla GAN 0.05 "
        "with a U-Net discriminator."
    ),
    source="SAFMN options/train/SAFMN/train_real_SAFMN_GAN_round4_x2.yml at 68c2182",
    terms=(
        RecipeTerm("l1", 1.0, original="BasicSR L1Loss(loss_weight=1, reduction='mean')"),
        RecipeTerm(
            "ldl",
            1.0,
            {"criterion": "l1", "gradient": "through_map", "window": 7},
            original=(
                "artifacts_opt L1Loss(loss_weight=1) of w·SR and w·HR, w = get_refined_artifact_map(..., 7) "
                "copied from LDL; the gradient flows through w too"
            ),
        ),
        FIVE,
        RecipeTerm(
            "adversarial",
            5e-2,
            {"kind": "vanilla", **UNET},
            original=(
                "BasicSR GANLoss(gan_type='vanilla', loss_weight=5e-2) on UNetDiscriminatorSN(num_feat=64): "
                "mean cross-entropy over all pixels' logits; D's halves summed"
            ),
        ),
    ),
    notes=(
        "L1, features and, in this stage, the discriminator too see USM-sharpened HR; the artefact map "
        "sees HR as it is.",
        "Second and third stage have GAN 0.1, the second no artefact map; each starts where the last ended.",
        "The authors elsewhere give 0.5 for the artefact map (SAFMN#34).",
        "Needs the generator's running average (decay 0.999) during training.",
    ),
)
