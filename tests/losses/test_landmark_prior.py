"""The landmark prior: Super-FAN's value, upright windows, and networks that are the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import losses
from losses import InvalidParameter, UnsuitableInput
from losses._faces import FaceNetwork, Faces, Framing, Windows
from losses._fan import Fan
from losses._features import UnsuitableWeights
from losses._landmarks import Landmarks68, gaussians
from losses.landmark_prior import LandmarkPrior

VECTORS = Path(__file__).parents[1] / "vectors" / "losses" / "extra"


def prior(**parameters: Any) -> LandmarkPrior:
    loss = losses.build("landmark_prior", **parameters)
    assert isinstance(loss, LandmarkPrior)
    return loss


def images(count: int, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def narrow_state(blocks: int = 2) -> dict[str, Tensor]:
    """Tensors of a thin random network of landmarks68's layout, smooth in its input."""
    generator = torch.Generator().manual_seed(2)
    state: dict[str, Tensor] = {}
    inputs = 3
    for block in range(blocks):
        for index in range(3):
            key = f"dense{block}.conv{index}"
            if block == index == 0:
                state[f"{key}.weight"] = torch.randn(8, 3, 3, 3, generator=generator) * 0.5
            else:
                state[f"{key}.depthwise"] = torch.randn(inputs, 1, 3, 3, generator=generator) * 0.5
                state[f"{key}.pointwise"] = torch.randn(8, inputs, 1, 1, generator=generator) * 0.5
            state[f"{key}.bias"] = torch.randn(8, generator=generator) * 0.3
            inputs = 8
    state["fc.weight"] = torch.randn(136, 8, generator=generator) * 0.3
    state["fc.bias"] = 0.5 + torch.randn(136, generator=generator) * 0.1
    return state


# --- value ------------------------------------------------------------------------------------


def test_value_and_gradient_are_super_fans(case: Callable[[str], Any]) -> None:
    known = case("heatmap_superfan")
    sr, hr = known.inputs["sr"].requires_grad_(), known.inputs["hr"]
    faces = Faces(sr, hr, torch.arange(2), 2)
    value = prior()(images(2), images(2), faces=faces)
    value.backward()
    known.assert_value(value)
    known.assert_gradient(sr.grad, "sr")


def test_mean_is_the_mean_squared_error_of_all_maps(case: Callable[[str], Any]) -> None:
    known = case("heatmap_superfan")
    sr, hr = known.inputs["sr"], known.inputs["hr"]
    value = prior(reduction="mean")(images(2), images(2), faces=Faces(sr, hr, torch.arange(2), 2))
    torch.testing.assert_close(value, torch.nn.functional.mse_loss(sr, hr))


def test_faces_of_one_image_share_its_vote_and_images_without_one_give_zero() -> None:
    maps = torch.zeros(3, 68, 4, 4)
    # Per face 16·d²: 16, 64 and 144; the first two in image 2, the third in image 0, none in 1 and 3.
    faces = Faces(
        maps + torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1), maps, torch.tensor([2, 2, 0]), 4
    )
    loss = prior()
    value = loss(images(4), images(4), faces=faces)
    assert float(value) == pytest.approx(((16 + 64) / 2 + 144) / 4)
    assert (loss.seen, loss.without_face) == (4, 2)
    assert loss.state_dict() == {}


def test_a_batch_without_any_face_is_worth_zero_and_pulls_nowhere() -> None:
    network = Landmarks68(narrow_state())
    sr = images(2, 32).requires_grad_()
    windows = Windows.of_boxes(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), 2)
    loss = prior()
    value = loss(sr, images(2, 32), faces=network.compare(sr, images(2, 32), windows))
    (gradient,) = torch.autograd.grad(value, sr)
    assert float(value.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(sr))
    assert (loss.seen, loss.without_face) == (2, 2)


def test_faces_of_another_batch_are_refused() -> None:
    maps = torch.zeros(1, 68, 4, 4)
    with pytest.raises(UnsuitableInput, match="Faces are of 3 images, but SR has 2"):
        prior()(images(2), images(2), faces=Faces(maps, maps, torch.tensor([0]), 3))


def test_fan_without_weights_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidParameter, match=r"landmark_prior\.weights is empty.*landmarks68"):
        prior(network="fan")
    assert prior(network="fan", weights="fan.pth").face_source.weights == "fan.pth"


# --- windows ----------------------------------------------------------------------------------


class Plain(FaceNetwork):
    """A face network that is only asked to cut."""

    side = 8
    framing = Framing()


def test_a_window_as_large_as_the_network_looks_is_cut_pixel_by_pixel() -> None:
    photo = images(2, 20)
    windows = Windows.of_boxes(torch.tensor([[3.0, 5.0, 11.0, 13.0]]), torch.tensor([1]), 2)
    torch.testing.assert_close(Plain().cut(photo, windows), photo[1:, :, 5:13, 3:11])


def test_a_larger_face_is_averaged_so_that_all_its_pixels_count() -> None:
    photo = images(1, 24).requires_grad_()
    whole = Plain().cut(photo, Windows.whole(1, 24, 24))
    torch.testing.assert_close(whole, torch.nn.functional.avg_pool2d(photo, 3))
    (gradient,) = torch.autograd.grad(whole.sum(), photo)
    assert (gradient > 0).all()


