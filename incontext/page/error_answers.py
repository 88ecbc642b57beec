"""Answers of a server to requests that end in an error."""

from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from megamed.failures import told


def answer_errors(app: FastAPI, statuses: Mapping[type[Exception], int]) -> None:
    """Answer errors with what is told of them, in JSON.

    Args:
        app: The server.
        statuses: Statuses of HTTP by the kind of error; of several the most special one counts.
    """
    for kind, status in statuses.items():
        app.add_exception_handler(kind, partial(_answer, status))


def _answer(status: int, _: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": told(error)}, status)
