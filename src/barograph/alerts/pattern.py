"""Regular expressions that a stranger may write: matched in time linear in the text, whatever the expression.

The part of RE2's syntax that label matchers use, read by a small parser into a Thompson automaton (K. Thompson,
"Regular expression search algorithm", CACM 1968) whose sets of states are followed and remembered; there is no
backtracking, so nothing to blow up. An expression matches the whole text, as Prometheus anchors it. What needs
backtracking (back references, look around) is refused. Read by ``matcher``.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any

from barograph_client.errors import InvalidInput

MOST_CHARACTERS = 1000  # of an expression
MOST_STATES = 5000  # of its automaton, after {n,m} is written out
MOST_REPEATS = 1000  # RE2's own limit of {n,m}
_DEEPEST = 50  # groups within groups
_REMEMBERED = 2000  # steps of the automaton that are kept for the next text

_Test = Callable[[str], bool]
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_CLASSES: dict[str, frozenset[str]] = {
    "d": frozenset(string.digits),
    "w": _WORD,
    "s": frozenset("\t\n\f\r "),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_HINT = r"Write literals, ., [a-z], \d \w \s, ( ), |, *, +, ? and {n,m}; all of the value is matched."

_Tree = tuple[str, Any]  # ("test", test), ("all", parts), ("any", branches), ("repeat", (part, least, most))


class Pattern:
    """An expression, ready to match. Raises InvalidInput for one that cannot be used."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARACTERS:
            raise InvalidInput(f"a regular expression of more than {MOST_CHARACTERS} characters", value=text)
        self.text = text
        self._tests: list[_Test | None] = []  # of each state: what leads on; None where only free moves do
        self._next: list[list[int]] = []
        start, self._end = self._build(_Parser(text).parse())
        self._start = self._closure([start])
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, text: str) -> bool:
        """Whether the whole text is one that the expression describes."""
        states = self._start
        for character in text:
            known = self._steps.get((states, character))
            if known is None:
                known = self._step(states, character)
            states = known
            if not states:
                return False
        return self._end in states

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        led = [self._next[state][0] for state in states if (test := self._tests[state]) and test(character)]
        found = self._closure(led)
        if len(self._steps) >= _REMEMBERED:
            self._steps = {}
        self._steps[(states, character)] = found
        return found

    def _closure(self, states: Iterable[int]) -> frozenset[int]:
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state not in found:
                found.add(state)
                if self._tests[state] is None:
                    waiting.extend(self._next[state])
        return frozenset(found)

    def _state(self, test: _Test | None = None) -> int:
        if len(self._tests) >= MOST_STATES:
            raise InvalidInput("a regular expression that is too large", hint="Repeat less.", value=self.text)
        self._tests.append(test)
        self._next.append([])
        return len(self._tests) - 1

    def _build(self, tree: _Tree) -> tuple[int, int]:
        """The first and the last state of the automaton for that part."""
        kind, inner = tree
        if kind == "test":
            first, last = self._state(inner), self._state()
            self._next[first].append(last)
        elif kind == "repeat":
            first, last = self._repeat(*inner)
        elif kind == "any":
            first, last = self._state(), self._state()
            for branch in inner:
                begin, end = self._build(branch)
                self._next[first].append(begin)
                self._next[end].append(last)
        else:
            first = last = self._state()
            for part in inner:
                begin, end = self._build(part)
                self._next[last].append(begin)
                last = end
        return first, last

    def _repeat(self, part: _Tree, least: int, most: int | None) -> tuple[int, int]:
        first = last = self._state()
        for _ in range(least):
            begin, end = self._build(part)
            self._next[last].append(begin)
            last = end
        out = self._state()
        if most is None:
            begin, end = self._build(part)
            self._next[last].append(begin)
            self._next[end].extend((begin, out))
        for _ in range((most or least) - least):
            begin, end = self._build(part)
            self._next[last].extend((begin, out))
            last = end
        self._next[last].append(out)
        return first, out


