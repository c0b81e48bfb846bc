"""Mail reaches each address once or says why not; no text gets into its headers or its markup as anything but text."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from email.headerregistry import Address
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec import structs
from tests.support.receivers import AT, SmtpReceiver, alert, certificate, sample, surroundings

from barograph.alerts.delivery.outcome import SENT, Channel
from barograph.alerts.delivery.targets import Targets
from barograph.core.receiver_settings import DeliverySettings, EmailTarget, ReceiverSettings
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidSettings

HOSTILE = "x\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script><img src=//evil>\u202e\x00"
PASSWORD = "correct-horse-battery"


@pytest.fixture
def server() -> Iterator[SmtpReceiver]:
    with SmtpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate's file and a server's context with it."""
    return certificate(tmp_path_factory.mktemp("tls"))


def channel(port: int, **more: object) -> Channel:
    plain = EmailTarget(to=("ops@example.org",), sender="barograph@example.org", host="127.0.0.1", security="none")
    target = structs.replace(plain, port=port, **{"timeout": 5.0, **more})
    around = surroundings({"P": PASSWORD}, ManualClock(AT))
    settings = DeliverySettings(external_url="https://barograph.example.org/")
    (made,) = Targets([ReceiverSettings(name="team", targets=(target,))], settings, around).by_id.values()
    return made.open()


class TestTheMail:
    def test_has_a_text_and_a_simple_page_that_say_the_same(self, server: SmtpReceiver) -> None:
        assert channel(server.port).send(sample()) == SENT
        (mail,) = server.mails
        assert (mail.sender, mail.recipients) == ("barograph@example.org", ["ops@example.org"])
        message = mail.message
        assert message["Subject"] == "Critical: slow answers (model=gpt, project=default)"
        assert message["To"].addresses == (Address(addr_spec="ops@example.org"),)
        assert message["Auto-Submitted"] == "auto-generated"
        assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
        for part in message.iter_parts():
            told = part.get_content()
            for text in ("p95 of the response time is 12.3 s", "Since 2026-11-28 11:50:00 UTC", "Why now: 1 new alert"):
                assert text in told

    def test_of_one_notification_has_one_id_and_those_of_a_group_are_one_thread(self, server: SmtpReceiver) -> None:
        made = channel(server.port)
        for key in ("k1", "k1", "k2"):
            assert made.send(sample(key)) == SENT
        first, again, other = (mail.message for mail in server.mails)
        assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
        assert first["References"] == other["References"]

    def test_takes_no_header_from_a_label(self, server: SmtpReceiver) -> None:
        hostile = sample(HOSTILE, HOSTILE, alerts=(alert(HOSTILE, query=HOSTILE),), reason=HOSTILE)
        assert channel(server.port).send(hostile) == SENT
        (mail,) = server.mails
        assert mail.recipients == ["ops@example.org"]
        assert mail.message["Bcc"] is None
        head = mail.data.partition(b"\r\n\r\n")[0]
        assert b"\r\nBcc" not in head
        assert "Bcc: all@example.org" in mail.message["Subject"]

    def test_takes_no_markup_from_a_label(self, server: SmtpReceiver) -> None:
        runbook = {"runbook_url": 'javascript:alert("1")', "summary": HOSTILE}
        told = alert(HOSTILE, query=HOSTILE)
        hostile = type(told)(labels=told.labels, annotations=runbook, starts_at=AT, updated_at=AT)
        channel(server.port).send(sample(alerts=(hostile,), reason=HOSTILE))
        page = next(part for part in server.mails[0].message.iter_parts() if part.get_content_subtype() == "html")
        tags: list[str] = []
        links: list[str | None] = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                tags.append(tag)
                links.extend(value for name, value in attrs if name in ("href", "src"))

        Reader().feed(page.get_content())
        assert set(tags) <= {"html", "head", "meta", "body", "h2", "p", "b", "br", "a"}
        assert links == ["https://barograph.example.org/"]

    def test_stays_small_whatever_is_in_it(self, server: SmtpReceiver) -> None:
        many = tuple(alert("&" * 9000, model=f"{i}" * 3000) for i in range(500))
        assert channel(server.port).send(sample(alerts=many, truncated=1500)) == SENT
        assert len(server.mails[0].data) < 100_000
        assert "and 1,980 more alerts of this group" in server.mails[0].message.as_string()

    def test_with_lines_that_begin_with_a_dot_arrives_whole(self, server: SmtpReceiver) -> None:
        assert channel(server.port).send(sample(reason=". . . and one more", status="resolved")) == SENT
        assert ". . . and one more" in server.mails[0].message.as_string()


