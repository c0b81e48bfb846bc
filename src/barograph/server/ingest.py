"""Routes that take events: ``/api/v1/events``, ``feedback``, ``scores``, ``annotations``.

A body is one event, an array of them, or one a line. Each gets its result, in order; a bad one costs the others
nothing. The answer comes when everything is durable. A batch that carries (Barograph-Client, Barograph-Sequence) and
was taken before is told to be all duplicates, however long ago that was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from barograph.collect.intake import SAMPLED_REASON, Intake, Taken
from barograph.journal.entry import Outcome
from barograph.server.access import Caller
from barograph.server.bodies import read_body
from barograph.server.parameters import caller_kind
from barograph.server.problems import Problem, problem_of
from barograph.server.site import Site, settled
from barograph_client.identifiers import derived_id

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
ARRAY_BYTES = 8 * 2**20  # of a JSON array, which is read whole before its events can be counted
CLIENT_HEADER, SEQUENCE_HEADER = "barograph-client", "barograph-sequence"


class Result(Struct, kw_only=True, omit_defaults=True):
    """What became of one event: its id, or the field at fault and why; its ``line`` where each event has one."""

    outcome: str
    event_id: str = ""
    field: str = ""
    reason: str = ""
    hint: str = ""
    line: int = 0


class Answer(Struct, kw_only=True):
    """``received = stored + rejected + duplicate``, and a result for each event in the order of the body."""

    received: int
    stored: int
    rejected: int
    duplicate: int
    results: list[Result]


class Pieces(NamedTuple):
    """A body in pieces; ``single`` says that it was one event and no list."""

    items: Sequence[object]
    single: bool
    lines: Sequence[int] = ()  # the number of each event's line, from 1


class Decoded(NamedTuple):
    """The pieces, and what became of each."""

    pieces: Pieces
    taken: list[Taken]


async def take_events(site: Site, caller: Caller, request: Request, kind: str | None = None) -> Response:
    """Keep the events of a body. Raises Problem."""
    lines = _is_lines(request)
    if "kind" in request.query_params:
        kind = kind or caller_kind(request.query_params["kind"])
    numbered = _number(request)
    async with site.admission.request() as admitted:
        body = await read_body(request, site.settings, admitted)
        intake = site.intake(caller.project)

        def events() -> Decoded:
            pieces = _split(body, lines, site.settings.batch_events)
            return Decoded(pieces, _take(pieces, intake, kind, numbered))

        outcomes: Sequence[Outcome]
        if numbered is None:
            (pieces, taken), outcomes = await site.keep(events)
        else:
            pieces, taken = await site.decode(events)
            outcomes = await _keep_once(site, caller.project, *numbered, taken)
    if pieces.single and taken[0].error is not None:
        raise problem_of(taken[0].error)
    answer = answer_of(taken, outcomes, pieces.lines)
    return Response(msgspec.json.encode(answer), media_type="application/json")


def answer_of(taken: Sequence[Taken], outcomes: Sequence[Outcome], lines: Sequence[int] = ()) -> Answer:
    """The account of a batch."""
    left = iter(outcomes)
    results: list[Result] = []
    for one in taken:
        if one.entry is not None:
            results.append(Result(outcome=next(left), event_id=one.event_id))
        elif one.error is not None:
            results.append(
                Result(outcome="rejected", field=one.error.field, reason=one.error.reason, hint=one.error.hint)
            )
        else:
            results.append(Result(outcome="rejected", event_id=one.event_id, field="sample", reason=SAMPLED_REASON))
    for result, line in zip(results, lines, strict=False):
        if result.outcome == "rejected":
            result.line = line
    return Answer(
        received=len(taken),
        stored=outcomes.count("stored"),
        rejected=len(taken) - len(outcomes),
        duplicate=outcomes.count("duplicate"),
        results=results,
    )


async def _keep_once(site: Site, project: str, client: str, sequence: int, taken: Sequence[Taken]) -> Sequence[Outcome]:
    """Keep a numbered batch, unless it was kept before: then all of it is duplicates."""
    mark = site.batches.entry(project, client, sequence, len(taken))
    entries = [one.entry for one in taken if one.entry is not None]
    rejections = [one.rejection for one in taken if one.rejection is not None]
    async with site.turn(f"{project}\0{client}"):  # who sent it again may not have waited for the first answer
        if await site.decode(lambda: (project, client, sequence) in site.batches):
            journal = site.dashboard.parts.journal
            await settled(await site.decode(lambda: journal.repeat(entries, rejections)))
            return ["duplicate"] * len(entries)
        outcomes = await settled(await site.decode(lambda: site.sink.submit([*entries, mark], rejections)))
        site.batches.add(project, client, sequence)
        return outcomes[:-1]


def _is_lines(request: Request) -> bool | None:
    """Whether the body is one event a line; None where its first character tells. Raises Problem 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in NDJSON:
        return True
    if kind == "application/json":
        return None
    raise Problem(415, "unknown-content-type", "events come as JSON or as JSON lines",
                  hint="Send Content-Type: application/json or application/x-ndjson.")  # fmt: skip


