"""Each channel says to its service what the service understands, and nothing that a label could smuggle in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.receivers import AT, Answer, HttpReceiver, alert, certificate, sample, surroundings

from barograph.alerts.delivery.channels.apprise import AppriseChannel
from barograph.alerts.delivery.channels.http import parse_endpoint
from barograph.alerts.delivery.channels.log import LogChannel, TerminalChannel
from barograph.alerts.delivery.channels.pagerduty import MOST_DEDUP_KEY, dedup_key
from barograph.alerts.delivery.channels.slack import MOST_BLOCKS
from barograph.alerts.delivery.channels.webhook import sign
from barograph.alerts.delivery.outcome import SENT, Channel
from barograph.alerts.delivery.secrets import Secret
from barograph.alerts.delivery.targets import Targets
from barograph.core.receiver_settings import (
    AppriseTarget,
    DeliverySettings,
    PagerDutyTarget,
    ReceiverSettings,
    SlackTarget,
    TargetSettings,
    WebhookTarget,
)
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidSettings
from barograph_client.exchange import asked_wait

LINK = "https://barograph.example.org/"
HOSTILE = "<!channel> <script>alert(1)</script> &lt; \x1b[31m\u202egnp.exe\n\r*bold* `x` |y"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as made:
        yield made


def channel(target: TargetSettings, **environment: str) -> Channel:
    settings = DeliverySettings(external_url=LINK)
    around = surroundings(environment, ManualClock(AT))
    (made,) = Targets([ReceiverSettings(name="team", targets=(target,))], settings, around).by_id.values()
    return made.open()


class TestTheWebhook:
    def test_without_an_address_says_which_settings_may_have_it(self) -> None:
        with pytest.raises(InvalidSettings, match="the URL of webhook of receiver team is given nowhere") as refused:
            channel(WebhookTarget())
        assert str(refused.value.hint).startswith("Give one of url, url_env and url_file;")

    def test_54_body_has_exactly_the_keys_of_alertmanager_s_version_4(self, receiver: HttpReceiver) -> None:
        mixed = (alert(model="gpt"), alert(resolved=True, model="llama"))
        assert channel(WebhookTarget(url=receiver.url)).send(sample(alerts=mixed, truncated=7)) == SENT
        (post,) = receiver.posts
        assert post.headers["Content-Type"] == "application/json"
        body = post.json
        assert list(body) == [
            "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
            "commonAnnotations", "externalURL", "alerts",
        ]  # fmt: skip
        assert (body["version"], body["groupKey"], body["truncatedAlerts"]) == ("4", "g1", 7)
        assert (body["status"], body["receiver"], body["externalURL"]) == ("firing", "team", LINK)
        assert body["groupLabels"] == {"alertname": "slow answers"}
        assert body["commonLabels"] == {"alertname": "slow answers", "severity": "critical", "project": "default"}
        firing, resolved = body["alerts"]
        for told in body["alerts"]:
            assert list(told) == [
                "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
            ]  # fmt: skip
        assert (firing["status"], firing["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
        assert (resolved["status"], resolved["endsAt"]) == ("resolved", "2026-11-28T11:59:00Z")
        assert firing["startsAt"] == "2026-11-28T11:50:00Z"
        assert firing["labels"]["model"] == "gpt"
        assert firing["fingerprint"] == mixed[0].fingerprint

    def test_54_an_alert_that_ends_by_itself_later_still_fires(self, receiver: HttpReceiver) -> None:
        from_outside = alert()
        until_later = type(from_outside)(
            labels=from_outside.labels, starts_at=AT, ends_at=AT + timedelta(minutes=5), updated_at=AT
        )
        channel(WebhookTarget(url=receiver.url)).send(sample(alerts=(until_later,)))
        (told,) = receiver.posts[0].json["alerts"]
        assert (told["status"], told["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")

    def test_carries_its_key_and_a_signature_with_a_time(self, receiver: HttpReceiver) -> None:
        made = channel(WebhookTarget(url=receiver.url, secret_env="S", token_env="T"), S="signing-key", T="let-me-in")
        made.send(sample("the-key"))
        made.send(sample("the-key"))
        for post in receiver.posts:
            assert post.headers["Idempotency-Key"] == post.headers["webhook-id"] == "the-key"
            assert post.headers["Authorization"] == "Bearer let-me-in"
            timestamp = post.headers["webhook-timestamp"]
            assert int(timestamp) == AT.timestamp()
            signed = b"the-key." + timestamp.encode() + b"." + post.body
            expected = base64.b64encode(hmac.new(b"signing-key", signed, hashlib.sha256).digest()).decode()
            assert post.headers["webhook-signature"] == f"v1,{expected}"
        assert receiver.posts[0].body == receiver.posts[1].body

    def test_signs_with_a_secret_as_standard_webhooks_writes_it(self, receiver: HttpReceiver) -> None:
        # The example of the specification: https://github.com/standard-webhooks/standard-webhooks, its test vector.
        key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        encoded = "whsec_" + base64.b64encode(b"raw").decode()
        channel(WebhookTarget(url=receiver.url, secret_env="S"), S=encoded).send(sample("k"))
        post = receiver.posts[0]
        assert post.headers["webhook-signature"] == sign(b"raw", "k", int(AT.timestamp()), post.body)
        with pytest.raises(InvalidSettings, match="not base64"):
            channel(WebhookTarget(url=receiver.url, secret_env="S"), S="whsec_!!")

    def test_key_that_no_header_can_carry_is_sent_as_a_hash(self, receiver: HttpReceiver) -> None:
        made = channel(WebhookTarget(url=receiver.url))
        for key in ("a b\r\nX-Evil: 1", "ü", "k" * 300, "\ud800"):
            assert made.send(sample(key)) == SENT
        assert all(len(key) == 64 and key.isalnum() for key in receiver.received())
        assert len(set(receiver.received())) == 4
        assert not any("X-Evil" in post.headers for post in receiver.posts)

    def test_labels_are_told_to_programs_as_they_are(self, receiver: HttpReceiver) -> None:
        told = HOSTILE + "\ud800"
        channel(WebhookTarget(url=receiver.url)).send(sample(alerts=(alert(query=told),)))
        assert receiver.posts[0].json["alerts"][0]["labels"]["query"] == told


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "ftp://h/x", "file:///etc/passwd", "gopher://h", "h/x", "http://", "http:///x", "http://u:p@h/x", "http://h:99999/",
            "http://h/a b", "http://h/\r\nX: y", "http://h/\u00fc", "http://[::1", "javascript:alert(1)", "unix:/x",
        ],
    )  # fmt: skip
    def test_other_than_http_and_https_without_a_user_are_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(InvalidSettings) as refused:
            parse_endpoint(Secret(url), "the URL")
        assert url not in str(refused.value)
        assert "u:p" not in str(refused.value)

    def test_keep_path_and_query(self) -> None:
        endpoint = parse_endpoint(Secret("https://[::1]/a/b?c=d&e=f#g"), "the URL")
        assert (endpoint.address.host, endpoint.address.port, endpoint.target) == ("::1", 443, "/a/b?c=d&e=f")

    def test_redirects_are_not_followed(self, receiver: HttpReceiver) -> None:
        with HttpReceiver() as elsewhere:
            receiver.always = Answer(307, headers={"Location": elsewhere.url})
            outcome = channel(WebhookTarget(url=receiver.url)).send(sample())
            assert outcome.kind == "refused"
            assert "a redirect, which is not followed" in outcome.error
            assert elsewhere.url not in outcome.error
            assert elsewhere.posts == []

    def test_of_https_are_for_servers_whose_certificate_is_trusted(self, tmp_path: Path) -> None:
        chain, context = certificate(tmp_path)
        with HttpReceiver(context) as receiver:
            assert channel(WebhookTarget(url=receiver.url, ca_file=str(chain))).send(sample()) == SENT
            outcome = channel(WebhookTarget(url=receiver.url)).send(sample())
            assert outcome.kind == "later"
            assert "its certificate is not trusted" in outcome.error
            assert len(receiver.posts) == 1
        with pytest.raises(InvalidSettings, match="trusted certificates cannot be used"):
            channel(WebhookTarget(url=receiver.url, ca_file=str(tmp_path / "nowhere")))

    def test_are_reached_through_the_proxy_of_the_environment(self, receiver: HttpReceiver) -> None:
        proxy = receiver.url.removesuffix("/hook")
        assert channel(WebhookTarget(url="http://example.org/hook?a=b"), http_proxy=proxy).send(sample()) == SENT
        (post,) = receiver.posts
        assert (post.path, post.headers["Host"]) == ("http://example.org:80/hook?a=b", "example.org:80")

    def test_retry_after_is_read_as_seconds_or_as_a_date(self) -> None:
        assert asked_wait("120", AT) == 120.0
        assert asked_wait("Sat, 28 Nov 2026 12:01:00 GMT", AT) == 60.0
        assert asked_wait("Sat, 28 Nov 2026 11:00:00 GMT", AT) == 0.0
        for nonsense in ("", "-5", "soon", "1e9", "9" * 50, "Sat, 99 Nov 2026"):
            assert asked_wait(nonsense, AT) == 0.0


class TestSlack:
    def made(self, receiver: HttpReceiver) -> Channel:
        return channel(SlackTarget(url_env="U"), U=receiver.url)

    def test_text_comes_first_and_says_it_all(self, receiver: HttpReceiver) -> None:
        assert self.made(receiver).send(sample()) == SENT
        body = receiver.posts[0].json
        assert list(body) == ["text", "blocks"]
        assert "Critical: slow answers" in body["text"]
        assert "Why now: 1 new alert" in body["text"]
        whole = json.dumps(body["blocks"])
        assert "p95 of the response time is 12.3 s" in whole
        assert "<https://example.org/runbooks/slow?a=1&amp;b=2|What to do>" in whole
        assert f"<{LINK}|Open Barograph>" in whole

    def test_no_label_mentions_a_channel_or_makes_a_link(self, receiver: HttpReceiver) -> None:
        self.made(receiver).send(sample(alerts=(alert(HOSTILE, model=HOSTILE),), reason=HOSTILE))
        body = receiver.posts[0].body.decode()
        assert "<!" not in body
        assert "<script" not in body
        assert "&lt;!channel&gt;" in body
        assert "\\u202e" not in body
        assert "\\u001b" not in body

    def test_stays_within_what_slack_takes(self, receiver: HttpReceiver) -> None:
        many = tuple(alert("&" * 5000, model=f"{i}" * 3000) for i in range(200))
        assert self.made(receiver).send(sample(alerts=many)) == SENT
        body = receiver.posts[0].json
        assert len(body["blocks"]) <= MOST_BLOCKS
        assert len(body["text"]) <= 3000
        assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"] if block["type"] == "section")
        assert not body["text"].rstrip("…").endswith("&")

    def test_is_sent_as_text_when_the_blocks_are_refused(self, receiver: HttpReceiver) -> None:
        receiver.script.append(Answer(400, b"invalid_blocks"))
        assert self.made(receiver).send(sample()) == SENT
        assert [list(post.json) for post in receiver.posts] == [["text", "blocks"], ["text"]]

    def test_a_webhook_that_is_gone_is_refused_with_slack_s_word(self, receiver: HttpReceiver) -> None:
        receiver.always = Answer(404, b"no_service")
        outcome = self.made(receiver).send(sample())
        assert (outcome.kind, "answered 404: no_service" in outcome.error) == ("refused", True)
        assert len(receiver.posts) == 1


class TestPagerDuty:
    def made(self, receiver: HttpReceiver) -> Channel:
        receiver.always = Answer(202, b'{"status":"success"}')
        return channel(PagerDutyTarget(url=receiver.url, key_env="K"), K="routing-key")

    @pytest.mark.parametrize("severity", ["critical", "warning", "info", "unheard of"])
    def test_a_group_is_one_incident_that_is_opened_and_closed(self, receiver: HttpReceiver, severity: str) -> None:
        made = self.made(receiver)
        assert made.send(sample("k1", alerts=(alert(severity=severity),))) == SENT
        assert made.send(sample("k2", status="resolved")) == SENT
        opened, closed = (post.json for post in receiver.posts)
        assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
        assert opened["dedup_key"] == closed["dedup_key"] == "g1"
        assert opened["routing_key"] == closed["routing_key"] == "routing-key"
        payload = opened["payload"]
        assert payload["severity"] == (severity if severity in ("critical", "warning", "info") else "warning")
        assert payload["source"] == "default"
        assert payload["timestamp"] == "2026-11-28T11:50:00Z"
        assert opened["links"][0]["href"] == "https://example.org/runbooks/slow?a=1&b=2"
        assert "12.3 s" in payload["custom_details"]["message"]

    def test_texts_and_keys_are_bounded(self, receiver: HttpReceiver) -> None:
        many = tuple(alert("n" * 9000, model=f"{i}" * 3000) for i in range(300))
        self.made(receiver).send(sample(group="g" * 5000, alerts=many))
        event = receiver.posts[0].json
        assert len(event["dedup_key"]) <= MOST_DEDUP_KEY
        assert len(event["payload"]["summary"]) <= 1024
        assert len(receiver.posts[0].body) < 100_000
        assert dedup_key("g" * 256) != dedup_key("g" * 257)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # used by a plug-in of apprise
class TestApprise:
    def test_hands_the_message_to_the_service_once(self, receiver: HttpReceiver) -> None:
        made = channel(AppriseTarget(url_env="U"), U=receiver.url.replace("http://", "json://"))
        assert made.send(sample()) == SENT
        (post,) = receiver.posts
        assert post.json["title"] == "Critical: slow answers (model=gpt, project=default)"
        assert post.json["type"] == "failure"
        assert "p95 of the response time is 12.3 s" in post.json["message"]

    def test_a_failure_is_one_attempt_and_may_be_tried_again(self, receiver: HttpReceiver) -> None:
        receiver.always = Answer(500)
        outcome = channel(AppriseTarget(url_env="U"), U=receiver.url.replace("http://", "json://")).send(sample())
        assert outcome.kind == "later"
        assert len(receiver.posts) == 1

    @pytest.mark.parametrize("url", ["nosuchservice://token-abcdef", "json://one-host/ json://other-host/", "x"])
    def test_what_is_no_single_service_is_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(InvalidSettings, match="names no single service") as refused:
            channel(AppriseTarget(url_env="U"), U=url)
        assert url not in str(refused.value)

    def test_without_the_package_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "apprise", None)
        with pytest.raises(InvalidSettings, match=r"pip install 'barograph\[apprise\]'"):
            AppriseChannel(Secret("json://localhost"), LINK)


class TestLogAndTerminal:
    def test_the_log_gets_one_clean_line_at_the_level_of_the_worst(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "barograph.alerts"):
            made = LogChannel(logging.getLogger("barograph.alerts"))
            assert made.send(sample(alerts=(alert(HOSTILE, severity="warning"),))) == SENT
            assert made.send(sample(status="resolved")) == SENT
        warned, resolved = caplog.records
        assert (warned.levelno, resolved.levelno) == (logging.WARNING, logging.INFO)
        assert warned.getMessage().isprintable()
        assert "Why now: 1 new alert" in warned.getMessage()

    def test_a_terminal_gets_the_message_and_nothing_that_steers_it(self) -> None:
        stream = io.StringIO()
        assert TerminalChannel(stream, LINK).send(sample(alerts=(alert(HOSTILE, query=HOSTILE),))) == SENT
        told = stream.getvalue()
        assert told.replace("\n", "").isprintable()
        assert "Since 2026-11-28 11:50:00 UTC" in told
        assert "Next: 2026-11-28 16:00:00 UTC, unless something changes before" in told

    def test_a_terminal_that_knows_ascii_only_gets_question_marks(self) -> None:
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as stream:
            assert TerminalChannel(stream).send(sample(alerts=(alert("größer"),))) == SENT
            assert b"gr??er" in raw.getvalue()

    def test_a_terminal_that_is_closed_may_be_there_again_later(self) -> None:
        stream = io.StringIO()
        stream.close()
        assert TerminalChannel(stream).send(sample()).kind == "later"
