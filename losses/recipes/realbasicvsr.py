"""RealBasicVSR: the image-wise losses of a video model."""

from __future__ import annotations

from dataclasses import replace

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET
from losses.recipes._vgg19 import FIVE

REALBASICVSR = Recipe(
    name="realbasicvsr",
    summary=(
        "RealBasicVSR: L1 1, five VGG19 layers by L1 1, vanilla GAN 0.05 with a U-Net discriminator; its "
        "cleaning loss on the LR frames belongs to the model and is left out."
    ),
    source=(
        "Chan et al., Investigating tradeoffs in real-world video super-resolution, CVPR 2022; mmagic "
        "configs/real_basicvsr/realbasicvsr_c64b20-1x30x8_8xb1-lr5e-5-150k_reds.py at 0a560bb"
    ),
    terms=(
        RecipeTerm("l1", 1.0, original="mmagic L1Loss(loss_weight=1.0, reduction='mean')"),
        replace(
            FIVE,
            original=(
                "mmagic PerceptualLoss(layer_weights={'2': .1, '7': .1, '16': 1, '25': 1, '34': 1}, "
                "vgg19, criterion='l1', norm_img=False): indices of torchvision's vgg19.features"
            ),
        ),
        RecipeTerm(
            "adversarial",
            5e-2,
            {"kind": "vanilla", **UNET},
            original=(
                "mmagic GANLoss(gan_type='vanilla', loss_weight=5e-2) on UNetDiscriminatorWithSpectralNorm"
                "(mid_channels=64, skip_connection=True), frame by frame"
            ),
        ),
    ),
    notes=(
        "Not translated: cleaning_loss, L1 of weight 1 between the frames its cleaning module hands on "
        "and the sharpened HR averaged down ×4.",
        "L1 and features compare with sharpened HR, the discriminator sees HR as it is.",
        "Frames of a sequence are taken as a batch of images.",
        "The generator started from its own version without a GAN; results are its running average's.",
    ),
)
