"""Secrets are used and never shown: not in a repr, an error, a log line, a row of the outbox or a message."""

from __future__ import annotations

import base64
import copy
import html
import json
import logging
import pickle
import string
from collections.abc import Callable
from operator import mod
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.receivers import Answer, HttpReceiver, sample, surroundings, until

from barograph.alerts.delivery.secrets import HIDDEN, MOST_BYTES, Secret, SecretSource, hide
from barograph.alerts.delivery.sender import Sender
from barograph.alerts.delivery.targets import Targets
from barograph.control.database import ControlPlane
from barograph.control.outbox import Outbox
from barograph.core.receiver_settings import (
    AppriseTarget,
    DeliverySettings,
    EmailTarget,
    PagerDutyTarget,
    ReceiverSettings,
    SlackTarget,
    TargetSettings,
    WebhookTarget,
)
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidSettings

HUSH = "hunter2-s3cr3t/T0KEN+x=="
QUICK = DeliverySettings(interval=0.01, first_wait=0.02, longest_wait=0.05)


def source(variable: str = "", file: str = "") -> SecretSource:
    return SecretSource(what="the token", settings="token_env and token_file", variable=variable, file=file)


class TestASecret:
    def test_shows_itself_nowhere(self) -> None:
        secret = Secret(HUSH)
        for told in (repr(secret), str(secret), f"{secret!r} {secret!s} {secret}", repr([secret]), mod("%s", secret)):
            assert HUSH not in told
        assert secret.reveal() == HUSH
        assert secret == Secret(HUSH) != Secret("other")
        for write in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not written anywhere"):
                write(secret)

    def test_is_read_from_a_variable_or_from_a_file_without_its_line_end(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text(HUSH + "\r\n")
        assert source(file=str(file)).read({}) == Secret(HUSH)
        assert source(variable="V").read({"V": HUSH}) == Secret(HUSH)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "is empty or not there"),
            (b"\n\n", "is empty or not there"),
            (HUSH.encode() + b"\r\nX-Evil: 1", "no secret of this kind has"),
            (HUSH.encode() + b"\x00", "no secret of this kind has"),
            (HUSH.encode() + b"\xff", "it is not text"),
            (HUSH.encode() * MOST_BYTES, "longer than any secret"),
        ],
    )
    def test_that_cannot_be_used_is_told_without_it(self, tmp_path: Path, content: bytes, told: str) -> None:
        file = tmp_path / "token"
        file.write_bytes(content)
        with pytest.raises(InvalidSettings, match=told) as refused:
            source(file=str(file)).read({})
        assert HUSH not in str(refused.value)
        assert "the token" in str(refused.value)

    def test_that_is_not_there_names_the_place(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSettings, match="the variable V is empty or not there"):
            source(variable="V").read({})
        with pytest.raises(InvalidSettings, match=r"cannot be read: No such file.*nowhere"):
            source(file=str(tmp_path / "nowhere")).read({})

    @pytest.mark.parametrize(("places", "told"), [({}, "nowhere"), ({"variable": "V", "file": "f"}, "twice")])
    def test_has_one_place_and_the_settings_for_it_are_named(self, places: dict[str, str], told: str) -> None:
        with pytest.raises(InvalidSettings, match=f"the token is given {told}") as refused:
            source(**places).read({"V": HUSH})
        assert "Give one of token_env and token_file" in str(refused.value.hint)

    def test_is_taken_out_of_what_the_other_side_says_in_every_form(self) -> None:
        url = f"https://hooks.example.org/services/T00/{quote(HUSH)}?key=abcdef"
        said = f"no {HUSH} no {quote(HUSH, safe='')} no services/T00/{quote(HUSH)} no key=abcdef"
        hidden = hide(said, [Secret(HUSH), Secret(url)])
        assert hidden == "no (hidden) no (hidden) no (hidden) no (hidden)"
        assert hide("a short one is in many words", [Secret("is")]) == "a short one is in many words"

    @given(
        st.text(string.printable[:95], min_size=8, max_size=40),
        st.sampled_from(
            [
                json.dumps,
                lambda text: json.dumps(json.dumps(text)),
                lambda text: json.dumps(text).replace("/", r"\/"),
                lambda text: "".join(f"\\u{ord(one):04X}" for one in text),
                html.escape,
                lambda text: "".join(f"&#{ord(one)};" for one in text),
                quote_plus,
                lambda text: quote(text, safe="").lower() if text == text.lower() else quote(text, safe=""),
                lambda text: quote(quote(text, safe=""), safe=""),
                lambda text: base64.b64encode(text.encode()).decode(),
                lambda text: base64.urlsafe_b64encode(f"me:{text}".encode()).decode(),
                lambda text: json.dumps(base64.b64encode(f"x{text}y".encode()).decode()).replace("/", r"\/"),
            ]
        ),
    )
    def test_is_found_however_the_other_side_writes_it(self, text: str, written: Callable[[str], str]) -> None:
        hidden = hide(f"bad token {written(text)}!", [Secret(text)])
        assert hidden.startswith("bad token ")
        assert len(hidden) <= len("bad token !") + len(HIDDEN) + 12  # quotes, and what Base64 joins with its neighbours
        assert HIDDEN in hidden

    def test_is_looked_for_in_a_text_made_to_be_hard_to_search(self) -> None:
        said = "\\" * 65_536 + "%25" * 20_000  # takes minutes where escapes may be of any length
        assert hide(said, [Secret('\\"%' * 20)]) == said


