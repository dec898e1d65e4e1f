"""A restart reads the vocabulary; whatever it was made of makes it anew when it changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import vocabulary_file
from service.cli.errors import StackFailed
from service.cli.vocabulary_file import VocabularyFile, digest_of_sources
from service.contract.vocabulary import Vocabulary

NAME = "vocabulary.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vocabulary]:
    """A folder whose vocabulary was made in a process of its own."""
    folder = tmp_path_factory.mktemp("words")
    return folder, VocabularyFile(folder).read()


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making it must fail at once, so that it is seen."""
    monkeypatch.setattr(vocabulary_file, "_MAKE", "raise SystemExit('made again')")


def test_it_is_what_the_registries_say(made: tuple[Path, Vocabulary]) -> None:
    from workers.vocabulary import vocabulary

    assert made[1] == vocabulary()


@pytest.mark.usefixtures("no_children")
def test_it_is_read_back_without_being_made(made: tuple[Path, Vocabulary]) -> None:
    folder, words = made
    assert VocabularyFile(folder).read() == words
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_reading_it_imports_neither_torch_nor_the_losses(made: tuple[Path, Vocabulary]) -> None:
    code = (
        "import sys; from pathlib import Path; from service.cli.vocabulary_file import *\n"
        f"VocabularyFile(Path({str(made[0])!r})).read()\n"
        "sys.exit(' '.join({'torch', 'numpy', 'losses', 'workers'} & set(sys.modules)) or None)"
    )
    root = Path(vocabulary_file.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.usefixtures("no_children")
@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"digest": "other", "vocabulary": {}}', None], ids=str
)
def test_a_torn_foreign_or_missing_file_is_made_again(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / NAME).write_text(content)
    with pytest.raises(StackFailed, match="made again"):
        VocabularyFile(tmp_path).read()


@pytest.mark.usefixtures("no_children")
def test_a_right_digest_over_a_wrong_vocabulary_is_made_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(
        f'{{"digest": "{digest_of_sources()}", "vocabulary": {{"losses": 3}}}}'
    )
    with pytest.raises(StackFailed, match="made again"):
        VocabularyFile(tmp_path).read()


def test_the_digest_knows_content_names_and_files_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = tmp_path / "losses" / "deep"
    nested.mkdir(parents=True)
    (nested / "l1.py").write_text("one")
    (tmp_path / "losses" / "__init__.py").write_text("")
    monkeypatch.setattr(vocabulary_file, "_SOURCES", ("losses",))
    monkeypatch.setattr(vocabulary_file, "_root", lambda package: tmp_path / package)
    seen = {digest_of_sources()}
    (nested / "l1.py").write_text("two")
    seen.add(digest_of_sources())
    (nested / "l2.py").write_text("two")
    seen.add(digest_of_sources())
    (nested / "l1.py").rename(nested / "l3.py")
    seen.add(digest_of_sources())
    assert len(seen) == 4


def test_the_digest_covers_every_file_the_words_come_from() -> None:
    covered = {str(path) for path in vocabulary_file._files()}
    for name in ("losses/charbonnier.py", "losses/_vmaf/", "workers/models/espcn.py",
                 "workers/metrics/vmaf/", "workers/vocabulary.py"):  # fmt: skip
        assert any(name in path for path in covered), name


def test_a_folder_that_cannot_be_written_costs_time_only(
    tmp_path: Path, made: tuple[Path, Vocabulary]
) -> None:
    (tmp_path / "data").write_text("a file is no folder")
    found = VocabularyFile(tmp_path / "data")
    found._store(made[1])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
