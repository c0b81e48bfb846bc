"""Settings of receivers: who is told of alerts, and by which ways.

A receiver has targets; each is one address that is reached, or fails, on its own. Secrets are never written here: a
setting ``…_env`` names the environment variable that holds one, ``…_file`` the file. Read by ``alerts/delivery``.
"""

from __future__ import annotations

from typing import Annotated as A
from typing import Literal

from msgspec import Meta as M
from msgspec import Struct

_NAME = M(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$", description="Tells the targets of a receiver apart; its type")
_PORT = M(ge=1, le=65535, description="Port")
_SECONDS = M(gt=0, le=120, description="An attempt may take so long")

Url = A[str, M(max_length=2048)]
Variable = A[str, M(max_length=256)]


class LogTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="log", tag_field="type"):
    """One line in the log."""

    name: A[str, _NAME] = "log"


class TerminalTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="terminal", tag_field="type"):
    """The whole message on standard error."""

    name: A[str, _NAME] = "terminal"


class WebhookTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook", tag_field="type"):
    """A POST of JSON, in the form that Alertmanager sends."""

    name: A[str, _NAME] = "webhook"
    url: A[Url, M(description="Where to; http or https. One that holds a token goes into url_env or url_file")] = ""
    url_env: A[Variable, M(description="Or the variable that holds the URL")] = ""
    url_file: A[Url, M(description="Or the file that holds the URL")] = ""
    secret_env: A[Variable, M(description="Variable with the secret that signs each message")] = ""
    secret_file: A[Url, M(description="Or the file with it")] = ""
    token_env: A[Variable, M(description="Variable with a token, sent as Authorization: Bearer")] = ""
    token_file: A[Url, M(description="Or the file with it")] = ""
    ca_file: A[Url, M(description="Certificates to trust instead of the system's")] = ""
    timeout: A[float, _SECONDS] = 10.0


class EmailTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="email", tag_field="type"):
    """Mail over SMTP, a message of its own to each address."""

    name: A[str, _NAME] = "email"
    to: A[tuple[A[str, M(min_length=3, max_length=254)], ...], M(min_length=1, description="Addresses")]
    sender: A[str, M(min_length=3, max_length=254, description="The address it comes from")]
    host: A[str, M(min_length=1, max_length=253, description="The mail server")]
    port: A[int, _PORT] = 587
    security: A[
        Literal["starttls", "tls", "none"],
        M(description="starttls: asked for, else nothing is sent. tls: from the first byte. none: in plain"),
    ] = "starttls"
    user: A[str, M(max_length=254, description="Who logs in; nobody when it is empty")] = ""
    password_env: A[Variable, M(description="Variable with the password")] = ""
    password_file: A[Url, M(description="Or the file with it")] = ""
    ca_file: A[Url, M(description="Certificates to trust instead of the system's")] = ""
    timeout: A[float, _SECONDS] = 20.0


class SlackTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="slack", tag_field="type"):
    """An incoming webhook of Slack, or of what understands the same."""

    name: A[str, _NAME] = "slack"
    url_env: A[Variable, M(description="Variable with the webhook's URL, which is a secret")] = ""
    url_file: A[Url, M(description="Or the file with it")] = ""
    ca_file: A[Url, M(description="Certificates to trust instead of the system's")] = ""
    timeout: A[float, _SECONDS] = 10.0


class PagerDutyTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="pagerduty", tag_field="type"):
    """An integration of PagerDuty by its Events API, version 2."""

    name: A[str, _NAME] = "pagerduty"
    key_env: A[Variable, M(description="Variable with the integration's routing key")] = ""
    key_file: A[Url, M(description="Or the file with it")] = ""
    url: A[Url, M(description="The API; https://events.eu.pagerduty.com/v2/enqueue in the EU")] = (
        "https://events.pagerduty.com/v2/enqueue"
    )
    ca_file: A[Url, M(description="Certificates to trust instead of the system's")] = ""
    timeout: A[float, _SECONDS] = 10.0


class AppriseTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="apprise", tag_field="type"):
    """One of the services that the package `apprise` reaches (extra `apprise`)."""

    name: A[str, _NAME] = "apprise"
    url_env: A[Variable, M(description="Variable with the service's Apprise URL, which is a secret")] = ""
    url_file: A[Url, M(description="Or the file with it")] = ""


TargetSettings = (
    LogTarget | TerminalTarget | WebhookTarget | EmailTarget | SlackTarget | PagerDutyTarget | AppriseTarget
)


class ReceiverSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told: all its targets are."""

    name: A[str, M(min_length=1, max_length=128, description="Unique; routes name it")]
    send_resolved: A[bool, M(description="Tell also that alerts are over")] = True
    targets: A[tuple[TargetSettings, ...], M(max_length=32, description="Ways to reach it; none keeps silent")] = ()


class DeliverySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard to try. Times are in seconds."""

    interval: A[float, M(gt=0, le=60, description="Between looks for what is due")] = 0.25
    first_wait: A[float, M(gt=0, le=60, description="After a first failure at most; doubled with each one more")] = 1.0
    longest_wait: A[float, M(gt=0, le=3600, description="Between two attempts at most")] = 60.0
    asked_wait: A[float, M(gt=0, le=3600, description="What a target may ask for at most, by Retry-After")] = 900.0
    give_up: A[float, M(gt=0, le=30 * 86400, description="Something not delivered after so long has failed")] = 86400.0
    keep: A[float, M(ge=3600, le=366 * 86400, description="What was sent or failed is remembered for")] = 7 * 86400.0
    external_url: A[Url, M(description="Where people find this Barograph; linked from messages")] = ""
