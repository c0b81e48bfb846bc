"""A notification as a mail to one address: plain text and a simple page, over SMTP.

Headers are made by the standard library's ``EmailMessage``, which refuses line breaks, of texts that have none. The
``Message-ID`` is made of the notification's key, so that a mail server can know a double; all mails of a group refer
to one id and are shown as one thread.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.channels.deadline import Deadline
from barograph.alerts.delivery.channels.http import tls_context
from barograph.alerts.delivery.message import compose
from barograph.alerts.delivery.outcome import SENT, Outcome
from barograph.alerts.delivery.secrets import Secret, hide
from barograph.core.receiver_settings import EmailTarget
from barograph_client.clock import Clock
from barograph_client.errors import InvalidSettings, shorten

_ADDRESS = re.compile(r"[!#-'*+/-9=?A-Z^-~-]+(\.[!#-'*+/-9=?A-Z^-~-]+)*@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_HINT = "It looks like somebody@example.org, without a name and without angle brackets."


class EmailChannel:
    """Mail to ``recipient``, one of the target's addresses. Raises InvalidSettings."""

    def __init__(
        self, settings: EmailTarget, recipient: str, clock: Clock, *, password: Secret | None, external_url: str
    ) -> None:
        for address in (recipient, settings.sender):
            if not _ADDRESS.fullmatch(address):
                raise InvalidSettings("not an e-mail address", hint=_HINT, value=address)
        if settings.user and settings.security == "none":
            raise InvalidSettings(
                "a password is not sent over a connection in plain", hint="Set security to starttls or tls."
            )
        self._settings = settings
        self._recipient = recipient
        self._clock = clock
        self._password = password
        self._external_url = external_url
        self._context = None if settings.security == "none" else tls_context(settings.ca_file)
        self._where = f"{settings.host}:{settings.port}"

    def send(self, notification: Notification) -> Outcome:
        """Hand the mail to the server once. What SMTP calls permanent (5xx) is refused, all else may be over later."""
        mail = self.mail(notification)
        try:
            self._hand_over(mail)
        except smtplib.SMTPRecipientsRefused as error:
            return self._answered(*error.recipients[self._recipient], "refused the recipient")
        except smtplib.SMTPAuthenticationError as error:
            return self._answered(error.smtp_code, b"", "refused user and password")
        except smtplib.SMTPResponseException as error:
            return self._answered(error.smtp_code, error.smtp_error, "answered")
        except smtplib.SMTPNotSupportedError as error:
            return Outcome("refused", self._told(f"cannot do what is needed: {error}"))
        except ssl.SSLCertVerificationError as error:
            return Outcome("later", self._told(f"its certificate is not trusted: {error.verify_message}"))
        except TimeoutError:
            return Outcome("later", self._told(f"no answer in {self._settings.timeout:g} s"))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Outcome("later", self._told(told or type(error).__name__))
        return SENT

    def mail(self, notification: Notification) -> EmailMessage:
        """The mail as it is sent, the same for every attempt but for its date."""
        message = compose(notification, self._external_url)
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["Subject"] = message.title
        mail["From"] = self._settings.sender
        mail["To"] = self._recipient
        mail["Date"] = self._clock.now()
        mail["Message-ID"] = self._id(f"{notification.key}\n{self._recipient}")
        mail["References"] = self._id(notification.group_key)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail

    def _id(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:40]
        return f"<{digest}@{self._settings.sender.partition('@')[2]}>"

    def _hand_over(self, mail: EmailMessage) -> None:
        settings = self._settings
        with Deadline(settings.timeout) as deadline:
            try:
                session = _Session(settings, self._context)
                try:
                    deadline.hold(session.sock)
                    session.greet()
                    if settings.security == "starttls" and self._context is not None:
                        session.starttls(context=self._context)
                        deadline.hold(session.sock)
                    if self._password is not None:
                        session.login(settings.user, self._password.reveal())
                    session.send_message(mail, settings.sender, [self._recipient])
                    with suppress(OSError, smtplib.SMTPException):  # it was taken; a bad farewell changes nothing
                        session.quit()
                finally:
                    session.close()
            except (OSError, smtplib.SMTPServerDisconnected) as error:
                if deadline.over or isinstance(error.__context__, TimeoutError):  # smtplib makes one of the other
                    raise TimeoutError from None
                raise

    def _answered(self, code: int, text: bytes | str, what: str) -> Outcome:
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        told = self._told(f"{what}: {code} {said}".rstrip())
        return Outcome("refused" if 500 <= code < 600 else "later", told)

    def _told(self, reason: str) -> str:
        secrets = [] if self._password is None else [self._password]
        return f"{self._where}: {shorten(hide(reason, secrets), 200)}"


class _Session(smtplib.SMTP):
    """A connection whose socket is at hand from the first moment, so that it can be ended from outside."""

    def __init__(self, settings: EmailTarget, context: ssl.SSLContext | None) -> None:
        super().__init__(local_hostname="localhost", timeout=settings.timeout)  # no look-up of our own name
        self._host = settings.host  # what a certificate must name
        sock = socket.create_connection((settings.host, settings.port), settings.timeout)
        try:
            if settings.security == "tls" and context is not None:
                sock = context.wrap_socket(sock, server_hostname=settings.host)
            self.sock = sock
        except BaseException:
            sock.close()
            raise

    def greet(self) -> None:
        """Wait for the server's first line."""
        code, text = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
