"""Redaction: what leaves texts, what stays, and that it ends on any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barograph.collect.redact import BUILT_IN, Redact
from barograph.core.event import Annotation, Document, Event, Feedback, Query, Score, Span
from barograph_client.errors import InvalidSettings

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
REDACT = Redact()

FOUND = {
    "write to jo.doe+news@mail.example.co.uk, please": "write to [email], please",
    "'o'neil@example.com'": "'[email]'",
    "<a href=mailto:x@example.org>": "<a href=mailto:[email]>",
    "jörg@müller.de und 用户@例子.中国": "[email] und [email]",
    "https://user:secret@example.com/": "https://user:[email]/",
    "+1 (555) 123-4567": "[phone]",
    "(555)123-4567 or 555.123.4567": "[phone] or [phone]",
    "call 1-800-555-0199 now": "call [phone] now",
    "+49 (0)30 1234567.": "[phone].",
    "+12345678 030123456": "[phone] [phone]",
    "030/1234567, 06 12 34 56 78": "[phone], [phone]",
    "0044 20 7946 0958": "[phone]",
    "name,0301234567,city": "name,[phone],city",
    "tel +49\u00a030\u202f1234\u20115678": "tel [phone]",
    "٠٣٠١٢٣٤٥٦٧٨ و ０３０－１２３４５６７": "[phone] و [phone]",
    "5551234567 13812345678": "[phone] [phone]",
    "4111 1111 1111 1111": "[card]",
    "my card 5500-0000-0000-0004 expires": "my card [card] expires",
    "id 12 4111 1111 1111 1111 77": "id 12 [card] 77",
    "x4111111111111111y": "x[card]y",
    "3782 822463 10005 and 2223003122003222": "[card] and [card]",
    "٤١١١١١١١١١١١١١١١": "[card]",
    "use sk-abc123def456ghi789 here": "use [key] here",
    "sk-proj-4f_9Zk-aB0cD1eF2": "[key]",
    "AKIAIOSFODNN7EXAMPLE / ASIAABCDEFGHIJKLMNOP": "[key] / [key]",
    "token=ghp_" + "a1B2" * 9 + ";": "token=[key];",
    "Authorization: Bearer abc.def123456789==": "Authorization: Bearer [key]",
    "xoxb-1234567890-abcdefghij glpat-abcDEF1234567890_xyz": "[key] [key]",
    "eyJhbGciOiJI1.eyJzdWIiOiIx.SflKxwRJSM": "[key]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\nxyz\n-----END RSA PRIVATE KEY----- ok": "[key] ok",
    r"{'k': '-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n'}": r"{'k': '[key]\n'}",
    "4111111111111111sk-abc123def456ghi789": "[card][key]",
}
KEPT = [
    "",
    "What is machine learning?",
    "2024-01-15 12:30:45,123 took 1234.56789 ms",
    "2024-01-15 12 00, 01.02.2024 15:30, 01/02/2024 10",
    "0.123456789012345 and 0.4111111111111111, +1.23456789 and +1234567.89",
    "1700000000 1700000000123 1700000000123456",
    "550e8400-e29b-41d4-a716-446655440000",
    "192.168.100.200 10.0.0.1",
    "react@18.2.0, user@localhost, @mention, a @ b, @",
    "sk-learn-pipeline-example of a sk-",
    "the bearer of internationalization",
    "tokens 12345678 and 123 456 789, +1234567 or 03012345",
    "4111 1111 1111 1112",
    "9111111111111111 3",
    "ISBN 978-3-16-148410-0",
    "[email] [phone] [card] [key]",
    "half a pair \ud83d alone",
]


@pytest.mark.parametrize(("text", "expected"), FOUND.items())
def test_what_is_to_be_blanked_is_replaced_by_its_name(text: str, expected: str) -> None:
    assert REDACT.text(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_it_stays_as_it_is(text: str) -> None:
    assert REDACT.text(text) is text


def test_only_what_is_asked_for_is_blanked() -> None:
    text = "a@b.co +4930123456 4111111111111111 sk-abc123def456ghi789"
    shown = {name: Redact([name]).text(text) for name in BUILT_IN}
    assert shown["email"] == "[email] +4930123456 4111111111111111 sk-abc123def456ghi789"
    assert shown["phone"] == "a@b.co [phone] 4111111111111111 sk-abc123def456ghi789"
    assert shown["card"] == "a@b.co +4930123456 [card] sk-abc123def456ghi789"
    assert shown["key"] == "a@b.co +4930123456 4111111111111111 [key]"
    assert Redact([]).text(text) is text


# properties

CARDS = ("4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005")
PHONES = ("+49 30 1234567", "(555) 123-4567", "030 1234567")
KEYS = ("sk-abc123def456ghi789", "AKIAIOSFODNN7EXAMPLE", "Bearer abcdef123456", "eyJhbGciOiJI1.eyJzdWIiO")
JOINTS = (" ", "-", ".", "@", "x", "1", "0", "+", "(", "/", "\u00a0", "٤", "4", "word ", "-----BEGIN PRIVATE KEY-----")
PIECES = st.sampled_from((*CARDS, *PHONES, *KEYS, *JOINTS, "a.b@c.de"))
MIXED = st.lists(PIECES, max_size=12).map("".join)
NUMBERS = st.text("0123456789 -", max_size=60)
TEXTS = st.one_of(MIXED, NUMBERS, st.text("01459 -+().@/sk_aé٤\u00a0", max_size=60), st.text(max_size=60))


def passes_luhn(digits: str) -> bool:
    """As ISO/IEC 7812-1, annex B, has it: from the right, every second digit doubled."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def cards_in(text: str) -> list[str]:
    """Every run of whole groups of digits, apart by at most two blanks or hyphens, that is a card's number."""
    groups = list(re.finditer(r"\d+", text))
    cards = []
    for first in range(len(groups)):
        digits = ""
        for last in range(first, len(groups)):
            if last > first and not re.fullmatch(r"[ -]{1,2}", text[groups[last - 1].end() : groups[last].start()]):
                break
            digits += groups[last][0]
            issued = digits[0] in "3456" or "2221" <= digits[:4] <= "2720"
            if 13 <= len(digits) <= 19 and issued and passes_luhn(digits):
                cards.append(digits)
    return cards


