"""Judge the evidence of an earlier run again: `python -m tests.chaos.judge FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.chaos.checker import violations
from tests.chaos.evidence import Evidence
from tests.chaos.history import read
from tests.chaos.tables import Tables


def main() -> None:
    """Print every violation that the files of the folder show; exit with 1 if there is one."""
    folder = Path(sys.argv[1])
    clocks = json.loads((folder / "clocks.json").read_text())
    operations = read(sorted((folder / "histories").glob("*.jsonl")))
    found = violations(Evidence(operations, Tables.load(folder / "tables.json"), **clocks))
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    sys.stdout.write(f"{len(operations)} operations, {len(found)} violations\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