def test_a_box_is_widened_to_the_square_of_its_longer_side_and_black_beyond_the_image() -> None:
    photo = torch.ones(1, 3, 8, 8)
    windows = Windows.of_boxes(torch.tensor([[0.0, 0.0, 4.0, 8.0]]), torch.tensor([0]), 1)
    cut = Plain().cut(photo, windows)
    assert float(cut[..., :2].abs().max()) == 0
    assert float(cut[..., 2:].min()) == pytest.approx(1)


def test_fans_square_is_its_authors() -> None:
    box = torch.tensor([[10.0, 20.0, 40.0, 70.0]])
    square = Fan.framing.square(Windows.of_boxes(box, torch.tensor([0]), 1).frames)[0]
    # Side 200·(30 + 50)/195; centre (25, 45), 0.12·50 higher.
    torch.testing.assert_close(square[:, 2], torch.tensor([25.0, 39.0]))
    torch.testing.assert_close(2 * square[0, 0], torch.tensor(200 * 80 / 195))


@settings(max_examples=20)
@given(st.integers(0, 7), st.integers(0, 8), st.integers(0, 8))
def test_turning_the_image_with_its_frame_changes_no_crop(way: int, left: int, top: int) -> None:
    photo = images(1, 16)
    windows = Windows.of_boxes(
        torch.tensor([[left, top, left + 8.0, top + 8.0]]), torch.tensor([0]), 1
    )
    upright = Plain().cut(photo, windows)
    frame = windows.frames.clone()
    if way & 1:
        photo, frame[:, 1] = photo.flip(2), -frame[:, 1]
        frame[:, 1, 2] += 16
    if way & 2:
        photo, frame[:, 0] = photo.flip(3), -frame[:, 0]
        frame[:, 0, 2] += 16
    if way & 4:
        photo, frame = photo.mT, frame.flip(1)
    turned = Windows.of_frames(frame, torch.tensor([0]), 1)
    torch.testing.assert_close(Plain().cut(photo, turned), upright)


def test_windows_of_another_batch_are_refused() -> None:
    with pytest.raises(UnsuitableInput, match="Windows are of 3 images, but HR has 2"):
        Landmarks68(narrow_state()).compare(images(2), images(2), Windows.whole(3, 8, 8))


# --- networks ---------------------------------------------------------------------------------


def test_fan_is_its_authors_network_of_any_width() -> None:
    with np.load(VECTORS / "fan.npz") as stored:
        known = {key: torch.from_numpy(stored[key]).double() for key in stored if key != "about"}
    state = {key.removeprefix("state."): t for key, t in known.items() if key.startswith("state.")}
    crop = known["crop"].requires_grad_()
    network = Fan(state)
    assert len(network.stacks) == 2
    maps = network.maps(crop)
    weights = torch.linspace(-1, 1, 68, dtype=torch.float64).view(1, 68, 1, 1)
    (gradient,) = torch.autograd.grad((weights * maps.square()).sum(), crop)
    torch.testing.assert_close(maps, known["maps"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, known["grad_crop"], rtol=1e-5, atol=1e-5)
    del state["m1.b2_plus_1.bn2.running_var"]
    with pytest.raises(UnsuitableWeights, match=r"lack m1\.b2_plus_1\.bn2\.running_var"):
        Fan(state)


def test_a_face_network_has_nothing_to_train() -> None:
    assert not any(p.requires_grad for p in Landmarks68(narrow_state()).parameters())


def test_a_map_is_highest_at_its_landmark_and_falls_as_a_gaussian() -> None:
    maps = gaussians(torch.tensor([[[0.25, 0.5]]]), 2.0, 64)
    # (0.25, 0.5) of 64 is the corner of four pixels, half a pixel from each.
    torch.testing.assert_close(maps[0, 0, 32, 16], torch.tensor(0.25 / 4).neg().exp())
    assert float(maps.sum()) == pytest.approx(2 * torch.pi * 4, rel=1e-3)


def test_gradient_reaches_sr_through_the_windows_and_agrees_with_finite_differences() -> None:
    network = Landmarks68(narrow_state(), sigma=4.0).double()
    hr = images(2, 24).double()
    sr = (hr + 0.1 * images(2, 24).double().flip(3)).requires_grad_()
    windows = Windows.of_boxes(
        torch.tensor([[2.0, 3.0, 20.0, 21.0], [5.0, 0.0, 24.0, 22.0]]), torch.tensor([0, 1]), 2
    )
    loss = prior()

    def value(batch: Tensor) -> Tensor:
        found: Tensor = loss(batch, hr, faces=network.compare(batch, hr, windows))
        return found

    (gradient,) = torch.autograd.grad(value(sr), sr)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.autograd.gradcheck(value, (sr,), eps=1e-7, atol=1e-6, rtol=1e-4, fast_mode=True)
    (at_hr,) = torch.autograd.grad(value(hr.requires_grad_()), hr)
    assert torch.equal(at_hr, torch.zeros_like(hr))


def test_autocast_moves_no_landmark() -> None:
    network = Landmarks68(narrow_state())
    hr = images(1, 24)
    exact = network.compare(hr, hr, Windows.whole(1, 24, 24)).sr
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network.compare(hr, hr, Windows.whole(1, 24, 24)).sr
    assert torch.equal(rough, exact)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(UnsuitableWeights, match=r"lack dense0\.conv0\.weight"):
        Landmarks68({"fc.weight": torch.zeros(1)})
