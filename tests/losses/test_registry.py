"""The register answers with what a loss is and with sentences a user can act on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import losses
from losses._features import UnknownLayer
from losses._registry import register


def test_parameters_are_read_off_the_constructor() -> None:
    known = {p.name: p for p in losses.SPECS["charbonnier"].parameters}
    eps, form = known["eps"], known["form"]
    assert (eps.name, eps.type, eps.default, eps.low, eps.high) == ("eps", "float", 1e-3, 1e-12, 1)
    assert (form.type, form.choices[:2], form.required) == ("str", ("squared", "added"), False)
    layers = {p.name: p for p in losses.SPECS["content"].parameters}["layers"]
    assert layers.type == "mapping"


def test_needs_are_read_off_forward() -> None:
    needs = {name: spec.needs for name, spec in losses.SPECS.items()}
    assert needs["l1"] == ()
    assert needs["texture"] == ("features",)
    assert needs["adversarial"] == ("discriminator",)
    assert losses.SPECS["adversarial"].may_need == ("features", "labels", "step")


def test_a_built_loss_says_what_its_settings_need() -> None:
    plain = losses.build("adversarial")
    assert losses.needs_of(plain) == ("discriminator",)
    classes = losses.build("adversarial", classes=2, gradient_penalty=10.0)
    assert set(losses.needs_of(classes)) == {"discriminator", "labels", "step"}
    assert losses.needs_of(losses.build("l1")) == ()


def test_a_loss_without_constructor_has_no_parameters() -> None:
    class Plain(nn.Module):
        """A loss for this test."""

        def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
            return (sr - hr).abs().mean()

    try:
        register("plain", family="pixel", side="distortion", share=(0, 1), cost="low")(Plain)
        assert losses.SPECS["plain"].parameters == ()
    finally:
        losses.SPECS.pop("plain", None)


def test_a_name_can_be_registered_once() -> None:
    with pytest.raises(ValueError, match="l1 is registered twice"):
        register("l1", family="pixel", side="distortion", share=(0, 1), cost="low")(
            losses.SPECS["tv"].module
        )


@settings(deadline=None)  # suggestions for long names take time on a busy machine
@given(st.text().filter(lambda name: name not in losses.SPECS))
def test_any_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        losses.UnknownLoss, match="adversarial, charbonnier, content, cycle, dists, edge, fft"
    ):
        losses.build(name)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(losses.UnknownLoss, match="Did you mean charbonnier"):
        losses.build("charbonier")


@pytest.mark.parametrize(
    ("loss", "parameters", "sentence"),
    [
        ("l1", {"eps": 1}, "l1 has no parameter 'eps'; it has reduction"),
        (
            "tv",
            {"epz": 1e-3},
            "tv has no parameter 'epz'; it has form, eps, reduction, factor. Did you mean eps",
        ),
        ("tv", {"eps": 0}, "tv.eps is 0, but must be at least 1e-12 and at most 1"),
        ("tv", {"eps": "small"}, "tv.eps is 'small', but must be a finite number"),
        ("tv", {"eps": float("nan")}, "tv.eps is nan, but must be a finite number"),
        ("tv", {"eps": True}, "tv.eps is True, but must be a finite number"),
        ("adversarial", {"depth": 2.5}, "depth is 2.5, but must be a whole number"),
        ("adversarial", {"spectral_norm": 1}, "spectral_norm is 1, but must be true or false"),
        ("adversarial", {"kind": "hinje"}, "one of vanilla, .*Did you mean hinge"),
        ("content", {"layers": "conv5_4"}, "must be a mapping of names to numbers, or a list"),
        ("content", {"layers": {"relu2_2": "1"}}, "must be a mapping of names to numbers"),
        ("content", {"layers": {"relu2_2": -1}}, "content.layers.relu2_2 is -1"),
        ("content", {"layers": {"relu2_2": 0}}, "has only zeros"),
        ("texture", {"layers": ["relu5_4"]}, "texture.layers: vgg16 has no layer 'relu5_4'"),
        ("texture", {"patch": -1}, "texture.patch is -1, but must be at least 0"),
    ],
)
def test_a_wrong_parameter_is_answered_with_field_value_and_remedy(
    loss: str, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(losses.InvalidParameter, match=sentence):
        losses.build(loss, **parameters)


def test_an_unknown_layer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownLayer, match=r"squeezenet1_1 has no layer 'fire1'; it has conv1, relu1"
    ):
        losses.build("content", backbone="squeezenet1_1", layers=["fire1"])


@pytest.mark.parametrize(("backbone", "layer"), [("vgg19", "relu2_2"), ("squeezenet1_1", "fire3")])
def test_no_layer_means_one_that_the_backbone_has(backbone: str, layer: str) -> None:
    loss = losses.build("content", backbone=backbone)
    assert loss.layers == (layer,)
    assert loss.backbone == backbone


def test_layers_of_weight_zero_are_not_extracted() -> None:
    loss = losses.build("content", layers={"relu1_2": 0, "relu2_2": 0.5})
    assert loss.layers == ("relu2_2",)


def test_importing_the_losses_needs_torch_and_nothing_else_of_ours() -> None:
    heavy = "h5py, safetensors, pydantic, httpx2, optuna, mlflow, PIL, service, workers"
    program = (
        "import sys, losses; losses.build('content');"
        f"print(sorted(set('{heavy}'.split(', ')) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
