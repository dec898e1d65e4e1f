"""Discriminators have the shapes of their papers and depend on nothing but what they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses import UnsuitableInput
from losses._discriminators import ClassDiscriminators, FeatureDiscriminator
from losses._discriminators.features import published_shape
from losses.adversarial import Adversarial

Pair = Callable[..., tuple[Tensor, Tensor]]
FORMS = ["patch", "image", "unet", "features"]


def build(form: Any = "patch", seed: int = 1, **parameters: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loss = Adversarial(discriminator=form, **({"channels": 8} | parameters))
        return loss.build_discriminator()


def shown(form: str, n: int = 3, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    channels = 128 if form == "features" else 3  # relu2_2 of VGG16
    return torch.rand(n, channels, size, size, generator=generator)


@pytest.mark.parametrize("form", FORMS)
def test_logits_of_an_image_do_not_depend_on_its_batch(form: str) -> None:
    images, discriminator = shown(form), build(form).eval()
    torch.testing.assert_close(discriminator(images)[1:2], discriminator(images[1:2]))


@pytest.mark.parametrize("form", FORMS)
def test_batch_normalisation_couples_a_batch_and_leaves_nothing_behind(form: str) -> None:
    images, discriminator = shown(form), build(form, norm="batch", spectral_norm=False)
    assert not list(discriminator.buffers())
    training = discriminator(images)
    torch.testing.assert_close(discriminator.eval()(images), training)
    assert (discriminator(images)[1:2] - discriminator(images[1:])[:1]).abs().max() > 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_the_seed_alone_decides_the_weights(form: str) -> None:
    one, same, other = (build(form, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("form", "inner"), [("patch", 3), ("image", 5), ("unet", 8), ("features", 3)]
)
def test_spectral_norm_bounds_the_inner_layers_and_can_be_left_out(form: str, inner: int) -> None:
    bounded = [
        module
        for module in build(form).modules()
        if isinstance(module, nn.Conv2d) and hasattr(module, "parametrizations")
    ]
    assert len(bounded) == inner
    for layer in bounded:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2) < 1.2
    assert not list(build(form, spectral_norm=False).buffers())


@pytest.mark.parametrize("depth", [1, 3])
def test_patches_get_a_logit_each_pixels_too_and_images_one(depth: int) -> None:
    images = torch.rand(2, 3, 32, 48)
    assert build("patch", depth=depth)(images).shape == (2, 1, 32 // 2**depth, 48 // 2**depth)
    assert build("unet", depth=depth)(images).shape == (2, 1, 32, 48)
    assert build("image", depth=depth)(images).shape == (2, 1)
    assert build("features", depth=depth)(torch.rand(2, 128, 16, 24)).shape == (2, 1)


def test_a_unet_doubles_back_to_sizes_that_halve_unevenly() -> None:
    assert build("unet")(torch.rand(1, 3, 17, 23)).shape == (1, 1, 17, 23)


def test_a_pixels_verdict_knows_its_surroundings_at_every_size() -> None:
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    logits = build("unet", depth=3).eval()(images)
    (gradient,) = torch.autograd.grad(logits[0, 0, 32, 32], images)
    reached = (gradient.abs().sum(dim=1)[0] > 0).nonzero()
    assert (reached.amax(dim=0) - reached.amin(dim=0) > 24).all()


def test_the_image_level_one_can_be_the_one_of_srgan() -> None:
    discriminator = build("image", channels=64, depth=4, norm="batch", spectral_norm=False, crop=96)
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    widths_and_strides = [(c.out_channels, c.stride[0]) for c in convolutions]
    assert widths_and_strides == [(w, s) for w in (64, 128, 256, 512) for s in (1, 2)]
    dense = [m for m in discriminator.modules() if isinstance(m, nn.Linear)]
    assert [(d.in_features, d.out_features) for d in dense] == [(512 * 6 * 6, 1024), (1024, 1)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()) == 7


def test_a_crop_read_whole_sees_where_things_are_and_takes_no_other_size() -> None:
    anywhere, somewhere = (build("image", seed=3, depth=1, crop=c).eval() for c in (0, 32))
    image = torch.zeros(1, 3, 32, 32)
    image[..., 8:12, 8:12] = 1
    moved = image.roll((8, 8), dims=(-2, -1))
    assert (anywhere(image) - anywhere(moved)).abs() < 1e-6
    assert (somewhere(image) - somewhere(moved)).abs() > 1e-5
    with pytest.raises(UnsuitableInput, match=r"crops of 32 px .* not \(40, 32\)"):
        somewhere(torch.rand(1, 3, 40, 32))


@pytest.mark.parametrize("form", ["patch", "image", "unet"])
def test_an_image_smaller_than_the_halvings_is_refused_with_a_remedy(form: str) -> None:
    with pytest.raises(
        UnsuitableInput, match=r"3 halvings needs images of at least 8 px.*lower depth"
    ):
        build(form)(torch.rand(1, 3, 4, 16))


def test_one_value_per_channel_cannot_be_normalised() -> None:
    with pytest.raises(UnsuitableInput, match="Batch normalisation needs more than one value"):
        build("patch", norm="batch")(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("backbone", "layer", "shape"),
    [
        ("vgg16", "relu2_2", (128, 1)),
        ("vgg19", "conv5_4", (512, 4)),
        ("vgg19", "pool5", (512, 5)),
        ("resnet18", "bn1", (64, 1)),
        ("resnet18", "layer3_1_pre", (256, 3 + 1)),
        ("resnet50", "layer1", (256, 2)),
        ("resnet50", "layer4", (2048, 5)),
        ("squeezenet1_1", "relu1", (64, 1)),
        ("squeezenet1_1", "fire3", (128, 2)),
        ("squeezenet1_1", "pool5", (256, 4)),
        ("squeezenet1_1", "fire9_pre", (512, 4)),
        ("squeezenet1_1", "conv10", (1000, 4)),
    ],
)
def test_the_published_backbones_widths_and_halvings_are_known(
    backbone: str, layer: str, shape: tuple[int, int]
) -> None:
    assert published_shape(backbone, layer) == shape


@pytest.mark.parametrize("backbone", ["vgg16", "vgg19", "resnet18", "resnet50", "squeezenet1_1"])
def test_halvings_before_each_layer_are_what_the_backbone_does(
    backbone: Any, narrow: Callable[[Any], Any]
) -> None:
    network = narrow(backbone)
    # Halvings round up or down as the layer has it; 96 px leave no doubt.
    for layer, found in network.extract(torch.rand(1, 3, 96, 96), network.layers).items():
        assert round(96 / found.shape[-1]).bit_length() - 1 == published_shape(backbone, layer)[1]


def test_channels_a_narrow_backbone_lacks_count_as_zero_and_too_many_are_refused() -> None:
    discriminator = FeatureDiscriminator("vgg16", "relu2_2", 4, 3, spectral_norm=False)
    narrow = torch.rand(1, 100, 8, 8)
    filled = torch.cat([narrow, torch.zeros(1, 28, 8, 8)], dim=1)
    assert torch.equal(discriminator(narrow), discriminator(filled))
    with pytest.raises(UnsuitableInput, match=r"Features have 129 channels, but .* has 128"):
        discriminator(torch.rand(1, 129, 8, 8))


def test_verdicts_of_classes_come_back_in_the_order_of_the_batch() -> None:
    class Number(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = next(numbers)

        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(1, 2, 3), keepdim=True) + self.number

    numbers = iter([0, 10, 20])
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    labels = torch.tensor([2, 0, 2, 1, 0])
    judged = ClassDiscriminators(Number, 3)(images, labels)
    assert judged.flatten().tolist() == [20.0, 1.0, 22.0, 13.0, 4.0]
