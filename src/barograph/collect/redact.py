"""Redaction: e-mail addresses, phone and card numbers, keys and own patterns leave texts before they are kept.

Reads the texts of an event and hands back the event with ``[email]``, ``[phone]``, ``[card]``, ``[key]`` or
``[own name]`` in their place. Most texts hold none of them, so what costs is to see that: every search is preceded
by a condition that any finding must meet and that one pass over the bytes decides (an at sign; seven digits in a
row once separators are gone; a long word with a digit in it). All built-in expressions are
linear in the length of the text: repetitions are bounded or possessive.

A card number is 13 to 19 digits, in groups or not, that begin like a card that is issued and pass the Luhn check.
A phone number begins with ``+`` or with 0, or is written as in North America, or is ten bare digits (eleven with a
leading 1); dates and decimal numbers are left alone. Digits may be Arabic, Persian, Devanagari or full-width ones.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

import msgspec

from barograph.core.event import Annotation, Document, Event, Feedback, Query, Score, Span
from barograph_client.errors import InvalidSettings

BUILT_IN = ("key", "email", "card", "phone")  # in this order: a key may hold digits, an address a number
NAME_LENGTH = 32  # of an own pattern: it is written into texts in place of what was found

_ROUNDS = 4  # a replacement may uncover another finding beside it; more often than this nobody writes by accident
_TEXTS: dict[type[Event], tuple[str, ...]] = {
    Query: ("query", "answer", "error_message"),
    Feedback: ("comment",),
    Score: ("comment",),
    Annotation: ("title", "text"),
    Span: ("status_message",),
}

# What separates digits of one number, beside ASCII also no-break, thin and wide blanks and hyphens.
_SEPARATORS = " -.()/"
_BLANKS = "\u00a0\u2007\u2009\u202f\u3000"
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"
_TYPOGRAPHIC = dict.fromkeys(_BLANKS, " ") | dict.fromkeys(_HYPHENS, "-")
_ZEROS = "٠۰०０"  # the zeros of Arabic, Persian, Devanagari and full-width digits, which follow them in order
_DIGIT_OF = {chr(ord(zero) + value): str(value) for zero in _ZEROS for value in range(10)}
_PLAIN_OF = _TYPOGRAPHIC | _DIGIT_OF
_TO_PLAIN = re.compile(f"[{''.join(_PLAIN_OF)}]")
_FOREIGN_DIGIT = re.compile(f"[{''.join(_DIGIT_OF)}]")
_FOREIGN_LEADS = (b"\xd9", b"\xdb", b"\xe0", b"\xef")  # the bytes that those digits begin with in UTF-8

_DIGITS_ONLY = bytes(48 if chr(i) in string.digits else 120 for i in range(256))
_SEPARATOR_BYTES = bytes(sorted(set("".join([_SEPARATORS, *_TYPOGRAPHIC]).encode())))
_SHORTEST_CARD, _LONGEST_CARD = 13, 19  # digits (ISO/IEC 7812)
_CARD_DIGITS = b"0" * _SHORTEST_CARD
_PHONE_DIGITS = b"0" * 8  # the shortest number below: + and eight digits

_KEY_LENGTH = 12  # the shortest word that any key below is
_KEY_CHARACTERS = string.ascii_letters + string.digits + "_-./+=~"
_KEY_BYTES = bytes(107 if chr(i) in _KEY_CHARACTERS else 32 for i in range(256))
_KEY_RUN = b"k" * _KEY_LENGTH
_KEY_BLOCK = "PRIVATE KEY"
_DIGIT_BYTES = string.digits.encode()

_WORD = r"(?<![A-Za-z0-9])"
_KEY_BODY = r"[A-Za-z0-9+/=\s\\:,.()]"  # no possessive group around a look ahead: Python before 3.11.5 gets that wrong
# A mark that the text must hold, and the expression that is tried when it does. A key has a digit in it (without
# one it may be words joined by hyphens), but for the short ones of AWS, of which a few have none.
_KEYS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (mark, re.compile(expression))
    for mark, expression in (
        (
            _KEY_BLOCK,
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            rf"{_KEY_BODY}*(?:-(?!----END){_KEY_BODY}*)*(?:-----END[A-Z0-9 ]{{0,60}}-----)?",
        ),
        ("sk-", rf"{_WORD}sk-(?=[A-Za-z_-]{{0,200}}[0-9])[A-Za-z0-9_-]{{12,}}"),
        ("sk_", rf"{_WORD}sk_(?:live|test)_[A-Za-z0-9]{{8,}}"),
        ("rk_", rf"{_WORD}rk_(?:live|test)_[A-Za-z0-9]{{8,}}"),
        ("AKIA", rf"{_WORD}AKIA[A-Z0-9]{{16}}(?![A-Za-z0-9])"),
        ("ASIA", rf"{_WORD}ASIA[A-Z0-9]{{16}}(?![A-Za-z0-9])"),
        ("gh", rf"{_WORD}gh[pousr]_[A-Za-z0-9]{{16,}}"),
        ("github_pat_", rf"{_WORD}github_pat_[A-Za-z0-9_]{{20,}}"),
        ("glpat-", rf"{_WORD}glpat-[A-Za-z0-9_-]{{16,}}"),
        ("xox", rf"{_WORD}xox[a-z]-[A-Za-z0-9-]{{10,}}"),
        ("AIza", rf"{_WORD}AIza[A-Za-z0-9_-]{{30,}}"),
        ("hf_", rf"{_WORD}hf_[A-Za-z0-9]{{20,}}"),
        ("npm_", rf"{_WORD}npm_[A-Za-z0-9]{{30,}}"),
        ("pypi-", rf"{_WORD}pypi-[A-Za-z0-9_-]{{30,}}"),
        ("barograph_", rf"{_WORD}barograph_(?:ingest|read|admin)_[0-9a-f]{{8,}}_[0-9a-f]{{16,}}"),
        ("eyJ", rf"{_WORD}eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}(?:\.[A-Za-z0-9_-]*)?"),
        ("earer", r"(?<=[Bb]earer)[ :=]{1,3}(?=[A-Za-z._~+/=-]{0,500}[0-9])[A-Za-z0-9._~+/=-]{12,}"),
        ("EARER", r"(?<=BEARER)[ :=]{1,3}(?=[A-Za-z._~+/=-]{0,500}[0-9])[A-Za-z0-9._~+/=-]{12,}"),
    )
)

_LOCAL_LENGTH = 64  # of an address before the at sign (RFC 5321, section 4.5.3.1)
_LOCAL_EXTRA = "._%+-'"
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,63}")

_RUN = re.compile(r"[0-9](?:[ ().\-/]{0,3}+[0-9]){7,}+")
_LEFT = r"(?<![\w+])(?<![0-9][.,/-])(?<![0-9A-Fa-f]-)"
_DECIMAL = r"[0-9]{1,20}\.[0-9]{1,40}+(?![ ().\-/]{0,2}[0-9])"
_DATE = r"[0-9]{2}([./-])[0-9]{2}\1(?:19|20)[0-9]{2}"
_PHONE = re.compile(
    rf"(?<![\w+])\+(?!{_DECIMAL})[1-9](?:[ ().\-/]{{0,3}}+[0-9]){{7,14}}(?![0-9])"
    rf"|{_LEFT}(?!{_DATE})\(?0[0-9](?:[ ().\-/]{{0,3}}+[0-9]){{7,13}}(?!\w)(?![-.,/][0-9])"
    rf"|{_LEFT}(?:\+?1[ .\-]{{0,2}})?(?:\([2-9][0-9]{{2}}\)[ .\-]{{0,2}}|[2-9][0-9]{{2}}[ .\-]{{1,2}})"
    r"[0-9]{3}[ .\-]{1,2}[0-9]{4}(?![0-9])(?![-.,/][0-9])"
    rf"|{_LEFT}(?:1?[2-9][0-9]{{9}})(?!\w)(?![-.,/][0-9])"
)

_CARD_RUN = re.compile(r"[0-9](?:[ -]{0,2}+[0-9]){12,}+")
_GROUP = re.compile(r"[0-9]+")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # the digit sum of twice a digit


class Redact:
    """A processor that blanks ``what`` (of ``BUILT_IN``) and own ``patterns`` (name to expression) in texts.

    Texts are the query, answer, error message, comment, annotation, status message, the documents' texts and the
    values of tags and of attributes, those of a span's events too. Own patterns come first and are used as they are:
    one that backtracks without bound is slow without bound. Raises InvalidSettings for an unknown name or an
    expression that cannot be used.
    """

    def __init__(self, what: Iterable[str] = BUILT_IN, patterns: Mapping[str, str] | None = None) -> None:
        names = tuple(what)
        for name in names:
            if name not in BUILT_IN:
                raise InvalidSettings(
                    "there is no such redaction",
                    hint=f"Use {', '.join(sorted(BUILT_IN))}, or an own pattern in redact_patterns.",
                    value=name,
                )
        self._what = frozenset(names)
        self._own = tuple((_compiled(name, text), f"[{name}]") for name, text in (patterns or {}).items())

    def __call__(self, event: Event) -> Event:
        """The event without what is to be blanked; the same one when there was nothing."""
        fields = _TEXTS.get(type(event), ())
        if not self._own:
            texts = [text for text in _texts(event, fields) if text]
            if not texts or not self._suspects("\n".join(texts)):
                return event
        changes: dict[str, object] = {}
        for name in fields:
            before = getattr(event, name)
            after = self.text(before)
            if after is not before:
                changes[name] = after
        if isinstance(event, Query) and event.documents:
            documents = [self._document(one) for one in event.documents]
            if any(new is not old for new, old in zip(documents, event.documents, strict=True)):
                changes["documents"] = documents
        if event.tags:
            changes["tags"] = {name: self.text(value) for name, value in event.tags.items()}
        if isinstance(event, Span):
            if event.attributes:
                changes["attributes"] = self._values(event.attributes)
            if event.events:
                changes["events"] = [
                    msgspec.structs.replace(one, attributes=self._values(one.attributes)) for one in event.events
                ]
        return msgspec.structs.replace(event, **changes) if changes else event

    def text(self, text: str) -> str:
        """The text without what is to be blanked; the same object when there was nothing."""
        for pattern, name in self._own:
            text = _replace(text, (match.span() for match in pattern.finditer(text)), name)
        for _ in range(_ROUNDS):
            suspects = self._suspects(text)
            if not suspects:
                break
            before = text
            for name in BUILT_IN:
                if name in suspects:
                    text = _FINDERS[name](text)
            if text is before:
                break
        return text

    def _suspects(self, text: str) -> list[str]:
        """What the text may hold: it meets the condition that whatever is to be found must meet."""
        suspects = ["email"] if "@" in text and "email" in self._what else []
        raw = text.encode("utf-8", "surrogatepass")
        if "phone" in self._what or "card" in self._what:
            numbers = raw.translate(_DIGITS_ONLY, _SEPARATOR_BYTES)
            if not text.isascii() and any(lead in raw for lead in _FOREIGN_LEADS) and _FOREIGN_DIGIT.search(text):
                numbers = _plain_numbers(text).encode("utf-8", "surrogatepass")
                numbers = numbers.translate(_DIGITS_ONLY, _SEPARATOR_BYTES)
            if _PHONE_DIGITS in numbers:
                suspects.append("phone")
                if _CARD_DIGITS in numbers:
                    suspects.append("card")
        if "key" in self._what and (_KEY_BLOCK in text or _may_hold_key(raw)):
            suspects.append("key")
        return [name for name in suspects if name in self._what] if suspects else suspects

    def _values(self, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self.text(value) for name, value in texts.items()}

    def _document(self, document: Document) -> Document:
        text = self.text(document.text)
        return document if text is document.text else msgspec.structs.replace(document, text=text)


def _texts(event: Event, fields: tuple[str, ...]) -> list[str]:
    texts: list[str] = [getattr(event, name) for name in fields]
    if isinstance(event, Query) and event.documents:
        texts += [document.text for document in event.documents]
    if event.tags:
        texts += event.tags.values()
    if isinstance(event, Span):
        texts += event.attributes.values()
        for one in event.events:
            texts += one.attributes.values()
    return texts


def _compiled(name: str, expression: str) -> re.Pattern[str]:
    hint = "Look into redact_patterns in the settings; docs/settings.md has an example."
    if not name or len(name) > NAME_LENGTH or not name.isprintable() or set(name) & set("[]@"):
        reason = f"the name of a redaction pattern has 1 to {NAME_LENGTH} printable characters, no brackets and no @"
        raise InvalidSettings(reason, hint=hint, value=name)
    try:
        pattern = re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidSettings(f"the redaction pattern {name} is not a regular expression: {error}", hint=hint) from None
    if pattern.search("") is not None:
        raise InvalidSettings(f"the redaction pattern {name} matches the empty text, so everywhere", hint=hint)
    return pattern


def _replace(text: str, spans: Iterable[tuple[int, int]], name: str) -> str:
    """The text with ``name`` in place of each span; the same object when there is none."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], name)
        done = end
    return "".join((*parts, text[done:])) if parts else text


