"""Sends deliveries to webhooks. In each API process, one thread claims them, and each attempt has its own thread."""

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

import structlog
from standardwebhooks import Webhook

from api.webhooks.outgoing import TIMEOUT_S, Answer, Resolve, post, resolve_by_system
from heldout import __version__
from heldout.access.webhooks import Allowed
from heldout.errors import DatabaseUnavailable, SecretsUnavailable, SecretUnreadable
from heldout.service.settings import Settings
from heldout.views.base import format_rfc3339
from models.database import Database, Session
from models.secret_box import SecretBox
from models.store import outbox, transitions, webhooks
from models.store.outbox import ATTEMPTS_AT_ONCE, ClaimedDelivery

log = structlog.get_logger("heldout.api")

# Longer than any attempt, including a slow resolver. A sender that takes longer is dead.
LEASE_S = TIMEOUT_S + 45
FORGET_EVERY_S = 3600.0
# After this long without due deliveries, the sender polls less often. A message may then wait for a moment.
IDLE_AFTER_S, IDLE_POLL_S = 10.0, 2.0
# How long a stopping service waits for running attempts. Another process repeats those that take longer.
STOP_TIMEOUT_S = 2.0

Clock = Callable[[Session], datetime]


class Sender:
    """Sends due deliveries. Several senders may share a database: each delivery is claimed by a compare-and-set.

    Args:
        resolve: returns the addresses of a host.
        tls: the certificates to trust. Default: the system's.
        clock: decides which deliveries are due. Default: the database's time.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
        clock: Clock = transitions.get_now,
    ) -> None:
        self._database = database
        self._poll_s = settings.poll_s
        self._allowed = Allowed.of(settings.webhook_allow)
        self._resolve = resolve
        self._tls = tls
        self._clock = clock
        self._box = SecretBox.of(settings)
        self._running: list[ClaimedDelivery] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._forgot = monotonic()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self.join(STOP_TIMEOUT_S)

    def run_once(self) -> int:
        """Start attempts at due deliveries up to the limits; return how many. Raises DatabaseUnavailable."""
        with self._changed:
            running = list(self._running)
        if len(running) >= ATTEMPTS_AT_ONCE:
            return 0
        with self._database.read() as session:
            # Idle services run this all the time, so it saves the extra query for the database's time.
            if not outbox.is_any_due(session, None if self._clock is transitions.get_now else self._clock(session)):
                return 0
        of_webhooks, of_owners = Counter(due.webhook_id for due in running), Counter(due.owner for due in running)
        with self._database.write() as session:
            claimed = outbox.claim(session, self._clock(session), of_webhooks, of_owners, lease_s=LEASE_S)
        for due in claimed:
            with self._changed:
                self._running.append(due)
            threading.Thread(target=self._send, args=(due,), name="webhook", daemon=True).start()
        return len(claimed)

    def join(self, timeout_s: float) -> bool:
        """Wait until no attempt is running. Returns False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    def _run(self) -> None:
        busy_at = monotonic()
        idle_poll_s = max(self._poll_s, IDLE_POLL_S)
        while not self._stop.wait(self._poll_s if monotonic() - busy_at < IDLE_AFTER_S else idle_poll_s):
            try:
                while self.run_once() and not self._stop.is_set():
                    busy_at = monotonic()
                self._forget_old()
            except DatabaseUnavailable:
                log.warning("database_unavailable", thread="webhooks")
            except Exception:
                log.exception("webhooks_failed")

    def _forget_old(self) -> None:
        if monotonic() - self._forgot < FORGET_EVERY_S:
            return
        self._forgot = monotonic()
        with self._database.write() as session:
            outbox.forget_old(session, self._clock(session))

    def _send(self, due: ClaimedDelivery) -> None:
        try:
            self._settle(due, self._attempt(due))
        except DatabaseUnavailable:
            # Its lease will expire, and it will be sent again.
            log.warning("database_unavailable", thread="webhook", delivery=due.id)
        except Exception:
            log.exception("webhook_failed", delivery=due.id)
        finally:
            with self._changed:
                self._running.remove(due)
                self._changed.notify_all()

    def _attempt(self, due: ClaimedDelivery) -> Answer:
        with self._database.read() as session:
            now = self._clock(session)
        body = build_body(due)
        try:
            secrets = tuple(self._box.open(sealed) for sealed in due.secrets)
        except (SecretUnreadable, SecretsUnavailable) as error:
            return Answer(None, error.detail, 0)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"heldout/{__version__}",
            **sign_headers(due.id, now, body, secrets),
        }
        return post(due.url, body.encode(), headers, allowed=self._allowed, resolve=self._resolve, tls=self._tls)

    def _settle(self, due: ClaimedDelivery, answer: Answer) -> None:
        with self._database.write() as session:
            status = webhooks.settle(
                session,
                due,
                self._clock(session),
                status=answer.status,
                error=answer.error,
                milliseconds=answer.milliseconds,
            )
        # The address is not logged, because it may contain a token. Nor is the message.
        log.info(
            "webhook_sent",
            webhook=due.webhook_id,
            delivery=due.id,
            answer=answer.status,
            error=answer.error,
            milliseconds=answer.milliseconds,
            delivery_status=status,
        )


def build_body(due: ClaimedDelivery) -> str:
    """Build the message: the event's type and time, and its subject at that time. All attempts send the same text."""
    message = {"type": due.type, "timestamp": format_rfc3339(due.created_at), "data": due.payload}
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def sign_headers(message_id: str, now: datetime, body: str, secrets: tuple[str, ...]) -> dict[str, str]:
    """Build the three headers of Standard Webhooks, with one signature per secret."""
    now = now.astimezone(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, now, body) for secret in secrets),
    }
