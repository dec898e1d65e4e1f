"""What `srtune worker` must be told about what studies may open."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.errors import WrongUsage
from service.cli.worker import check_allowed


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "localhost", "[::1]:8470", "127.9.9.9"])
def test_beside_its_service_a_worker_needs_no_list(host: str) -> None:
    assert check_allowed(f"http://{host}", None, None, None) is False


@pytest.mark.parametrize("host", ["head:8470", "10.0.0.1", "localhost.evil.com", "0.0.0.0", "[::]"])
def test_a_service_elsewhere_asks_for_one(host: str) -> None:
    with pytest.raises(WrongUsage, match="--allow-data"):
        check_allowed(f"http://{host}", None, None, None)


def test_any_of_the_options_makes_a_list(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "head"):
        server = f"http://{host}:8470"
        assert check_allowed(server, [tmp_path], None, None)
        assert check_allowed(server, None, ["skimage"], None)
        assert check_allowed(server, None, None, [tmp_path])


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="does not exist"):
        check_allowed("http://127.0.0.1", [tmp_path / "no"], None, None)
