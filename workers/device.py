"""Where a worker trains: one CPU or one CUDA device."""

from __future__ import annotations

import gc
import platform
import re

import torch

from service.contract.worker import Device


class DeviceUnavailable(Exception):
    """The device asked for is not there; the sentence names those that are."""


def choose(name: str = "auto", *, threads: int = 1) -> torch.device:
    """Return the device `auto`, `cpu`, `cuda` or `cuda:N`, ready for reproducible training.

    `auto` is the first CUDA device, or the CPU without one. `threads` is what torch may use of the
    CPU; one by default, since a sum over other numbers of threads is another sum in the last bit,
    and workers side by side use the cores better. Raises DeviceUnavailable.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        name = "cuda:0" if count else "cpu"
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise DeviceUnavailable(f"device {name!r} is unknown; use auto, cpu or cuda:N")
    torch.set_num_threads(threads)
    if name == "cpu":
        return torch.device("cpu")
    index = int(found[1] or 0)
    if index >= count:
        there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        raise DeviceUnavailable(f"device {name} is not on this machine; here are {there}")
    # Chosen by measuring, kernels differ from run to run, and their results in the last bits.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda", index)


def describe(device: torch.device) -> Device:
    """Return what the service is told of a device: kind, torch's name, bytes of memory."""
    if device.type == "cpu":
        return Device(kind="cpu", name=platform.processor() or platform.machine() or "cpu")
    properties = torch.cuda.get_device_properties(device)
    return Device(kind="cuda", name=properties.name, memory=properties.total_memory)


def free_memory(device: torch.device) -> None:
    """Give back what nobody refers to any more, so that the next training finds it free."""
    # Networks and their optimisers refer to each other in circles.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