def echoing(receiver: HttpReceiver, status: int) -> None:
    """Repeat whatever was sent, as a service that reports a bad request might."""
    said = f"bad request: {HUSH} {quote(HUSH, safe='')} Bearer {HUSH} /hook/{quote(HUSH, safe='/+=')}"
    receiver.always = Answer(status, said.encode())


class TestNoOutputHoldsASecret:
    def targets(self, receiver: HttpReceiver) -> list[TargetSettings]:
        return [
            WebhookTarget(url_env="URL", secret_env="SECRET", token_env="SECRET"),
            SlackTarget(url_env="URL"),
            PagerDutyTarget(url=receiver.url, key_env="SECRET"),
            AppriseTarget(url_env="APPRISE"),
            EmailTarget(
                to=("a@example.org",), sender="b@example.org", host="127.0.0.1", port=1, user="me",
                password_env="SECRET", timeout=1.0,
            ),
        ]  # fmt: skip

    @pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # used by a plug-in of apprise
    @pytest.mark.parametrize("status", [400, 500])
    def test_whatever_goes_wrong(
        self, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with HttpReceiver() as receiver, ControlPlane(tmp_path / "control.db", SystemClock()) as plane:
            echoing(receiver, status)
            environment = {
                "URL": f"{receiver.url}/{quote(HUSH, safe='/+=')}",
                "SECRET": HUSH,
                "APPRISE": receiver.url.replace("http://", "json://") + f"/{quote(HUSH, safe='')}",
            }
            caplog.set_level(logging.DEBUG)
            around = surroundings(environment)
            receivers = [ReceiverSettings(name="team", targets=tuple(self.targets(receiver)))]
            targets = Targets(receivers, QUICK, around)
            outbox = Outbox(plane)
            sender = Sender(outbox, targets, QUICK, SystemClock())
            sender.start()
            sender.put([sample("k")])
            until(lambda: all(row.attempts for row in outbox.list()))
            sender.stop()
            told = [repr(receivers), repr(targets.by_id), repr(sender.status()), repr(outbox.list()), caplog.text]
            told += [*capfd.readouterr(), *(repr(vars(target.open())) for target in targets.by_id.values())]
            assert len(receiver.posts) >= 4
            assert all(row.last_error for row in outbox.list())
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        for form in (HUSH, quote(HUSH), quote(HUSH, safe="")):
            assert form.encode() not in stored
            assert not [text for text in told if form in text]


def test_a_secret_that_changed_is_used_without_a_restart_and_one_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-token")
    with HttpReceiver() as receiver:
        hook = WebhookTarget(url=receiver.url, token_file=str(token))
        target = Targets([ReceiverSettings(name="team", targets=(hook,))], QUICK, surroundings()).by_id["team/webhook"]
        target.open().send(sample())
        token.write_text("second-token")
        target.open().send(sample())
        assert [post.headers["Authorization"] for post in receiver.posts] == [
            "Bearer first-token",
            "Bearer second-token",
        ]
        token.unlink()
        with ControlPlane(tmp_path / "control.db", SystemClock()) as plane:
            outbox = Outbox(plane)
            token.write_text("third-token")
            sender = Sender(
                outbox,
                Targets([ReceiverSettings(name="team", targets=(hook,))], QUICK, surroundings()),
                QUICK,
                SystemClock(),
            )
            token.unlink()
            sender.start()
            sender.put([sample("k")])
            until(lambda: outbox.list()[0].attempts >= 1)
            assert "cannot be read: No such file" in outbox.list()[0].last_error
            token.write_text("third-token")
            until(lambda: outbox.list("sent"))
            sender.stop()
        assert receiver.posts[-1].headers["Authorization"] == "Bearer third-token"
