"""Losses on features of a frozen network: ours and other people's in the same convention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import peers
from benchmarks.loss_scene import Pair, Scene
from losses.lpips import LAYERS

#: VGG19's layers of the texture term.
RELUS = ("relu1_2", "relu2_2", "relu3_4", "relu4_4")
_STAGES = LAYERS["vgg16"]
_WIDTHS = (64, 128, 256, 512, 512)


def basicsr(scene: Scene) -> Iterator[Pair]:
    (pixel,) = peers.load("basicsr", "basicsr.losses.basic_loss")
    build = pixel.PerceptualLoss
    sr, hr, device, of = scene.sr, scene.hr, scene.sr.device, (scene.sr,)
    esrgan = build({"conv5_4": 1.0}).to(device)
    yield Pair(
        "content esrgan", scene.ours("content", preset="esrgan"), lambda: esrgan(sr, hr)[0], of
    )
    five = build(
        {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
    ).to(device)
    yield Pair(
        "content real-esrgan",
        scene.ours("content", preset="real-esrgan"),
        lambda: five(sr, hr)[0],
        of,
    )
    style = build(dict.fromkeys(RELUS, 1.0), perceptual_weight=0, style_weight=1.0).to(device)
    yield Pair(
        "texture",
        scene.ours("texture", backbone="vgg19", layers=RELUS),
        lambda: style(sr, hr)[1],
        of,
    )


def piq(scene: Scene) -> Iterator[Pair]:
    (deep,) = peers.load("piq", "piq.perceptual")
    sr, hr, device, of = scene.sr, scene.hr, scene.sr.device, (scene.sr,)
    content = deep.ContentLoss("vgg16", layers=("relu3_3",)).to(device)
    same = scene.ours(
        "content", backbone="vgg16", layers=["relu3_3"], criterion="l2", reduction="channel_sum"
    )
    yield Pair("content relu3_3", same, lambda: content(sr, hr), of)
    style = deep.StyleLoss("vgg16", layers=("relu3_3",)).to(device)
    same = scene.ours(
        "texture", backbone="vgg16", layers=["relu3_3"], normalization="none", criterion="l2"
    )
    yield Pair("texture relu3_3", same, lambda: style(sr, hr), of)
    yield from _learned(scene, deep)


def _learned(scene: Scene, theirs: Any) -> Iterator[Pair]:
    sr, hr, device, of = scene.sr, scene.hr, scene.sr.device, (scene.sr,)
    draw = torch.Generator().manual_seed(3)
    heads = {
        x: torch.rand(w, generator=draw).to(device) for x, w in zip(_STAGES, _WIDTHS, strict=True)
    }
    with peers.downloads_give([head.view(1, -1, 1, 1) for head in heads.values()]):
        lpips = theirs.LPIPS().to(device)
    same = scene.ours("lpips", heads="lpips_vgg16", given_heads=heads)
    yield Pair("lpips", same, lambda: lpips(sr, hr), of)
    sizes = (3, *_WIDTHS)
    both = torch.rand(2, sum(sizes), generator=draw).to(device)
    both = both / both.sum()
    alpha, beta = (x.view(1, -1, 1, 1) for x in both)
    with peers.downloads_give({"alpha": alpha, "beta": beta}):
        dists = theirs.DISTS().to(device)
    heads = {
        f"{kind}.{stage}": head
        for kind, row in zip(("alpha", "beta"), both, strict=True)
        for stage, head in zip(("image", *_STAGES), row.split(sizes), strict=True)
    }
    same = scene.ours("dists", heads="dists_vgg16", given_heads=heads)
    yield Pair("dists", same, lambda: dists(sr, hr), of)


def mmagic(scene: Scene) -> Iterator[Pair]:
    (deep,) = peers.load("mmagic", "mmagic.models.losses.perceptual_loss")
    content = deep.PerceptualLoss({"34": 1.0}, style_weight=0, norm_img=False).to(scene.sr.device)
    yield Pair(
        "content esrgan",
        scene.ours("content", preset="esrgan"),
        lambda: content(scene.sr, scene.hr)[0],
        (scene.sr,),
    )


def lpips(scene: Scene) -> Iterator[Pair]:
    (theirs,) = peers.load("lpips", "lpips")
    whole = theirs.LPIPS(net="vgg", verbose=False).to(scene.sr.device)
    heads = {
        stage: lin.model[-1].weight.detach().flatten()
        for stage, lin in zip(_STAGES, whole.lins, strict=True)
    }
    same = scene.ours("lpips", heads="lpips_vgg16", given_heads=heads)
    yield Pair("lpips", same, lambda: whole(scene.sr, scene.hr, normalize=True).mean(), (scene.sr,))