@given(NUMBERS)
@example("4111 1111 1111 1111 4111 1111 1111 1111")
@example("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1")
def test_no_card_that_passes_luhn_is_left(text: str) -> None:
    assert cards_in(Redact(["card"]).text(text)) == []


@given(
    st.sampled_from(["4", "51", "37", "6011", "2221", "3"]),
    st.text("0123456789", min_size=12, max_size=14),
    st.sampled_from(["", " ", "-", "  "]),
    st.text("abc .,:;\n", max_size=10),
)
def test_a_card_is_found_however_it_is_written_and_whatever_stands_beside_it(
    prefix: str, more: str, separator: str, beside: str
) -> None:
    digits = prefix + more
    digits += next(check for check in "0123456789" if passes_luhn(digits + check))
    written = separator.join(digits[i : i + 4] for i in range(0, len(digits), 4))
    shown = REDACT.text(f"{beside}{written}{beside}")
    assert "[card]" in shown
    assert not re.search(r"\d", shown)


@given(TEXTS)
@example("4111111111111111sk-abc123def456ghi789a.b@c.de")
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = REDACT.text(text)
    assert REDACT.text(once) is once


class WithoutLooking(Redact):
    """Searches every text for everything."""

    def _suspects(self, text: str) -> list[str]:
        return list(BUILT_IN)


@settings(max_examples=300)
@given(TEXTS)
def test_looking_before_searching_overlooks_nothing(text: str) -> None:
    assert REDACT.text(text) == WithoutLooking().text(text)


NUMBERS_WITHOUT_END = ("1 ", "4 ", "4", "٤", "+1", "0 (", "(0", "555-", "01.01.", "1.")
ADDRESSES_WITHOUT_END = ("@", "a@", "a.", "a@a.")
BLOCKS_WITHOUT_END = ("-----BEGIN ", "-----BEGIN PRIVATE KEY-----")
KEYS_WITHOUT_END = ("sk-a1", "sk-" * 40 + "1 ", "eyJaaaaaaa1.", "bearer a", "AKIA", "4111111111111111sk-a1")
HOSTILE = (*NUMBERS_WITHOUT_END, *ADDRESSES_WITHOUT_END, *BLOCKS_WITHOUT_END, *KEYS_WITHOUT_END)
LONG = 262_144  # characters of the longest text that an event takes


