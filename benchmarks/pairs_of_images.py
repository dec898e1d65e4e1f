"""Losses on the images themselves: ours and other people's in the same convention."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

import losses
from benchmarks import peers
from benchmarks.loss_scene import Pair, Scene


def basicsr(scene: Scene) -> Iterator[Pair]:
    pixel, maps = peers.load("basicsr", "basicsr.losses.basic_loss", "basicsr.losses.loss_util")
    sr, hr, weight, of = scene.sr, scene.hr, scene.weight, (scene.sr,)
    l1, l2 = pixel.L1Loss(), pixel.MSELoss()
    yield Pair("l1", scene.ours("l1"), lambda: l1(sr, hr), of)
    ours = losses.build("l1")
    yield Pair(
        "l1, weight map", lambda: ours(sr, hr, weight=weight), lambda: l1(sr, hr, weight), of
    )
    yield Pair("l2", scene.ours("l2"), lambda: l2(sr, hr), of)
    charbonnier = pixel.CharbonnierLoss(eps=1e-6)
    yield Pair("charbonnier", scene.ours("charbonnier"), lambda: charbonnier(sr, hr), of)
    tv = pixel.WeightedTVLoss()
    yield Pair("tv anisotropic", scene.ours("tv", form="anisotropic"), lambda: tv(sr), of)

    def ldl() -> Tensor:
        map_ = maps.get_refined_artifact_map(hr, sr, scene.averaged, 7)
        value: Tensor = l1(map_ * sr, map_ * hr)
        return value

    yield Pair("ldl", scene.ours("ldl"), ldl, of)


def piq(scene: Scene) -> Iterator[Pair]:
    structure, scales, variation = peers.load("piq", "piq.ssim", "piq.ms_ssim", "piq.tv")
    sr, hr, device, of = scene.sr, scene.hr, scene.sr.device, (scene.sr,)
    forms = {"l1": "anisotropic", "l2": "norm", "l2_squared": "squared"}
    for norm, form in forms.items():
        tv = variation.TVLoss(norm_type=norm)
        yield Pair(
            f"tv {form}", scene.ours("tv", form=form, reduction="image_sum"), partial(tv, sr), of
        )
    ssim = structure.SSIMLoss(downsample=False)
    yield Pair("ssim", scene.ours("ssim"), lambda: ssim(sr, hr), of)
    weights = losses.build("ms_ssim", scales=scene.scales).scale_weights
    ms_ssim = scales.MultiScaleSSIMLoss(scale_weights=torch.tensor(weights, device=device))
    same = scene.ours("ms_ssim", scales=scene.scales, convention="piq")
    yield Pair("ms_ssim", same, lambda: ms_ssim(sr, hr), of)


def kornia(scene: Scene) -> Iterator[Pair]:
    theirs, filters = peers.load("kornia", "kornia.losses", "kornia.filters")
    sr, hr, of = scene.sr, scene.hr, (scene.sr,)
    same = scene.ours("charbonnier", form="shifted", eps=1.0)
    yield Pair(
        "charbonnier shifted", same, lambda: theirs.charbonnier_loss(sr, hr, reduction="mean"), of
    )
    same = scene.ours("tv", form="anisotropic", reduction="plane_sum")
    yield Pair("tv anisotropic", same, lambda: theirs.total_variation(sr).mean(), of)
    ssim = theirs.SSIMLoss(11)
    same = scene.ours("ssim", padding="reflect", halved=True)
    yield Pair("ssim reflect", same, lambda: ssim(sr, hr), of)
    mixed = theirs.MS_SSIMLoss().to(sr.device)
    yield Pair("ms_ssim_l1", scene.ours("ms_ssim_l1", factor=200.0), lambda: mixed(sr, hr), of)
    same = scene.ours("edge", channels="rgb", scale=0.125, padding="replicate")
    yield Pair(
        "edge, kornia's filter",
        same,
        lambda: F.l1_loss(filters.spatial_gradient(sr), filters.spatial_gradient(hr)),
        of,
    )


def pytorch_msssim(scene: Scene) -> Iterator[Pair]:
    (theirs,) = peers.load("pytorch-msssim", "pytorch_msssim")
    sr, hr, of = scene.sr, scene.hr, (scene.sr,)
    ssim = theirs.SSIM(data_range=1.0).to(sr.device)
    yield Pair("ssim", scene.ours("ssim"), lambda: 1 - ssim(sr, hr), of)
    # It refuses anything below 161 px, whatever its scales: the same pixels in fewer images.
    large = scene if min(sr.shape[-2:]) > 160 else Scene.on(sr.device, 1, 192)
    ms_ssim = theirs.MS_SSIM(data_range=1.0).to(sr.device)
    shape = "×".join(map(str, large.sr.shape))
    name = "ms_ssim" if large is scene else f"ms_ssim, {shape}"
    yield Pair(name, large.ours("ms_ssim"), lambda: 1 - ms_ssim(large.sr, large.hr), (large.sr,))


def mmagic(scene: Scene) -> Iterator[Pair]:
    (edge,) = peers.load("mmagic", "mmagic.models.losses.gradient_loss")
    grey = scene.sr.detach()[:, :1].clone().requires_grad_()
    target = scene.hr[:, :1].contiguous()
    ours = losses.build("edge", channels="rgb", scale=1.0, directions="sum")
    theirs = edge.GradientLoss()
    yield Pair("edge, grey", lambda: ours(grey, target), lambda: theirs(grey, target), (grey,))


def focal_frequency(scene: Scene) -> Iterator[Pair]:
    (theirs,) = peers.load("focal-frequency-loss", "focal_frequency_loss")
    for patches in (1, 4):
        loss = theirs.FocalFrequencyLoss(patch_factor=patches)
        yield Pair(
            "focal_frequency" if patches == 1 else "focal_frequency, 4×4 patches",
            scene.ours("focal_frequency", patch_factor=patches),
            partial(loss, scene.sr, scene.hr),
            (scene.sr,),
        )
