"""Scores of finished images and video against their originals, with the meaning of every number."""

from __future__ import annotations

from workers.data.media import MediaUnusable
from workers.scoring.report import DEFAULT, Report, Request, score

__all__ = ["DEFAULT", "MediaUnusable", "Report", "Request", "score"]
