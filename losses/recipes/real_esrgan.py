"""Real-ESRGAN: five VGG19 layers and a U-Net discriminator, for unknown degradations."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import UNET
from losses.recipes._vgg19 import FIVE

REAL_ESRGAN = Recipe(
    name="real-esrgan",
    summary=(
        "Real-ESRGAN: L1 1, five VGG19 layers before ReLU by L1, vanilla GAN 0.1 with a U-Net "
        "discriminator under spectral normalisation; published against USM-sharpened HR."
    ),
    source=(
        "Wang et al., Real-ESRGAN, ICCV workshops 2021, sec. 4.1; Real-ESRGAN "
        "options/train_realesrgan_x4plus.yml at a4abfb2"
    ),
    terms=(
        RecipeTerm("l1", 1.0, original="BasicSR L1Loss(loss_weight=1, reduction='mean')"),
        FIVE,
        RecipeTerm(
            "adversarial",
            0.1,
            {"kind": "vanilla", **UNET},
            original=(
                "BasicSR GANLoss(gan_type='vanilla', loss_weight=1e-1) on UNetDiscriminatorSN(num_feat=64, "
                "skip_connection=True): mean cross-entropy over all pixels' logits; D's halves summed"
            ),
        ),
    ),
    notes=(
        "L1 and features compare with USM-sharpened HR, the discriminator sees HR as it is "
        "(l1_gt_usm, percep_gt_usm; gan_gt_usm False).",
        "LR comes from a second-order degradation (blur, noise, JPEG) made on the fly.",
        "The generator started from Real-ESRNet; results are those of its running average (0.999).",
    ),
)
