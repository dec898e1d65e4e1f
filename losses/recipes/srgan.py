"""SRGAN: the paper, the much copied PyTorch version with total variation, and BasicSR's."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import SRGAN_IMAGE, VGG_IMAGE
from losses.recipes._vgg19 import CONV5_4

#: The paper divides VGG features by 12.75; squared differences shrink by the square, "≈ 0.006".
_RESCALED = 1 / 12.75**2

SRGAN = Recipe(
    name="srgan",
    summary=(
        "SRGAN-VGG54: mean squared VGG19 features after ReLU, features scaled by 1/12.75 (0.006 on "
        "the mean square), plus 0.001 of the adversarial term; no pixel term."
    ),
    source=(
        "Ledig et al., Photo-realistic single image super-resolution using a GAN, CVPR 2017, sec. 2.2 "
        "(eq. 3, 5, 6) and 3.2"
    ),
    terms=(
        RecipeTerm(
            "content",
            _RESCALED,
            {"backbone": "vgg19", "layers": {"relu5_4": 1.0}, "criterion": "l2"},
            original=(
                "l_VGG/5.4: 1/(WH) Σ (φ5,4(HR) - φ5,4(SR))², φ after ReLU and scaled by 1/12.75; read "
                "as a mean over channels too, as implementations do"
            ),
            factor=_RESCALED,
        ),
        RecipeTerm(
            "adversarial",
            1e-3,
            {"kind": "vanilla", **SRGAN_IMAGE},
            original="10⁻³ l_Gen = 10⁻³ Σ -log D(SR), D ends in a sigmoid; read as a mean over the batch",
        ),
    ),
    notes=(
        "HR was in [-1, 1] and LR in [0, 1]; no pixel term, so only the features see it.",
        "The generator started from an SRResNet trained on mean squared error.",
        "arXiv's first version is said to have added total variation, 2e-8; see srgan-tv.",
    ),
)

SRGAN_TV = Recipe(
    name="srgan-tv",
    summary=(
        "The much copied PyTorch SRGAN: mean square 1, VGG16 pool5 by mean square 0.006 without input "
        "normalisation, GAN 0.001, squared total variation 2e-8 (twice ours)."
    ),
    source="leftthomas/SRGAN loss.py and train.py at 7ddfdf2; leftthomas/SRGAN#108 on the factor 2 of TV",
    terms=(
        RecipeTerm(
            "l2", 1.0, original="image_loss = nn.MSELoss()(SR, HR): mean over everything, no 1/2"
        ),
        RecipeTerm(
            "content",
            0.006,
            {
                "backbone": "vgg16",
                "layers": {"pool5": 1.0},
                "criterion": "l2",
                "preprocessing": "none",
            },
            original=(
                "perception_loss = nn.MSELoss() on vgg16.features[:31], the last pooling, of images in "
                "[0, 1] without ImageNet's mean and deviation"
            ),
        ),
        RecipeTerm(
            "adversarial",
            1e-3,
            {"kind": "vanilla", **SRGAN_IMAGE},
            original=(
                "adversarial_loss = mean(1 - D(SR)), D ends in a sigmoid; D's own loss 1 - D(HR) + D(SR)"
            ),
            note=(
                "vanilla stands for mean(1 - sigmoid(logit)): the same logit is raised, but the "
                "original's gradient is D(SR) times ours and vanishes where D is sure that SR is false"
            ),
        ),
        RecipeTerm(
            "tv",
            4e-8,
            {"form": "squared"},
            original="tv_loss = 2 (mean dx² + mean dy²), each mean over its own count; times 2e-8",
            factor=2.0,
        ),
    ),
    notes=(
        "At these weights the total variation is far below everything else; share tells how far.",
    ),
)

MSRGAN = Recipe(
    name="msrgan",
    summary=(
        "BasicSR's SRGAN (MSRGAN): L1 0.01, VGG19 conv5_4 before ReLU by L1, vanilla GAN 0.005; "
        "mmagic has the same."
    ),
    source="BasicSR options/train/SRResNet_SRGAN/train_MSRGAN_x4.yml at 8d56e3a; mmagic configs/srgan_resnet",
    terms=(
        RecipeTerm("l1", 1e-2, original="BasicSR L1Loss(loss_weight=1e-2, reduction='mean')"),
        CONV5_4,
        RecipeTerm(
            "adversarial",
            5e-3,
            {"kind": "vanilla", **VGG_IMAGE},
            original=(
                "BasicSR GANLoss(gan_type='vanilla', loss_weight=5e-3): mean cross-entropy on logits; D's "
                "two halves are summed, without the weight"
            ),
        ),
    ),
    notes=(
        "The generator started from MSRResNet trained on L1.",
        "Results are those of the generator's running average (decay 0.999).",
    ),
)
