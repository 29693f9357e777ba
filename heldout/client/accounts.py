"""The client's methods for keys, webhooks, events, the account and the service itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from heldout.access.rights import Scope
from heldout.client.dual import Awaiting, Mode, dual, dual_iterator
from heldout.client.resource import (
    PAGE,
    Handle,
    Resource,
    ResourceBase,
    by_id,
    each_by_id,
    leave_out_none,
    quote_segment,
    renew,
)
from heldout.errors import DeliveryNotFound, KeyNotFound, WebhookNotFound
from heldout.views import account as views
from heldout.views.base import format_rfc3339


class Keys(Resource["Key[Mode]", Mode]):
    """API keys."""

    _route, _missing = "/v1/keys", KeyNotFound

    @dual_iterator
    async def list(self) -> AsyncIterator[Key[Mode]]:
        """Yield all your keys, oldest first, including revoked ones. Secrets are not stored and not included."""
        for key in (await self._read(views.KeyPage, "GET", "/v1/keys")).data:
            yield self._wrap(key)

    @dual
    async def create(self, *, scopes: Sequence[Scope] | None = None, expires_at: datetime | None = None) -> Key[Mode]:
        """Create another key of yours. Its secret, `key`, is only in this answer.

        Args:
            scopes: `read`, `write`, `admin`; by default those of this client's key.
            expires_at: with a time zone; by default when this client's key expires.
        """
        until = None if expires_at is None else expires_at.isoformat()
        body = leave_out_none(scopes=None if scopes is None else [*scopes], expires_at=until)
        return await self._create(views.NewKeyView, "/v1/keys", body or None)

    @dual
    async def roll(self, key_id: str, *, overlap_s: float | None = None) -> Key[Mode]:
        """Replace a key. The old one works for another `overlap_s` seconds, by default a day."""
        body = leave_out_none(overlap_s=overlap_s)
        return await self._create(views.NewKeyView, self._path(key_id, "roll"), body or None)

    @dual
    async def delete(self, key_id: str, *, with_made: bool = False) -> None:
        """Revoke a key immediately and permanently. It may be this client's own.

        Args:
            with_made: also revoke the keys created with it, and the keys created with those. Their webhooks are
                disabled.
        """
        await self._connection.send("DELETE", self._path(key_id), params={"with_made": with_made or None})


class Webhooks(Resource["Webhook[Mode]", Mode]):
    """Addresses to which the service sends events."""

    _route, _missing = "/v1/webhooks", WebhookNotFound

    @dual_iterator
    async def list(self) -> AsyncIterator[Webhook[Mode]]:
        """Yield your webhooks, oldest first."""
        for webhook in (await self._read(views.WebhookPage, "GET", "/v1/webhooks")).data:
            yield self._wrap(webhook)

    @dual
    async def get(self, webhook_id: str) -> Webhook[Mode]:
        return await self._receive(views.WebhookView, "GET", self._path(webhook_id))

    @dual
    async def create(self, url: str, events: Sequence[str], *, enabled: bool = True) -> Webhook[Mode]:
        """Have events sent to an address. Its `secret` is only in this answer.

        Args:
            events: such as `job.succeeded`. The service refuses an unknown name and lists the known ones.
        """
        body = {"url": url, "events": [*events], "enabled": enabled}
        return await self._create(views.WebhookWithSecret, "/v1/webhooks", body)

    @dual
    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> Webhook[Mode]:
        """Change a webhook. None keeps a value."""
        body = leave_out_none(url=url, events=None if events is None else [*events], enabled=enabled)
        return await self._receive(views.WebhookView, "PATCH", self._path(webhook_id), body=body, repeatable=True)

    @dual
    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook and its log."""
        await self._connection.send("DELETE", self._path(webhook_id))

    @dual
    async def rotate(self, webhook_id: str) -> Webhook[Mode]:
        """Replace the secret. For 24 hours the old one signs each message too."""
        route = self._path(webhook_id, "rotate")
        return await self._receive(views.WebhookWithSecret, "POST", route)

    @dual
    async def ping(self, webhook_id: str) -> views.DeliveryView:
        """Send a test message; `deliveries` lists the attempts."""
        return await self._read(views.DeliveryView, "POST", self._path(webhook_id, "ping"))

    @dual_iterator
    def deliveries(self, webhook_id: str, *, page_size: int = PAGE) -> AsyncIterator[views.DeliveryView]:
        """Yield the messages of the last seven days and those still to be sent, newest first."""
        return self._pages(views.DeliveryPage, self._path(webhook_id, "deliveries"), page_size=page_size)

    @dual
    async def redeliver(self, webhook_id: str, delivery_id: str) -> views.DeliveryView:
        """Send a message again."""
        delivery = quote_segment(delivery_id, DeliveryNotFound(delivery_id))
        route = self._path(webhook_id, f"deliveries/{delivery}/redeliver")
        return await self._read(views.DeliveryView, "POST", route)


