"""What a training costs its machine: points under `system/`, without further packages."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch


class SystemMeter:
    """Reads this process's use of CPU, memory and device; each reading covers the time since."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """CPU in percent of one core, memory in MB; keys start with `system/`."""
        wall, cpu = time.monotonic(), time.process_time()
        # Two readings within a millisecond say nothing about use.
        spent = max(wall - self._wall, 1e-3)
        values = {
            "system/cpu_percent": 100 * (cpu - self._cpu) / spent,
            "system/memory_mb": _resident_bytes() / 1e6,
        }
        self._wall, self._cpu = wall, cpu
        if self._device.type == "cuda":
            values["system/gpu_memory_mb"] = torch.cuda.memory_allocated(self._device) / 1e6
            values["system/gpu_memory_peak_mb"] = (
                torch.cuda.max_memory_allocated(self._device) / 1e6
            )
        return values


def _resident_bytes() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