def _may_hold_key(raw: bytes) -> bool:
    """Whether a word as long as a key has a digit in it, or begins like one that may have none."""
    words = raw.translate(_KEY_BYTES)
    start = words.find(_KEY_RUN)
    while start >= 0:
        end = words.find(b" ", start)
        word = raw[start:] if end < 0 else raw[start:end]
        if len(word.translate(None, _DIGIT_BYTES)) < len(word) or b"AKIA" in word or b"ASIA" in word:
            return True
        start = words.find(_KEY_RUN, end) if end >= 0 else -1
    return False


def _without_keys(text: str) -> str:
    for mark, pattern in _KEYS:
        if mark in text:
            name = " [key]" if mark in ("earer", "EARER") else "[key]"
            text = _replace(text, (match.span() for match in pattern.finditer(text)), name)
    return text


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """From each at sign backwards over the local part and forwards over the domain."""
    done = 0
    at = text.find("@")
    while at >= 0:
        start = at
        floor = max(done, at - _LOCAL_LENGTH)
        while start > floor and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_EXTRA):
            start -= 1
        while start < at and text[start] in "'.-":  # a quotation mark or a dash in front is not part of it
            start += 1
        domain = _DOMAIN.match(text, at + 1) if start < at else None
        if domain:
            yield start, domain.end()
            done = domain.end()
        at = text.find("@", max(at + 1, done))