def _number(request: Request) -> tuple[str, int] | None:
    """The client and its sequence, of a batch that has them. Raises Problem 400."""
    client, sequence = request.headers.get(CLIENT_HEADER), request.headers.get(SEQUENCE_HEADER)
    if client is None and sequence is None:
        return None
    if not client or not sequence or not sequence.isdecimal() or len(sequence) > 16:
        raise Problem(400, "invalid-sequence", "a numbered batch has Barograph-Client and Barograph-Sequence",
                      hint="The first is an id, the second counts 1, 2, 3, …")  # fmt: skip
    return client, int(sequence)


def _take(pieces: Pieces, intake: Intake, kind: str | None, numbered: tuple[str, int] | None) -> list[Taken]:
    """What becomes of each event.

    In a numbered batch one without an id gets it from its place there: a server that was killed between the events and
    the line of their batch knows them again.
    """
    if numbered is None:
        return [intake.take_item(item, kind) for item in pieces.items]
    client, sequence = numbered
    return [
        intake.take_item(item, kind, derived_id(f"{client}/{sequence}", str(place)))
        for place, item in enumerate(pieces.items)
    ]


def _split(body: bytes, lines: bool | None, most: int) -> Pieces:
    if lines and body.count(b"\n") > 2 * most:  # before anything is made of them; half of them may be blank
        raise _too_many(most)
    pieces = _lines(body) if lines else _json(body)
    if len(pieces.items) > most:
        raise _too_many(most)
    return pieces


def _too_many(most: int) -> Problem:
    return Problem(413, "too-many-events", f"a batch has at most {most:,} events", hint="Send smaller batches.")


def _lines(body: bytes) -> Pieces:
    numbered = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    return Pieces([line for _, line in numbered], single=False, lines=[number for number, _ in numbered])


def _json(body: bytes) -> Pieces:
    """An array's elements as they stand, or one event. Raises Problem 400 for what is no JSON."""
    if not body.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"["):
        if not body.strip():
            raise Problem(400, "no-body", "there is no event in the body", hint="Send a JSON object, or an array.")
        return Pieces([body.strip()], single=True)
    if len(body) > ARRAY_BYTES:
        raise Problem(413, "too-large", f"an array has at most {ARRAY_BYTES:,} bytes",
                      hint="Send one event a line, as application/x-ndjson.")  # fmt: skip
    try:
        return Pieces([bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])], single=False)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        try:
            items: object = json.loads(body)  # which reads NaN too, so that the one event can be told
        except (ValueError, RecursionError):
            items = None
        if not isinstance(items, list):
            raise Problem(400, "invalid-json", f"the body is no JSON: {error}", hint="One event a line is "
                          "application/x-ndjson; then a bad line costs nobody else.") from None  # fmt: skip
        return Pieces(items, single=False)