class TestTheServer:
    @pytest.mark.parametrize(
        ("verb", "answer", "kind"),
        [
            ("RCPT", "550 no such user", "refused"),
            ("RCPT", "451 come again", "later"),
            ("MAIL", "553 not you", "refused"),
            ("MAIL", "421 too busy", "later"),
            ("DATA", "554 no", "refused"),
            ("taken", "552 too large", "refused"),
            ("taken", "452 disk full", "later"),
            ("banner", "554 go away", "refused"),
            ("banner", "421 too busy", "later"),
        ],
    )
    def test_s_permanent_errors_are_refused_and_its_others_may_be_over_later(
        self, server: SmtpReceiver, verb: str, answer: str, kind: str
    ) -> None:
        server.answers[verb] = answer
        outcome = channel(server.port).send(sample())
        assert outcome.kind == kind
        assert answer in outcome.error
        assert f"127.0.0.1:{server.port}: " in outcome.error

    def test_that_falls_silent_is_waited_for_no_longer_than_the_attempt_may_take(self, server: SmtpReceiver) -> None:
        server.silent_after = "RCPT"
        outcome = channel(server.port, timeout=0.3).send(sample())
        assert (outcome.kind, outcome.error.partition(": ")[2]) == ("later", "no answer in 0.3 s")

    def test_that_hangs_up_before_saying_that_it_took_the_mail_gets_it_again_with_the_same_id(
        self, server: SmtpReceiver
    ) -> None:
        server.hang_up_after_data = 1
        made = channel(server.port)
        assert made.send(sample()).kind == "later"
        assert made.send(sample()) == SENT
        first, second = (mail.message["Message-ID"] for mail in server.mails)
        assert first == second

    def test_that_takes_the_mail_and_then_says_no_farewell_has_it(self, server: SmtpReceiver) -> None:
        server.answers["QUIT"] = "500 what"
        assert channel(server.port).send(sample()) == SENT

    def test_that_is_not_there_may_be_there_later(self, server: SmtpReceiver) -> None:
        made = channel(server.port)
        server.__exit__(None, None, None)
        assert made.send(sample()).kind == "later"


class TestSecrecy:
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_the_password_goes_over_tls_only(self, tls: tuple[Path, ssl.SSLContext], wrapped: bool) -> None:
        chain, context = tls
        security = "tls" if wrapped else "starttls"
        with SmtpReceiver(tls=context, wrapped=wrapped) as server:
            more = {"security": security, "user": "me", "password_env": "P"}
            assert channel(server.port, ca_file=str(chain), **more).send(sample()) == SENT
            assert server.logins == [("me", PASSWORD)]
            assert len(server.mails) == 1
            refused = channel(server.port, **more).send(sample())
            assert refused.kind == "later"
            assert "certificate is not trusted" in refused.error
            assert len(server.logins) == 1

    def test_a_server_without_starttls_gets_nothing(self, server: SmtpReceiver) -> None:
        outcome = channel(server.port, security="starttls", user="me", password_env="P").send(sample())
        assert outcome.kind == "refused"
        assert "STARTTLS" in outcome.error
        assert (server.logins, server.mails) == ([], [])

    def test_a_password_is_refused_for_a_connection_in_plain(self) -> None:
        with pytest.raises(InvalidSettings, match="not sent over a connection in plain"):
            channel(25, user="me", password_env="P")
        with pytest.raises(InvalidSettings, match="a user and a password, or neither"):
            channel(25, user="me", security="tls")

    def test_what_the_server_says_of_a_wrong_password_is_not_repeated(self, tls: tuple[Path, ssl.SSLContext]) -> None:
        chain, context = tls
        with SmtpReceiver(tls=context, wrapped=True) as server:
            server.answers["AUTH"] = f"535 wrong: {PASSWORD}"
            made = channel(server.port, ca_file=str(chain), security="tls", user="me", password_env="P")
            outcome = made.send(sample())
        assert outcome.kind == "refused"
        assert "refused user and password: 535" in outcome.error
        assert PASSWORD not in outcome.error

    @pytest.mark.parametrize("address", ["a", "a@b\r\nBcc: c@d", "A <a@b>", "a@b, c@d", "@b", "a@b ", "ü@b", "a@-"])
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(InvalidSettings, match="not an e-mail address"):
            channel(25, to=(address,))
        with pytest.raises(InvalidSettings, match="not an e-mail address"):
            channel(25, sender=address)
