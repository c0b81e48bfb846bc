"""What is refused is kept without what must not be kept, and says which field was at fault, also in a broken line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from collect_support import Open, made, rejected, validator
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.intake import Intake
from barograph.collect.processors import HashUsers, Redact
from barograph.collect.scrub import Scrub
from barograph.core.event import Query
from barograph_client.errors import InvalidEvent

SECRETS = ("anna@example.org", "4111 1111 1111 1111", "sk-abcdef1234567890abcd")
USERS = HashUsers(b"k" * 32)
STRICT = (USERS, Redact())


def kept(raw: object, *processors: object) -> str:
    """The original of a refused input, as it would be kept."""
    taken = Intake(validator(), processors or STRICT).take_item(raw, "query")
    assert taken.rejection is not None
    content = taken.rejection.original
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("field", ["query", "notes", "answer"])
def test_a_refused_event_is_redacted_before_it_is_kept(secret: str, field: str):
    raw = {field: f"it is {secret} indeed", "cost": -1, "user_id": "anna"}
    for sent in (
        raw,
        json.dumps(raw),
        json.dumps(raw).encode(),
        json.dumps(raw)[:-1],
        {"deep": {"list": [raw]}, **raw},
    ):
        text = kept(sent)
        assert secret not in text
        assert "it is [" in text
        assert '"anna"' not in text
        assert USERS.hash("anna") in text


def test_on_disk_too(open_collector: Open, tmp_path: Path):
    collector = open_collector(processors=STRICT)
    with pytest.raises(InvalidEvent):
        collector.record_query_execution({"query": SECRETS[0], "user_id": "anna", "cost": -1})
    (record,) = rejected(tmp_path / "data")
    assert json.loads(str(record["original"])) == {"query": "[email]", "user_id": USERS.hash("anna"), "cost": -1}


@pytest.mark.parametrize("raw", [{"user_id": 42, "cost": -1}, b'{"user_id": 42, "cost": -1'])
def test_a_user_id_of_the_wrong_type_is_hashed_all_the_same(raw: object):
    text = kept(raw, USERS)
    assert "42" not in text.replace(USERS.hash("42"), "")
    assert USERS.hash("42") in text


def test_escapes_in_a_line_hide_nothing():
    assert "anna" not in kept(b'{"query": "anna\\u0040example.org", "cost": -1}')


def test_bytes_that_are_no_text_keep_their_other_bytes():
    line = b'{"query": "anna@example.org \xff", "cost": 1}'
    assert Scrub(STRICT)(line) == b'{"query": "[email] \xff", "cost": 1}'


@given(st.one_of(st.text(), st.binary()))
def test_without_redaction_the_original_is_what_came(content: str | bytes):
    assert Scrub(())(content) is content


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists))
def test_what_holds_no_secret_is_kept_as_it_came(value: object):
    text = json.dumps(value)
    assert Scrub((Redact(("email", "key")),))(text) == text


@given(st.one_of(st.text(), st.binary()))
def test_any_content_can_be_scrubbed(content: str | bytes):
    assert type(Scrub(STRICT)(content)) is type(content)


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        (b'{"query": "q", "cost": NaN}', "cost", "finite"),
        (b'{"query": "q", "cost": -Infinity}', "cost", "finite"),
        (b'{"query": "q", "cost": 1e400}', "cost", "finite"),
        (b'{"query": "q", "mood": NaN}', "mood", "finite"),
        (b'\xef\xbb\xbf{"query": "q", "cost": NaN}', "cost", "finite"),
        (b'{"user_id": "u", "query": "a\\ud800b"}', "query", "surrogate"),
        ('{"user_id": "u", "query": "a\\udc00b"}', "query", "surrogate"),
    ],
)
def test_a_line_that_is_almost_json_is_refused_for_its_field(line: bytes | str, field: str, reason: str):
    error = Intake(validator()).take_item(line, "query").error
    assert error is not None
    assert error.field == field
    assert reason in error.reason


def test_documents_as_loaders_make_them_are_taken_with_all_of_their_metadata():
    document = {
        "id": "a",
        "page_content": "text",
        "metadata": {"title": "T", "source": "a.pdf", "id": "b", "score": "high", "page": 3, "rank": 2},
    }
    event = made({"query": "q", "documents": [document]})
    assert isinstance(event, Query)
    assert event.documents is not None
    (taken,) = event.documents
    assert (taken.id, taken.text, taken.source, taken.rank, taken.score) == ("a", "text", "a.pdf", 2, None)
    assert event.tags == {
        "documents.title": '["T"]',
        "documents.metadata.id": '["b"]',
        "documents.metadata.score": '["high"]',
        "documents.page": "[3]",
    }
