"""The client's methods for keys, webhooks and the service itself."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from heldout.access.scopes import Scope
from heldout.client.connection import Connection
from heldout.client.dual import dual, dual_iterator
from heldout.client.typed_answers import PAGE, TypedAnswers, make_idempotency_header, quote_segment
from heldout.errors import DeliveryNotFound, KeyNotFound, WebhookNotFound
from heldout.views.base import format_rfc3339
from heldout.views.key import ActivityPage, ActivityView, KeyPage, KeyView, NewKeyView, SessionView
from heldout.views.usage import Bucket, Group, HealthView, UsageView
from heldout.views.webhook import DeliveryPage, DeliveryView, WebhookPage, WebhookView, WebhookWithSecret


class AccountMethods:
    """A part of `heldout.Client`, which makes the connection."""

    _connection: Connection
    _answers: TypedAnswers

    @dual
    async def whoami(self) -> SessionView:
        """The owner that the key belongs to."""
        return await self._answers.read(SessionView, "GET", "/v1/session")

    # --- keys --------------------------------------------------------------------------------------

    @dual
    async def keys(self) -> list[KeyView]:
        """All keys of the owner, oldest first, revoked ones too; without their secrets, which are not kept."""
        return (await self._answers.read(KeyPage, "GET", "/v1/keys")).data

    @dual
    async def create_key(
        self, *, scopes: Sequence[Scope] | None = None, expires_at: datetime | None = None
    ) -> NewKeyView:
        """Another key for the same owner; its `key` is in this answer alone. A repeat makes no second one.

        Args:
            scopes: what it may do: `read`, `write`, `admin`; by default all that this client's key may.
            expires_at: when it ends, with a time zone; by default when this client's key does.
        """
        body: dict[str, Any] = {} if scopes is None else {"scopes": list(scopes)}
        body |= {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        return await self._answers.read(
            NewKeyView, "POST", "/v1/keys", body=body or None, headers=make_idempotency_header(None), repeatable=True
        )

    @dual
    async def roll_key(self, key_id: str, *, overlap_s: float | None = None) -> NewKeyView:
        """A key in place of another one, which works for `overlap_s` seconds more, by default a day."""
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return await self._answers.read(
            NewKeyView,
            "POST",
            f"{_build_key_path(key_id)}/roll",
            body=body or None,
            headers=make_idempotency_header(None),
            repeatable=True,
        )

    @dual
    async def revoke_key(self, key_id: str, *, with_made: bool = False) -> None:
        """Revoke a key at once and for good, also the one that this client uses.

        Args:
            with_made: the keys too that it has made, and what these have made; their webhooks are disabled.
        """
        await self._connection.send(
            "DELETE", _build_key_path(key_id), params=[("with_made", "true")] if with_made else []
        )

    @dual_iterator
    def audit_log(
        self,
        *,
        action: str | None = None,
        key_id: str | None = None,
        subject: str | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[ActivityView]:
        """Who changed what, and from where, newest first; needs a key of scope `admin`."""
        wanted = {"action": action, "key": key_id, "subject": subject}
        params = [(name, value) for name, value in wanted.items() if value is not None]
        return self._answers.pages(ActivityPage, "/v1/activity", params, page_size=page_size)

    # --- usage --------------------------------------------------------------------------------------

    @dual
    async def usage(
        self,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        bucket: Bucket = "hour",
        group_by: Group | None = None,
    ) -> UsageView:
        """What the owner's jobs have used, by hour or day, and its quotas; the last day or month unless told."""
        times = {name: format_rfc3339(moment) for name, moment in (("from", from_), ("to", to)) if moment is not None}
        query = {**times, "bucket": bucket, **({} if group_by is None else {"group_by": group_by})}
        return await self._answers.read(UsageView, "GET", "/v1/usage", params=query)

    # --- webhooks ----------------------------------------------------------------------------------

    @dual
    async def webhooks(self) -> list[WebhookView]:
        """The owner's webhooks, oldest first."""
        return (await self._answers.read(WebhookPage, "GET", "/v1/webhooks")).data

    @dual
    async def webhook(self, webhook_id: str) -> WebhookView:
        return await self._answers.read(WebhookView, "GET", _build_webhook_path(webhook_id))

    @dual
    async def create_webhook(self, url: str, events: Sequence[str], *, enabled: bool = True) -> WebhookWithSecret:
        """Have events sent to an address; its `secret` is in this answer alone. A repeat makes no second one.

        Args:
            events: such as `job.succeeded`; the service refuses a name that it does not know, and lists those it does.
        """
        body = {"url": url, "events": list(events), "enabled": enabled}
        return await self._answers.read(
            WebhookWithSecret, "POST", "/v1/webhooks", body=body, headers=make_idempotency_header(None), repeatable=True
        )

    @dual
    async def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> WebhookView:
        """Change a webhook; what is None stays."""
        wanted: dict[str, Any] = {"url": url, "events": None if events is None else list(events), "enabled": enabled}
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._answers.read(
            WebhookView, "PATCH", _build_webhook_path(webhook_id), body=body, repeatable=True
        )

    @dual
    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook and its log."""
        await self._connection.send("DELETE", _build_webhook_path(webhook_id))

    @dual
    async def rotate_webhook(self, webhook_id: str) -> WebhookWithSecret:
        """Give it a new secret; for 24 hours the old one signs each message too."""
        return await self._answers.read(WebhookWithSecret, "POST", f"{_build_webhook_path(webhook_id)}/rotate")

    @dual
    async def ping_webhook(self, webhook_id: str) -> DeliveryView:
        """Send a test message; `deliveries` tells what became of it."""
        return await self._answers.read(DeliveryView, "POST", f"{_build_webhook_path(webhook_id)}/ping")

    @dual_iterator
    def deliveries(self, webhook_id: str, *, page_size: int = PAGE) -> AsyncIterator[DeliveryView]:
        """What was sent in the last seven days or is to be, newest first."""
        return self._answers.pages(DeliveryPage, f"{_build_webhook_path(webhook_id)}/deliveries", page_size=page_size)

    @dual
    async def redeliver(self, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Send one delivery again."""
        delivery = quote_segment(delivery_id, DeliveryNotFound(delivery_id))
        route = f"{_build_webhook_path(webhook_id)}/deliveries/{delivery}/redeliver"
        return await self._answers.read(DeliveryView, "POST", route)

    # --- the service -------------------------------------------------------------------------------

    @dual
    async def check_live(self) -> HealthView:
        """The service's process answers; raises NoService where it does not."""
        return await self._answers.read(HealthView, "GET", "/livez")

    @dual
    async def check_ready(self) -> HealthView:
        """Its database and its files answer too; raises an ApiProblem that says what is wrong."""
        return await self._answers.read(HealthView, "GET", "/readyz")

    @dual
    async def service_metrics(self) -> str:
        """Counts and durations of the service in Prometheus' text format."""
        return (await self._connection.send("GET", "/metrics")).text


def _build_key_path(key_id: str) -> str:
    return f"/v1/keys/{quote_segment(key_id, KeyNotFound(key_id))}"


def _build_webhook_path(webhook_id: str) -> str:
    return f"/v1/webhooks/{quote_segment(webhook_id, WebhookNotFound(webhook_id))}"