class _Parser:
    """Reads an expression into a tree."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._fold = False

    def parse(self) -> _Tree:
        if self._text.startswith("(?i)"):
            self._at, self._fold = 4, True
        tree = self._branches(0)
        if self._at < len(self._text):
            raise self._refused("a ) without its (")
        return tree

    def _refused(self, reason: str) -> InvalidInput:
        return InvalidInput(f"not a regular expression: {reason}", hint=_HINT, value=self._text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._peek()
        self._at += 1
        return taken

    def _branches(self, depth: int) -> _Tree:
        if depth > _DEEPEST:
            raise self._refused("groups within groups too deep")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self._take()
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else ("any", branches)

    def _sequence(self, depth: int) -> _Tree:
        parts: list[_Tree] = []
        while self._peek() not in ("", "|", ")"):
            if self._peek() == "^" and not parts and depth == 0:
                self._take()  # all of the text is matched anyway
            elif self._peek() == "$" and depth == 0 and self._text[self._at + 1 : self._at + 2] in ("", "|"):
                self._take()
            else:
                parts.append(self._quantified(depth))
        return ("all", parts)

    def _quantified(self, depth: int) -> _Tree:
        tree = self._atom(depth)
        bounds = self._bounds()
        if bounds is None:
            return tree
        if self._peek() == "?":
            self._take()  # lazy or not, the same texts match
        if self._peek() in ("*", "+", "?") or self._is_count():
            raise self._refused("two repetitions in a row")
        return ("repeat", (tree, *bounds))

    def _bounds(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self._peek() in simple and self._peek():
            return simple[self._take()]
        if not self._is_count():
            return None
        inside, _, rest = self._text[self._at + 1 :].partition("}")
        self._at = len(self._text) - len(rest)
        low, comma, high = inside.partition(",")
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._refused(f"{{{inside}}} is no number of repetitions up to {MOST_REPEATS}")
        return least, most

    def _is_count(self) -> bool:
        inside, closed, _ = self._text[self._at + 1 : self._at + 12].partition("}")
        low, _, high = inside.partition(",")
        ascii_digits = all(c in string.digits for c in low + high)
        return self._peek() == "{" and bool(closed) and bool(low) and ascii_digits

    def _atom(self, depth: int) -> _Tree:
        character = self._take()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return ("test", self._class())
        if character == ".":
            return ("test", lambda found: found != "\n")
        if character == "\\":
            return ("test", self._escape())
        if character in "*+?^$":
            raise self._refused(
                f"{character} has nothing to stand behind" if character in "*+?" else f"a {character} inside"
            )
        return ("test", self._one_of(frozenset(character)))

    def _group(self, depth: int) -> _Tree:
        if self._peek() == "?":
            named = self._text[self._at :].startswith("?P<") and ">" in self._text[self._at :]
            if named:
                self._at = self._text.index(">", self._at) + 1
            elif self._text[self._at :].startswith("?:"):
                self._at += 2
            else:
                raise self._refused("look around and flags inside are not offered")
        inner = self._branches(depth + 1)
        if self._take() != ")":
            raise self._refused("a ( without its )")
        return inner

    def _escape(self) -> _Test:
        named, negated = self._escaped()
        if isinstance(named, str):
            return self._one_of(frozenset(named))
        return (lambda found: found not in named) if negated else (lambda found: found in named)

    def _escaped(self) -> tuple[frozenset[str] | str, bool]:
        character = self._take()
        if character.lower() in _CLASSES and character:
            return _CLASSES[character.lower()], character.isupper()
        if character in _CONTROLS and character:
            return _CONTROLS[character], False
        if not character or (character.isascii() and character.isalnum()):
            raise self._refused(f"\\{character} is not offered")
        return character, False

    def _one_of(self, characters: frozenset[str]) -> _Test:
        if self._fold:
            folded = frozenset(c for one in characters for c in (one, one.lower(), one.upper()))
            return lambda found: found in folded
        return lambda found: found in characters

    def _class(self) -> _Test:
        """A set in brackets, such as [^a-z_]."""
        negated = self._peek() == "^"
        self._at += negated
        tests: list[_Test] = []
        while self._peek() != "]" or not tests:
            if not self._peek():
                raise self._refused("a [ without its ]")
            tests.append(self._range())
        self._take()
        return lambda found: any(test(found) for test in tests) != negated

    def _range(self) -> _Test:
        first = self._take()
        if first == "\\":
            named, without = self._escaped()
            if not isinstance(named, str):
                return (lambda found: found not in named) if without else (lambda found: found in named)
            first = named
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return self._one_of(frozenset(first))
        self._take()
        last = self._take()
        if last == "\\":
            named, _ = self._escaped()
            last = named if isinstance(named, str) else ""
        if last < first:
            raise self._refused(f"{first}-{last} is no range")
        fold = self._fold
        return lambda found: (
            first <= found <= last or (fold and (first <= found.lower() <= last or first <= found.upper() <= last))
        )
