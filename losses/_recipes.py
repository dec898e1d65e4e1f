"""Published loss weights, each with the conventions they were published for.

The same name differs by orders of magnitude between papers because the terms' conventions differ:
a weight without its parameters means nothing.
"""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm

#: Weights of the five VGG19 layers, before ReLU, that Real-ESRGAN introduced.
_FIVE_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}

_SRGAN = Recipe(
    name="srgan",
    summary=(
        "SRGAN-VGG54: mean squared VGG19 features after ReLU, features scaled by 1/12.75 (0.006 on the "
        "mean square), plus 0.001 of the adversarial term; no pixel term."
    ),
    source="Ledig et al., Photo-realistic single image super-resolution using a GAN, CVPR 2017, sec. 2.2",
    terms=(
        RecipeTerm(
            "content", 0.006, {"backbone": "vgg19", "layers": {"relu5_4": 1.0}, "criterion": "l2"}
        ),
        RecipeTerm("adversarial", 1e-3, {"kind": "vanilla"}),
    ),
)

_ESRGAN = Recipe(
    name="esrgan",
    summary="ESRGAN: L1 0.01, VGG19 conv5_4 before ReLU by L1, relativistic average GAN 0.005.",
    source="Wang et al., ESRGAN, ECCV workshops 2018; BasicSR options/train/ESRGAN/train_ESRGAN_x4.yml",
    terms=(
        RecipeTerm("l1", 1e-2),
        RecipeTerm(
            "content", 1.0, {"backbone": "vgg19", "layers": {"conv5_4": 1.0}, "criterion": "l1"}
        ),
        RecipeTerm("adversarial", 5e-3, {"kind": "relativistic"}),
    ),
)

_REAL_ESRGAN = Recipe(
    name="real-esrgan",
    summary=(
        "Real-ESRGAN: L1 1 against USM-sharpened HR, five VGG19 layers before ReLU by L1, vanilla GAN "
        "0.1; published with a U-Net discriminator with spectral normalisation."
    ),
    source="Wang et al., Real-ESRGAN, ICCV workshops 2021; its options/train_realesrgan_x4plus.yml",
    terms=(
        RecipeTerm("l1", 1.0),
        RecipeTerm("content", 1.0, {"backbone": "vgg19", "layers": _FIVE_LAYERS}),
        RecipeTerm("adversarial", 0.1, {"kind": "vanilla", "spectral_norm": True}),
    ),
)

_BSRGAN = Recipe(
    name="bsrgan",
    summary=(
        "BSRGAN as its paper has it: L1 1, VGG19 conv4_4 by L1 1 (against colour shift), PatchGAN by "
        "least squares 0.1; the released configuration differs (five layers, GAN 1, U-Net)."
    ),
    source="Zhang et al., Designing a practical degradation model, ICCV 2021; cf. KAIR train_bsrgan_x4_gan.json",
    terms=(
        RecipeTerm("l1", 1.0),
        RecipeTerm("content", 1.0, {"backbone": "vgg19", "layers": {"conv4_4": 1.0}}),
        RecipeTerm("adversarial", 0.1, {"kind": "lsgan"}),
    ),
)

_ENHANCENET = Recipe(
    name="enhancenet",
    summary=(
        "EnhanceNet-PAT: VGG19 pool2 and pool5 by mean square, Gram matrices of 16×16 feature patches, "
        "GAN 2; features divided by their mean. Published for Caffe's VGG19 on images in 0..255."
    ),
    source="Sajjadi et al., EnhanceNet, ICCV 2017, table 2 of its supplement; tensorpack enet-pat.py",
    terms=(
        RecipeTerm(
            "content",
            1.0,
            {
                "backbone": "vgg19",
                "layers": {"pool2": 0.2, "pool5": 0.02},
                "criterion": "l2",
                "scaling": "unit_mean",
            },
        ),
        RecipeTerm(
            "texture",
            1.0,
            {
                "backbone": "vgg19",
                "layers": {"relu1_1": 3e-7, "relu2_1": 1e-6, "relu3_1": 1e-6},
                "criterion": "l2",
                "normalization": "none",
                "patch": 16,
                "scaling": "unit_mean",
            },
        ),
        RecipeTerm("adversarial", 2.0, {"kind": "vanilla"}),
    ),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (_SRGAN, _ESRGAN, _REAL_ESRGAN, _BSRGAN, _ENHANCENET)
}