def _plain_numbers(text: str) -> str:
    """With digits and separators in ASCII, every character at its place."""
    return text if text.isascii() else _TO_PLAIN.sub(lambda match: _PLAIN_OF[match[0]], text)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for run in _RUN.finditer(text):
        position, end = max(0, run.start() - 2), run.end() + 3  # a + and a bracket before, what must not follow after
        while match := _PHONE.search(text, position, end):
            yield match.span()
            position = match.end()


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for run in _CARD_RUN.finditer(text):
        yield from _cards_of(text, run.start(), run.end())


def _cards_of(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Whole groups of digits that make a card number, the longest first where several begin at one group."""
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    before = list(accumulate((b - a for a, b in groups), initial=0))
    digits = [int(text[i]) for a, b in groups for i in range(a, b)]
    # Luhn sums of the digits so far, with those at even or at odd places doubled: any stretch in one subtraction.
    sums = [
        list(accumulate((_DOUBLED[d] if i % 2 == parity else d for i, d in enumerate(digits)), initial=0))
        for parity in (0, 1)
    ]
    fraction = start >= 2 and text[start - 1] in ".," and text[start - 2].isdigit()
    first = 1 if fraction else 0
    while first < len(groups):
        found = 0
        for last in range(first + 1, len(groups) + 1):
            begin, stop = before[first], before[last]
            if stop - begin > _LONGEST_CARD:
                break
            luhn = sums[stop % 2]
            if stop - begin >= _SHORTEST_CARD and (luhn[stop] - luhn[begin]) % 10 == 0 and _issued(digits, begin):
                found = last
        if found:
            yield groups[first][0], groups[found - 1][1]
        first = found or first + 1


def _issued(digits: list[int], begin: int) -> bool:
    """Whether cards are issued that begin so: 3 to 6, or 2221 to 2720. Times in milliseconds begin with 1."""
    if digits[begin] == 2:
        return 2221 <= int("".join(map(str, digits[begin : begin + 4]))) <= 2720
    return 3 <= digits[begin] <= 6


_FINDERS: dict[str, Callable[[str], str]] = {
    "key": _without_keys,
    "email": lambda text: _replace(text, _emails(text), "[email]"),
    "card": lambda text: _replace(text, _cards(_plain_numbers(text)), "[card]"),
    "phone": lambda text: _replace(text, _phones(_plain_numbers(text)), "[phone]"),
}
