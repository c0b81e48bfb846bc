"""Matchers read what people write, refuse what nothing could match, and no expression can hold them up."""

from __future__ import annotations

import re
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.alerts.matcher import Matcher, Operator, all_match, parse_matcher, parse_matchers
from barograph.alerts.pattern import MOST_CHARACTERS, Pattern
from barograph_client.errors import InvalidInput

LABELS = {"alertname": "errors", "severity": "critical", "pipeline": "faq"}


class TestMatchers:
    @pytest.mark.parametrize(
        ("text", "matches"),
        [
            ('severity="critical"', True),
            ("severity=critical", True),
            (" severity = critical ", True),
            ('severity="crit"', False),
            ('severity!="critical"', False),
            ('severity!="info"', True),
            ('pipeline=~"faq|search"', True),
            ('pipeline=~"fa"', False),
            ('pipeline=~"fa.*"', True),
            ('pipeline!~"faq|search"', False),
            ('pipeline!~"fa"', True),
            ('nothing=""', True),
            ('nothing!=""', False),
            ('nothing=~".+"', False),
            ('nothing=~".*"', True),
            ('nothing!~".+"', True),
        ],
    )
    def test_44_four_operators_and_a_missing_label_is_the_empty_text(self, text: str, matches: bool) -> None:
        assert parse_matcher(text).matches(LABELS) is matches

    def test_all_of_several_must_match(self) -> None:
        assert all_match(parse_matchers(["severity=critical", 'pipeline=~"f.*"']), LABELS)
        assert not all_match(parse_matchers(["severity=critical", "pipeline=search"]), LABELS)
        assert all_match((), LABELS)

    @pytest.mark.parametrize(
        "text", ["", "severity", "=critical", '1a="b"', 'a="b', 'a=b"', 'a="b"c"', 'a="b\\"', "{a=b}"]
    )
    def test_that_are_none_are_refused_with_a_hint(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="matcher") as refused:
            parse_matcher(text)
        assert 'name="value"' in refused.value.hint

    @pytest.mark.parametrize("text", ["severity==critical", "severity == critical", 'severity=="critical"'])
    def test_two_equals_signs_are_refused_and_not_taken_for_a_value(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="one =") as refused:
            parse_matcher(text)
        assert 'severity="critical"' in refused.value.hint
        assert parse_matcher('severity="=critical"').value == "=critical"

    @given(st.sampled_from(get_args(Operator)), st.text(max_size=30))
    def test_are_read_back_from_their_text(self, operator: Operator, value: str) -> None:
        try:
            made = Matcher("name", operator, value)
        except InvalidInput:
            return
        assert parse_matcher(str(made)) == made
        assert parse_matcher(str(made)).value == value


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "text", "matches"),
        [
            ("", "", True),
            ("", "a", False),
            ("(?i)faq", "FaQ", True),
            ("(?i)[a-f]+", "CaFE", True),
            ("^a$|^b$", "b", True),
            (r"v\d+\.\d+", "v10.3", True),
            (r"[\w.-]+", "gpt-4.1", True),
            (r"[^\d]+", "abc1", False),
            (r"\D\W\S", "a-b", True),
            ("[]a]+", "a]", True),
            ("[a-]", "-", True),
            ("a{2}", "aa", True),
            ("a{2,}", "a", False),
            ("a{0,2}b", "aaab", False),
            ("(?:a|b)*?c", "abac", True),
            ("(?P<x>a)+", "aaa", True),
            ("(|a)*b", "aab", True),
            ("a{x", "a{x", True),
            ("ü+", "üü", True),
        ],
    )
    def test_match_the_whole_text(self, pattern: str, text: str, matches: bool) -> None:
        assert Pattern(pattern).matches(text) is matches

    @pytest.mark.parametrize(
        "pattern",
        ["(", ")", "a)", "[a", "*", "a**", "a{2}{3}", r"\1", r"\b", "(?=a)", "(?!a)", "(?<n>a)", "a{3,2}", "a{1001}",
         "[b-a]", r"a\Z", "\\", "x^y", "(" * 99 + ")" * 99, "a" * (MOST_CHARACTERS + 1), "((a{99}){99}){99}"],
    )  # fmt: skip
    def test_that_could_not_be_matched_safely_are_refused(self, pattern: str) -> None:
        with pytest.raises(InvalidInput, match="regular expression"):
            Pattern(pattern)

    @pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", ".*.*.*.*.*b", "(a?){30}a{30}b"])
    def test_none_can_hold_up_the_process(self, pattern: str) -> None:
        found = Pattern(pattern)
        began = time.perf_counter()
        assert not found.matches("a" * 4000)
        assert time.perf_counter() - began < 1.0  # backtracking would need longer than the universe is old

    @given(
        st.recursive(
            st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", ""]),
            lambda inner: (
                st.tuples(inner, inner).map("".join)
                | st.tuples(inner, inner).map(lambda both: f"(?:{both[0]}|{both[1]})")
                | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}"])).map(
                    lambda both: f"(?:{both[0]}){both[1]}"
                )
            ),
            max_leaves=8,
        ),
        st.text("ab1\n", max_size=8),
    )
    def test_say_what_python_s_own_say(self, pattern: str, text: str) -> None:
        assert Pattern(pattern).matches(text) == bool(re.fullmatch(pattern, text))
