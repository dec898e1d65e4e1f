"""`python -m service.cli.loss_docs docs/losses.md` writes the page."""

from __future__ import annotations

import sys
from pathlib import Path

from service.cli.loss_docs.page import page

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
