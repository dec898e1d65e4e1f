"""One line per event, with its fields and ids: what our processes write while they run."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Annotated

import typer

from service import trail

#: Every attribute a record has without `extra`; what is beyond them are an event's fields.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
#: Libraries that tell about themselves at INFO.
_CHATTY = ("alembic", "httpx2", "httpcore2", "uvicorn", "mlflow", "urllib3", "PIL", "matplotlib")
#: What comes from outside may be long.
_LONGEST = 300
_AS_JSON = "SRTUNE_LOG_JSON"

LogJson = Annotated[
    bool,
    typer.Option("--log-json", envvar=_AS_JSON, help="Write every event as one JSON object."),
]


class EventFormatter(logging.Formatter):
    """`2026-11-22 09:48:01 INFO service.reaper: lease lapsed study=s1 trial=s1-7`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the event, its fields after it, on one line whatever they contain."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = " ".join(record.getMessage().splitlines())
        fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        line = f"{when} {record.levelname} {record.name}: {message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """The same event as one JSON object, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; what JSON does not know is written as text."""
        event = {
            **_fields(record),
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def configure(*, debug: bool = False, as_json: bool = False, to_stdout: bool = False) -> None:
    """Send every event of this process to stderr (or stdout), as a line or as JSON."""
    handler = logging.StreamHandler(sys.stdout if to_stdout else sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else EventFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # We log it ourselves, where its ids are known.
    logging.getLogger("uvicorn.error").addFilter(_not_twice)


def environment(*, as_json: bool) -> dict[str, str]:
    """What makes a child process of ours write as we do."""
    return {_AS_JSON: "1"} if as_json else {}


def debugging() -> bool:
    """Whether `--debug` was given."""
    return bool(os.environ.get("SRTUNE_DEBUG"))


def _not_twice(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Exception in ASGI application")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The ids of what the code was about, then the event's own fields; `work` is for figures."""
    own = {name: value for name, value in vars(record).items() if name not in _PLAIN}
    about = {name: value for name, value in trail.fields_now().items() if name != "work"}
    return {**about, **own}


def _word(value: object) -> str:
    """A value that cannot be taken for another field, or for another line."""
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain and text else json.dumps(text)
