"""One line per event, on stderr, with its fields: what our processes write while they run."""

from __future__ import annotations

import json
import logging
import sys
import time

#: Every attribute a record has without `extra`; what is beyond them are an event's fields.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
#: Libraries that tell about themselves at INFO.
_CHATTY = ("alembic", "httpx2", "httpcore2", "uvicorn", "mlflow", "urllib3", "PIL", "matplotlib")


class EventFormatter(logging.Formatter):
    """`2026-11-22 09:48:01 INFO service.reaper: lease lapsed trial=7 worker=node-3`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the event, its fields after it; line breaks of the message are folded."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = " ".join(record.getMessage().split("\n"))
        fields = "".join(
            f" {name}={value}" for name, value in vars(record).items() if name not in _PLAIN
        )
        line = f"{when} {record.levelname} {record.name}: {message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """The same event as one JSON object, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; what JSON does not know is written as text."""
        event = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        event |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def configure(*, debug: bool = False, as_json: bool = False) -> None:
    """Send every event of this process to stderr as a line, or to stdout as JSON."""
    handler = logging.StreamHandler(sys.stdout if as_json else sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else EventFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
