"""Lines that tell what happened to whom, and cannot be forged from outside."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import threading

import pytest

from service import trail
from service.cli.log import EventFormatter, JsonFormatter


def record(message: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "service.reaper", "levelname": "INFO", "msg": message, **fields}
    )


def test_a_line_carries_the_ids_of_what_the_code_is_about() -> None:
    with trail.on(request="r1", work="reaper"), trail.on(trial="s1-7"):
        trail.note(attempt=2)
        line = EventFormatter().format(record("lease lapsed", worker="node-3"))
        event = json.loads(JsonFormatter().format(record("lease lapsed", worker="node-3")))
    assert line.endswith(
        "INFO service.reaper: lease lapsed request=r1 trial=s1-7 attempt=2 worker=node-3"
    )
    assert {"request": "r1", "trial": "s1-7", "attempt": 2, "worker": "node-3"}.items() <= (
        event.items()
    )
    assert "work" not in event
    assert "request=" not in EventFormatter().format(record("afterwards"))


def test_what_was_found_out_in_a_copied_context_is_known_to_the_request() -> None:
    with trail.on(request="r1"):
        inside = contextvars.copy_context()
        thread = threading.Thread(target=inside.run, args=(lambda: trail.note(study="s1"),))
        thread.start()
        thread.join()
        assert trail.fields_now() == {"request": "r1", "study": "s1"}
    trail.note(study="s2")
    assert trail.fields_now() == {}


@pytest.mark.parametrize(
    "evil",
    [
        "x\n2026-11-22 09:48:01 INFO service.reaper: all is well",
        "a b=c",
        "\r\x85\u2028",
        "",
        "é " * 500,
    ],
)
def test_a_value_from_outside_stays_one_value_on_one_line(evil: str) -> None:
    line = EventFormatter().format(record("answered", study=evil, status=404))
    assert len(line.splitlines()) == 1
    assert line.endswith(" status=404")
    assert line.count(" status=") == 1
    assert len(line) < 3500
    shown = line.split(" study=")[1].removesuffix(" status=404")
    assert not evil or shown == evil or json.loads(shown).removesuffix("...") == evil[:300]


def test_a_message_is_one_line_and_its_traceback_follows() -> None:
    failed = record("fine")
    try:
        int("no")
    except ValueError:
        failed = record("it\nbroke", exc_info=sys.exc_info())
    lines = EventFormatter().format(failed).splitlines()
    assert lines[0].endswith("it broke")
    assert lines[-1] == "ValueError: invalid literal for int() with base 10: 'no'"
    assert lines[-1] in json.loads(JsonFormatter().format(failed))["traceback"]


def test_a_field_cannot_replace_an_event_s_own_level() -> None:
    event = json.loads(JsonFormatter().format(record("answered", level="FINE", time="never")))
    assert event["level"] == "INFO"
    assert isinstance(event["time"], float)