@pytest.mark.timeout(120)  # a search whose cost grows with the square of the length would take hours
@pytest.mark.parametrize("unit", HOSTILE)
def test_the_longest_hostile_text_is_done_with(unit: str) -> None:
    text = (unit * (LONG // len(unit) + 1))[:LONG]
    for hostile in (text, f"bearer {text}", f"@{text}@1", f"PRIVATE KEY{text}"):
        assert len(REDACT.text(hostile)) <= 2 * LONG


# events


def event_of(kind: Callable[..., Event], **fields: object) -> Event:
    return kind(event_id="e", time=NOW, **fields)


MAIL = "ask a@b.co"
CLEAN = "ask [email]"


@pytest.mark.parametrize(
    ("kind", "field", "needed"),
    [
        (Query, "query", {}),
        (Query, "answer", {}),
        (Query, "error_message", {}),
        (Feedback, "comment", {}),
        (Score, "comment", {"name": "n", "value": 1.0}),
        (Annotation, "text", {"title": "t"}),
        (Annotation, "title", {}),
        (Span, "status_message", {"trace_id": "t", "span_id": "s"}),
    ],
)
def test_every_text_of_an_event_is_redacted_and_nothing_else(
    kind: Callable[..., Event], field: str, needed: dict[str, object]
) -> None:
    before = event_of(kind, **needed, **{field: MAIL}, tags={"note": MAIL, "other": "same"})
    after = event_of(kind, **needed, **{field: CLEAN}, tags={"note": CLEAN, "other": "same"})
    assert REDACT(before) == after
    assert Redact([], {"mail": r"a@b\.co"})(before) == event_of(
        kind, **needed, **{field: "ask [mail]"}, tags={"note": "ask [mail]", "other": "same"}
    )


def test_documents_and_attributes_are_redacted() -> None:
    documents = [Document(id="1", text="clean"), Document(id="2", source="s", text=MAIL, rank=1)]
    query = REDACT(event_of(Query, documents=documents, user_id="a@b.co"))
    assert isinstance(query, Query)
    assert query.documents == [documents[0], Document(id="2", source="s", text=CLEAN, rank=1)]
    assert query.user_id == "a@b.co"  # ids are hashed, not redacted: they must stay comparable
    attributes = {"input.value": MAIL, "model": "m"}
    span = REDACT(event_of(Span, trace_id="t", span_id="s", attributes=attributes))
    assert isinstance(span, Span)
    assert span.attributes == {"input.value": CLEAN, "model": "m"}


def test_an_event_without_anything_to_blank_is_handed_on_as_it_is() -> None:
    event = event_of(Query, query="why?", answer="so", documents=[Document(text="a")], tags={"a": "b"})
    assert REDACT(event) is event
    assert Redact([], {"own": "zzz"})(event_of(Query, query="why?")) == event_of(Query, query="why?")


def test_what_lies_in_two_texts_of_an_event_is_not_one_number() -> None:
    event = event_of(Query, query="4111 1111", answer="1111 1111")
    assert REDACT(event) is event


# own patterns


def test_own_patterns_are_replaced_by_their_names() -> None:
    redact = Redact(["email"], {"order": r"\bORD-\d{6}\b", r"back\1": "back(.)slash"})
    assert redact.text("ORD-123456 of a@b.co, back_slash") == r"[order] of [email], [back\1]"


@pytest.mark.parametrize("expression", ["(", "a{5,2}", "(?P<x", "*", "a*", "", "(?<=a+)b"])
def test_an_expression_that_cannot_be_used_is_refused_at_the_start(expression: str) -> None:
    with pytest.raises(InvalidSettings, match="own") as caught:
        Redact([], {"own": expression})
    assert "redact_patterns" in caught.value.hint


@pytest.mark.parametrize("name", ["", "x" * 33, "a]b", "bell\a", "a@b.co"])
def test_a_name_that_texts_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match="name"):
        Redact([], {name: "a"})


def test_a_misspelt_redaction_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidSettings, match="card, email, key, phone") as caught:
        Redact(["emial"])
    assert caught.value.value == "emial"
