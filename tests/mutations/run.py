"""Take out one safeguard after the other, and see which tests of `make test` turn red.

`python -m tests.mutations.run [WORD ...]` runs the mutants whose name has one of the words, default
all. It works on a copy of the checkout and ends with 1 if a mutant survived or its code has moved.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.mutations.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
#: What a copy needs; everything else of a checkout is data or made from it.
_COPIED = ("service", "workers", "losses", "migrations", "tests", "pyproject.toml")
#: Enough to see that a safeguard is missed, without waiting for all of its tests to fail.
_ENOUGH = 2
_SECONDS = 900.0
_RED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)

console = Console(highlight=False, markup=False, width=140)


def main(words: list[str]) -> int:
    """How many mutants survived, as an exit code."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="srtune-mutants-") as folder:
        copy = _copy(Path(folder))
        unfit = [mutant.name for mutant in chosen if not _fits(mutant, copy)]
        for name in unfit:
            console.print(f"MOVED     {name}: its code is not there exactly once; mend the anchor")
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if red := _red(copy, tests):
            console.print(f"the tests are red without any mutant: {', '.join(red)}")
            return 1
        console.print(f"green     {len(tests)} files of tests without a mutant")
        survived = [m.name for m in chosen if m.name not in unfit and not _caught(m, copy)]
    console.print(
        f"{len(chosen) - len(survived) - len(unfit)} of {len(chosen)} mutants were caught"
    )
    return 1 if survived or unfit else 0


def _copy(folder: Path) -> Path:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _fits(mutant: Mutant, copy: Path) -> bool:
    return (copy / mutant.path).read_text().count(mutant.old) == 1


def _caught(mutant: Mutant, copy: Path) -> bool:
    """Whether some test notices; says which, and puts the code back."""
    path = copy / mutant.path
    original, begun = path.read_text(), time.monotonic()
    path.write_text(original.replace(mutant.old, mutant.new))
    try:
        red = _red(copy, list(mutant.tests))
    finally:
        path.write_text(original)
    word = "caught" if red else "SURVIVED"
    console.print(f"{word:9} {mutant.name} ({time.monotonic() - begun:.0f} s)")
    for test in red:
        console.print(f"            {test}")
    return bool(red)


def _red(copy: Path, tests: list[str]) -> list[str]:
    """Tests that fail there; the first few."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not gpu and not long",
        "-p",
        "no:randomly",
    ]
    command += ["-p", "no:cacheprovider", "--tb", "no", "--timeout", "120"]
    command += ["--maxfail", str(_ENOUGH), *tests]
    # The copy is imported and not the checkout, which may be installed in place. Examples are not
    # made smaller: that they fail is all that is asked.
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SRTUNE_NO_SHRINKING": "1",
    }
    process = subprocess.Popen(
        command,
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Else a shell that runs this in the background has it ignore the interrupt below.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        said, _ = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        # Interrupted, not killed: pytest still stops the PostgreSQL that it started.
        process.send_signal(signal.SIGINT)
        process.communicate()
        return ["(none of its tests came to an end)"]
    if process.returncode == 0:
        return []
    red = _RED.findall(said)
    if process.returncode != 1 or not red:
        raise RuntimeError(f"pytest ended with {process.returncode}: {said[-2000:]}")
    return red


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