class Account(ResourceBase[Mode]):
    """The owner of the key."""

    @dual
    async def whoami(self) -> views.SessionView:
        """Get the owner that the key belongs to."""
        return await self._read(views.SessionView, "GET", "/v1/session")

    @dual_iterator
    def activity(
        self, *, action: str | None = None, key_id: str | None = None, subject: str | None = None, page_size: int = PAGE
    ) -> AsyncIterator[views.ActivityView]:
        """Yield the activity log, newest first: who changed what, and from where. Needs the scope `admin`."""
        params = {"action": action, "key": key_id, "subject": subject}
        return self._pages(views.ActivityPage, "/v1/activity", params, page_size=page_size)

    @dual
    async def usage(
        self,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        bucket: views.Bucket = "hour",
        group_by: views.Group | None = None,
    ) -> views.UsageView:
        """Sum up what your jobs have used by hour or day, and your quotas. Default: the last day or month."""
        since, until = (None if moment is None else format_rfc3339(moment) for moment in (from_, to))
        params = {"from": since, "to": until, "bucket": bucket, "group_by": group_by}
        return await self._read(views.UsageView, "GET", "/v1/usage", params=params)


class Events(ResourceBase[Mode]):
    """Events of everything that you own, in one order with its own numbers."""

    @dual_iterator
    def list(self, *, after: int = 0) -> AsyncIterator[views.OwnerEventView]:
        """Yield past events, oldest first."""
        return self._pages(views.OwnerEventPage, "/v1/events", after=after)

    @dual_iterator
    def follow(self, *, after: int | None = None) -> AsyncIterator[views.OwnerEventView]:
        """Yield events as they happen, without end; without `after`, only new ones.

        After a lost connection it continues where it was: it skips no event and repeats none.
        """
        return self._follow(views.OwnerEventView, "/v1/events", after)


class Service(ResourceBase[Mode]):
    """The health of the service."""

    @dual
    async def check_live(self) -> views.HealthView:
        """Check that the service's process answers.

        Raises:
            NoService: if it does not.
        """
        return await self._read(views.HealthView, "GET", "/livez")

    @dual
    async def check_ready(self) -> views.HealthView:
        """Check that its database and its files answer too.

        Raises:
            ApiProblem: if one of them does not.
        """
        return await self._read(views.HealthView, "GET", "/readyz")

    @dual
    async def metrics(self) -> str:
        """Get the service's counters and durations in Prometheus' text format."""
        return (await self._connection.send("GET", "/metrics")).text


class Key(Handle[views.KeyView, Mode], of=Keys):
    """An API key. `key`, its secret, is there only after `create` and `roll`."""

    roll = renew(Keys.roll)
    delete = by_id(Keys.delete)


class Webhook(Handle[views.WebhookView, Mode], of=Webhooks):
    """A webhook. Its `secret` is there only after `create` and `rotate`."""

    refresh = renew(Webhooks.get)
    update = renew(Webhooks.update)
    rotate = renew(Webhooks.rotate)
    ping = by_id(Webhooks.ping)
    deliveries = each_by_id(Webhooks.deliveries)
    redeliver = by_id(Webhooks.redeliver)
    delete = by_id(Webhooks.delete)


AsyncKey = Key[Awaiting]
AsyncWebhook = Webhook[Awaiting]
