"""What a request asks for, as its query says it."""

from __future__ import annotations

from starlette.requests import Request


class NoQuestion(ValueError):
    """A request that cannot be read."""


def whole_number(request: Request, name: str, otherwise: int | None = None) -> int:
    """The number of up to nine digits that the query has by `name`, `otherwise` where it has none.

    Raises `NoQuestion`.
    """
    given = request.query_params.get(name)
    if given is None and otherwise is not None:
        return otherwise
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 9:
        raise NoQuestion(f"`{name}` must be a whole number")
    return int(given)
