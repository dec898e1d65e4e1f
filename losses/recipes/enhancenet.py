"""EnhanceNet: texture by Gram matrices of patches, with perceptual and adversarial terms."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm

ENHANCENET = Recipe(
    name="enhancenet",
    summary=(
        "EnhanceNet-PAT: VGG19 pool2 0.2 and pool5 0.02 by mean square, Gram matrices of 16×16 feature "
        "patches, GAN 2; features divided by their mean."
    ),
    source=(
        "Sajjadi, Schölkopf, Hirsch, EnhanceNet, ICCV 2017, table 2 of its supplement, as tensorpack "
        "examples/SuperResolution/enet-pat.py at 1547a54 has it"
    ),
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
            original=(
                "tensorpack: 2e-1 and 2e-2 × tf.losses.mean_squared_error of pool2, pool5, each sample's "
                "features divided by their mean"
            ),
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
            original=(
                "tensorpack: 3e-7, 1e-6, 1e-6 × mean_squared_error of unnormalised Gram matrices of "
                "non-overlapping 16×16 patches of the features (after ReLU, divided by their mean)"
            ),
        ),
        RecipeTerm(
            "adversarial",
            2.0,
            {
                "kind": "vanilla",
                "discriminator": "image",
                "channels": 32,
                "depth": 5,
                "norm": "none",
                "spectral_norm": False,
            },
            original=(
                "tensorpack: 2 × mean sigmoid cross-entropy of D(SR) to 1; D's loss is 2 × half the sum "
                "of its halves, which is our sum"
            ),
        ),
    ),
    notes=(
        "Published for Caffe's VGG19 on images in 0..255 minus the mean; here the catalogue's VGG19 "
        "with its own normalisation. Dividing features by their mean takes out the scale, not the rest.",
        "There is no pixel term. Without texture (ENet-PA) the adversarial weight is 1.",
        "tensorpack trains the discriminator every third step; its last layers are twice as wide as ours.",
        "HR patches are 128 px, so that conv3_1's features are 32 px and hold four patches.",
    ),
)
