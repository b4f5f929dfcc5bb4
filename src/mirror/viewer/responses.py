"""How answers are written, JSON and pictures, and which status a refusal has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mirror.errors import MirrorError
from mirror.viewer.contents import Unknown
from mirror.viewer.query import NoQuestion

NOT_KEPT = {"cache-control": "no-store"}


def plainly(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """`answer`, with its refusals as statuses: 404 for what is not there, 400 for what is no question, 409 for what
    cannot be done."""

    def answered(request: Request) -> Response:
        try:
            return answer(request)
        except Unknown as error:
            return as_json({"error": str(error)}, 404)
        except NoQuestion as error:
            return as_json({"error": str(error)}, 400)
        except MirrorError as error:
            return as_json({"error": str(error)}, 409)

    return answered


def as_json(content: Any, status: int = 200) -> Response:
    """`content`, which browsers ask for anew each time."""
    return JSONResponse(content, status, headers=NOT_KEPT)


def as_jpeg(content: bytes) -> Response:
    """A picture, which browsers may keep for an hour."""
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def as_line(content: dict[str, Any]) -> str:
    """A line of an answer that is written as it is found."""
    return json.dumps(content, allow_nan=False) + "\n"


def rounded(values: NDArray[np.float32]) -> list[float | None]:
    """Five digits are more than any eye sees; NaN becomes null."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values.tolist()]
