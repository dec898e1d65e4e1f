"""What is wrong is one clear sentence and a non-zero exit, and everything else goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from service.contract.trial import StudyState
from tests.end_to_end.bench import Bench


def srtune(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli.main", *arguments], capture_output=True, text=True
    )


def one_sentence(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    said = " ".join((answer.stdout + answer.stderr).split())
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_photos_that_cannot_be_used_end_their_study_with_a_sentence_and_the_next_one_is_trained(
    bench: Bench, definition: dict[str, Any], tmp_path: Path
) -> None:
    corrupt, small = tmp_path / "corrupt", tmp_path / "small"
    for folder in (corrupt, small):
        folder.mkdir()
    (corrupt / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    Image.new("RGB", (24, 20), "green").save(small / "tiny.png")
    bench.serve()
    worker = bench.work()
    failed = {
        "broken.png": bench.client.submit(with_train(definition, corrupt)),
        "tiny.png": bench.client.submit(with_train(definition, small)),
        "nowhere": bench.client.submit(with_train(definition, tmp_path / "nowhere")),
    }
    good = bench.client.submit(
        definition | {"budget": {"trials": 1}, "training": definition["training"] | {"steps": 8}}
    )
    for name, study in failed.items():
        ended = bench.end(study.id)
        assert ended.state is StudyState.FAILED
        assert name in ended.reason
        watched = srtune("study", "watch", study.id, "--server", bench.url)
        assert watched.returncode == 1
        one_sentence(watched, name)
    assert bench.end(good.id).state is StudyState.FINISHED
    assert worker.poll() is None


def with_train(definition: dict[str, Any], source: Path) -> dict[str, Any]:
    return definition | {"data": definition["data"] | {"train": [str(source)]}}


@pytest.mark.parametrize("command", [("study", "list"), ("study", "show", "x"), ("losses",)])
def test_a_server_that_is_not_there_is_named_with_the_remedy(
    command: tuple[str, ...], free_port: int
) -> None:
    address = f"http://127.0.0.1:{free_port}"
    answer = srtune(*command, "--server", address)
    assert answer.returncode == 1
    one_sentence(answer, address, "srtune up")


def test_a_wrong_file_exits_with_two_and_names_every_fault(
    bench: Bench, definition: dict[str, Any], tmp_path: Path
) -> None:
    bench.serve()
    file = tmp_path / "study.json"
    file.write_text(json.dumps(definition | {"modle": {}, "objectives": ["psnr"]}))
    answer = srtune("study", "submit", str(file), "--server", bench.url)
    assert answer.returncode == 2
    one_sentence(answer, "modle", "model", "objectives[0]", "psnr_y")
    assert bench.client.studies() == []


def test_a_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    answer = srtune("worker", "--device", "cuda:99", "--folder", str(tmp_path))
    assert answer.returncode == 2
    one_sentence(answer, "cuda:99", "cpu")


def test_a_worker_s_events_are_json_objects_when_asked(free_port: int, tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "service.cli.main", "worker", "--json", "--device", "cpu"),
            *("--server", f"http://127.0.0.1:{free_port}", "--folder", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    with worker.stdout as said:
        event = json.loads(said.readline())
        worker.terminate()
        worker.wait(20)
    assert event["level"] == "WARNING"
    assert str(free_port) in event["message"]
