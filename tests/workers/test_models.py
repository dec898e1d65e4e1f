"""Every registered architecture keeps the promises of `build`; sizes are the published ones."""

from __future__ import annotations

import pytest
import torch

from service.contract.vocabulary import ModelInfo
from workers import models
from workers.data import enlarge

SMALL = {name: {"width": 8, "depth": 2} for name in ("edsr", "msrresnet", "compact")}
EVERY = pytest.mark.parametrize("spec", models.SPECS.values(), ids=lambda spec: spec.name)


def _build(spec: ModelInfo, scale: int, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build(spec.name, scale=scale, **SMALL.get(spec.name, {}))


def _count(name: str, scale: int = 4, **parameters: int) -> int:
    model = models.build(name, scale=scale, **parameters)
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_catalogue_is_complete() -> None:
    assert set(models.SPECS) == {"espcn", "fsrcnn", "srcnn", "edsr", "msrresnet", "compact"}


@EVERY
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (7, 13), (1, 5)])
def test_output_is_scale_times_the_input(
    spec: ModelInfo, scale: int, size: tuple[int, int]
) -> None:
    with torch.no_grad():
        sr = _build(spec, scale)(torch.rand(2, 3, *size))
    assert sr.shape == (2, 3, size[0] * scale, size[1] * scale)


@EVERY
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_gradient_reaches_every_parameter(spec: ModelInfo, scale: int) -> None:
    model = _build(spec, scale)
    (
        model(torch.rand(2, 3, 9, 11)) - torch.rand(2, 3, 9 * scale, 11 * scale)
    ).abs().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@EVERY
def test_training_lowers_the_error(spec: ModelInfo) -> None:
    model = _build(spec, 2)
    lr, hr = torch.rand(2, 3, 8, 8), torch.full((2, 3, 16, 16), 0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(12):
        optimizer.zero_grad()
        error = (model(lr) - hr).square().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.9 * errors[0]


@EVERY
def test_same_seed_gives_the_same_weights(spec: ModelInfo) -> None:
    one, same, other = (_build(spec, 2, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@EVERY
def test_images_of_a_batch_do_not_see_each_other(spec: ModelInfo) -> None:
    model, lr = _build(spec, 2).double(), torch.rand(3, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(lr)[1], model(lr[1:2])[0], atol=1e-10)


@EVERY
def test_summary_and_every_parameter_are_described(spec: ModelInfo) -> None:
    assert len(spec.summary) > 40
    assert spec.parameters
    for parameter in spec.parameters:
        assert parameter.description
        assert parameter.low is not None
        assert parameter.high is not None
        assert parameter.low <= parameter.default <= parameter.high


@EVERY
def test_ends_of_every_range_build(spec: ModelInfo) -> None:
    least = {parameter.name: parameter.low for parameter in spec.parameters}
    whole = {p.name: p.type == "int" for p in spec.parameters}
    arguments = {k: int(v) if whole[k] else v for k, v in least.items() if v is not None}
    with torch.no_grad():
        sr = models.build(spec.name, scale=2, **arguments)(torch.rand(1, 3, 8, 8))
    assert torch.isfinite(sr).all()


def test_sizes_are_the_published_ones_at_x4() -> None:
    # Counted by layers from the papers and their authors' code.
    assert _count("espcn") == 37_200
    assert _count("fsrcnn") == 24_683
    assert _count("srcnn") == 20_099
    assert _count("compact", width=24, depth=8) == 52_968
    assert _count("compact") == 621_424
    assert _count("edsr") == 1_517_571
    assert _count("edsr", width=32, depth=8) == 232_963
    assert _count("msrresnet") == 1_517_571


def test_compact_starts_from_the_nearest_image() -> None:
    model = models.build("compact", scale=2, width=8, depth=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    lr = torch.rand(1, 3, 4, 4)
    assert torch.equal(model(lr), lr.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_srcnn_starts_from_the_bicubic_image() -> None:
    model, lr = models.build("srcnn", scale=3), torch.rand(1, 3, 6, 7)
    seen: list[torch.Tensor] = []
    model.get_submodule("layers").register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    model(lr)
    assert torch.equal(seen[0], enlarge(lr, 3))


@pytest.mark.parametrize(
    ("name", "scale", "parameters", "sentence"),
    [
        ("esrcn", 2, {}, "did you mean `srcnn`"),
        ("zzz", 2, {}, "Known: compact, edsr"),
        ("edsr", 5, {}, "use one of 2, 3, 4"),
    ],
)
def test_unknown_model_is_one_sentence(
    name: str, scale: int, parameters: dict[str, object], sentence: str
) -> None:
    with pytest.raises(models.UnknownModel, match=sentence):
        models.build(name, scale=scale, **parameters)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"widht": 8}, "did you mean `width`"),
        ({"width": 7}, "choose between 8 and 512"),
        ({"width": 8.0}, "type int"),
        ({"width": True}, "type int"),
        ({"residual_scale": "big"}, "type float"),
        ({"residual_scale": float("nan")}, "choose between"),
    ],
)
def test_wrong_parameter_is_one_sentence(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(models.InvalidModelParameter, match=sentence):
        models.build("edsr", scale=2, **parameters)
