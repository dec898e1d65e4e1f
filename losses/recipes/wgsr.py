"""WGSR: fidelity in wavelet bands, a discriminator on the high ones."""

from __future__ import annotations

from losses._spec import Recipe, RecipeTerm
from losses.recipes._discriminators import VGG_IMAGE

WGSR = Recipe(
    name="wgsr",
    summary=(
        "WGSR, one level: L1 of the stationary wavelet bands of luma (LL 0.1, LH 0.01, HL 0.01, HH "
        "0.05), DISTS 1, relativistic average GAN 0.005 that judges the high bands."
    ),
    source=(
        "Korkmaz, Tekalp, Doğan, Training generative image super-resolution models by wavelet-domain "
        "losses, CVPR 2024; WGSR codes/options/train/train_WGSR.json and codes/models/SRRaGAN_model.py at 0596d92"
    ),
    terms=(
        RecipeTerm(
            "wavelet",
            1.0,
            {
                "family": "sym7",
                "bands": {"LL": 0.1, "LH": 0.01, "HL": 0.01, "HH": 0.05},
                "transform": "stationary",
                "lowpass": "unit_sum",
                "channels": "y_studio",
                "criterion": "l1",
            },
            original=(
                "WGSR pixel_weight .1, _lh .01, _hl .01, _hh .05 × nn.L1Loss of the bands of "
                "SWTForward(1, sym7, periodic), low-pass taps divided by their sum, of Y in 16..235"
            ),
        ),
        RecipeTerm(
            "dists",
            1.0,
            {"heads": "dists"},
            original=(
                "WGSR feature_weight 1 × piq.DISTS()(HR, SR), in place of the VGG term its JSON names "
                "(feature_criterion l1)"
            ),
        ),
        RecipeTerm(
            "adversarial",
            5e-3,
            {"kind": "relativistic", "average": "global", "detach_means": False, **VGG_IMAGE},
            original=(
                "WGSR gan_type vanilla, gan_weight 5e-3, relativistic as in ESRGAN, on the three high "
                "bands (LH, HL, HH) of Y; D's means are not detached"
            ),
            note="the discriminator here sees RGB, in WGSR the high wavelet bands of luma",
        ),
    ),
    notes=(
        "The released JSON says in_nc 6 for the discriminator, which belongs to two levels; one level has 3.",
        "The generator started from RRDBNet trained on L1.",
    ),
)
