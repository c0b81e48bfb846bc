"""Tags that stand for an answer: what a caller has already is not sent again, and a change says what it was made of.

RFC 9110, section 13.1: If-Match and If-None-Match.
"""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response


def etag_of(body: bytes) -> str:
    """The tag of a body."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def names(condition: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match names the tag."""
    return etag in (one.strip().removeprefix("W/") for one in condition.split(","))


def tagged(value: object, request: Request | None = None, *, of: object = None) -> Response:
    """A JSON answer with its ETag, or that ``of`` a part; 304 where the request says that the caller has it already."""
    body = msgspec.json.encode(value)
    etag = etag_of(body if of is None else msgspec.json.encode(of))
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request is not None and names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
