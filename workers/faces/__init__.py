"""Where faces are: found once per photograph, followed into its crops."""

from __future__ import annotations

from workers.faces.crops import windows
from workers.faces.detector import Boxes, FaceDetector, detector

__all__ = ["Boxes", "FaceDetector", "detector", "windows"]
