"""Sending the events of a process to standard error: of a service, or of a command."""

import logging
import os
import sys

from proxy.logs.destination import standard_error
from proxy.logs.forms import HumanForm, JsonForm
from proxy.logs.handler import LineHandler
from proxy.logs.priorities import WithPriorities
from proxy.logs.strays import take_strays


def log_of_service(level: str, form: str) -> LineHandler:
    """Send all events to standard error without waiting for it; `form` is "human" or "json"."""
    handler = LineHandler(_form(form), standard_error(os.environ))
    _send_to(handler, level)
    take_strays()
    return handler


def renew(handler: LineHandler, level: str, form: str) -> None:
    """Let a service's log be as it is configured now."""
    handler.take_form(_form(form))
    logging.getLogger().setLevel(level.upper())


def log_of_command(level: str, form: str) -> None:
    """Send all events to standard error, between what the command itself says there."""
    handler, shown = logging.StreamHandler(sys.stderr), _form(form)
    is_journal = standard_error(os.environ).is_journal
    handler.setFormatter(WithPriorities(shown) if is_journal else shown)
    _send_to(handler, level)


def _form(name: str) -> HumanForm | JsonForm:
    return JsonForm() if name == "json" else HumanForm()


def _send_to(handler: logging.Handler, level: str) -> None:
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether aiohttp reports a crash of ours, rather than a malformed request of a stranger."""
    # Late: it takes a third of the time in which a command starts, and commands have no clients.
    from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415
    from aiohttp.web_protocol import RequestPayloadError  # noqa: PLC0415

    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, RequestPayloadError))
