"""Commands that take events in: ``init``, ``record``, ``annotate``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from barograph.cli.desk import Desk, desk_of
from barograph.cli.lines import Lines
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Exit, Json, ProjectName, opened
from barograph.cli.output import note, print_json, progress, say
from barograph.core.event import CALLER_KINDS
from barograph.core.settings import FILE_NAME
from barograph.journal.disk import journal_error
from barograph_client.errors import InvalidEvent, InvalidInput

MOST_SHOWN = 10  # refusals that are told one by one
_EXAMPLE = """\
# Settings of this data directory; docs/settings.md lists them all with their defaults.

# timezone = "Europe/Berlin"

# [budget]
# daily = 40.0

# [[rules]]
# name = "slow answers"
# metric = "response_time.p95"
# above = 5.0
# window = "5m"
# for = "2m"
"""


def init(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """Make a data directory with a commented barograph.toml. What is there already stays as it is."""
    with opened(data_dir):
        path = data_dir / FILE_NAME
        fresh = not path.exists()
        if fresh:
            try:
                path.write_text(_EXAMPLE, encoding="utf-8")
            except OSError as error:
                raise journal_error(error, f"writing {path}") from error
    if json:
        print_json({"data_dir": str(data_dir), "settings": str(path), "created": fresh})
        return
    say(f"{data_dir} is ready. Record a first event:")
    say(f'  barograph record --data-dir {data_dir} query="What is machine learning?" response_time=2.3')


def record(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE]... | [FILE]", help="One event's fields, or a file of JSON Lines."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help=f"{', '.join(CALLER_KINDS)}. Without it a line may name its own.")
    ] = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Record one event from arguments, or many from JSON Lines in a file or on standard input.

    \b
    barograph record query="What is RAG?" response_time=2.3 cost=0.02 user_id=u1
    barograph record --kind feedback trace_id=t1 rating=4
    barograph record events.jsonl
    barograph record < events.jsonl

    A value of a text field is taken as it stands, any other is read as JSON where it is JSON. Events are durable
    when the command ends.
    Exit code 3 says that some were refused; they are kept, with the reason, in the directory's rejected/.
    """
    if kind is not None and kind not in CALLER_KINDS:
        raise InvalidInput("no such kind of event", hint=f"Use one of {', '.join(CALLER_KINDS)}.", value=kind)
    words = what or []
    if len(words) == 1 and words[0] != "-" and ("=" not in words[0] or Path(words[0]).is_file()):
        with _file(words[0]) as file, desk_of(data_dir, project) as desk:
            _record_lines(desk, file, os.path.getsize(words[0]) or None, kind, json)
    elif words and words != ["-"]:
        fields = dict(_field(word, kind or "query") for word in words)
        with desk_of(data_dir, project) as desk:
            event_id = desk.record(kind or "query", fields)
        print_json({"event_id": event_id}) if json else say(event_id)
    elif sys.stdin is None or (sys.stdin.isatty() and not words):
        raise InvalidInput("nothing to record", hint="Give field=value, a file, or JSON Lines on standard input.")
    else:
        with desk_of(data_dir, project) as desk:
            _record_lines(desk, sys.stdin.buffer, None, kind, json)


def annotate(
    title: Annotated[str, typer.Argument(help="A few words, shown on charts.")],
    category: Annotated[
        str, typer.Option(help="deploy, prompt, index, model, incident, other, or a word of your own.")
    ] = "deploy",
    text: Annotated[str, typer.Option(help="More of it.")] = "",
    link: Annotated[str, typer.Option(help="Where to read on.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Note a deploy, a new prompt, an index rebuild: it is drawn into the charts."""
    with desk_of(data_dir, project) as desk:
        event_id = desk.record("annotation", {"title": title, "category": category, "text": text, "link": link})
    print_json({"event_id": event_id}) if json else say(event_id)


def _file(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidInput(
            f"neither field=value nor a file that can be read: {reason}",
            hint="See `barograph record --help`.",
            value=path,
        ) from None


def _field(word: str, kind: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise InvalidInput("not field=value", hint="For example response_time=2.3.", value=word)
    if name in _text_fields(kind):
        return name, text
    try:
        return name, msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name, text


def _text_fields(kind: str) -> set[str]:
    """The kind's fields that hold text, so that user_id=42 is the text it looks like on a command line."""
    info = msgspec.inspect.type_info(CALLER_KINDS[kind])
    text = (msgspec.inspect.StrType, msgspec.inspect.LiteralType)
    fields = info.fields if isinstance(info, msgspec.inspect.StructType) else ()
    return {field.name for field in fields if isinstance(_bare(field.type), text)}


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _record_lines(desk: Desk, stream: BinaryIO, size: int | None, kind: str | None, json: bool) -> None:
    """Record what a stream holds and tell the account, also when a signal or the disk ends it early."""
    refused = 0
    number = 0
    with Lines(stream) as lines:
        try:
            with progress(size, "recording", sized=size is not None) as bar:
                for batch in lines.batches():
                    events = [line for line in batch if line.strip()]
                    for result in desk.record_lines(events, kind):
                        number += 1
                        if isinstance(result, InvalidEvent):
                            refused += 1
                            if refused <= MOST_SHOWN:
                                note(f"event {number}: {result}")
                    bar.advance(bar.task_ids[0], sum(map(len, batch)) + len(batch) if size is not None else len(batch))
        finally:
            if refused > MOST_SHOWN:
                note(f"… and {refused - MOST_SHOWN} more; all are kept in {desk.directory / 'rejected'}")
            if lines.unfinished:
                note("the last line had no end when the signal came; it is not recorded")
            rejected = _tell_account(desk.counts(), json)
    if lines.ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    if lines.ended_by:
        raise SystemExit(Exit.TERMINATED)
    if rejected:
        raise typer.Exit(Exit.INPUT)


def _tell_account(counts: dict[str, int], json: bool) -> int:
    """What was recorded; returns how many were rejected."""
    if json:
        print_json(counts)
    else:
        print(f"received {counts['received']} = stored {counts['stored']} + rejected {counts['rejected']}"
              f" + duplicate {counts['duplicate']}")  # fmt: skip
    return counts["rejected"]
