"""The client's methods for keys, webhooks, events, the account and the service itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from heldout.access.rights import Scope
from heldout.client.dual import Awaiting, Blocking, dual, dual_iterator
from heldout.client.resource import Handle, OneHandle, Resource, ResourceBase, by_id, each_by_id, renew
from heldout.client.typed_answers import PAGE, make_idempotency_header, quote_segment
from heldout.errors import DeliveryNotFound, KeyNotFound, WebhookNotFound
from heldout.views.account import (
    ActivityPage,
    ActivityView,
    Bucket,
    DeliveryPage,
    DeliveryView,
    Group,
    HealthView,
    KeyPage,
    KeyView,
    NewKeyView,
    OwnerEventPage,
    OwnerEventView,
    SessionView,
    UsageView,
    WebhookPage,
    WebhookView,
    WebhookWithSecret,
)
from heldout.views.base import format_rfc3339


class KeyResource(Resource[OneHandle]):
    """API keys."""

    _route, _missing = "/v1/keys", KeyNotFound

    @dual_iterator
    async def list(self) -> AsyncIterator[OneHandle]:
        """Yield all your keys, oldest first, including revoked ones. Secrets are not stored and not included."""
        for key in (await self._answers.read(KeyPage, "GET", "/v1/keys")).data:
            yield self._wrap(key)

    @dual
    async def create(self, *, scopes: Sequence[Scope] | None = None, expires_at: datetime | None = None) -> OneHandle:
        """Create another key of yours. Its secret, `key`, is only in this answer.

        Args:
            scopes: `read`, `write`, `admin`; by default those of this client's key.
            expires_at: with a time zone; by default when this client's key expires.
        """
        body: dict[str, Any] = {} if scopes is None else {"scopes": list(scopes)}
        body |= {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        return await self._make("/v1/keys", body)

    @dual
    async def roll(self, key_id: str, *, overlap_s: float | None = None) -> OneHandle:
        """Replace a key. The old one works for another `overlap_s` seconds, by default a day."""
        return await self._make(self._path(key_id, "roll"), {} if overlap_s is None else {"overlap_s": overlap_s})

    async def _make(self, route: str, body: dict[str, Any]) -> OneHandle:
        headers = make_idempotency_header(None)
        return await self._receive(NewKeyView, "POST", route, body=body or None, headers=headers, repeatable=True)

    @dual
    async def delete(self, key_id: str, *, with_made: bool = False) -> None:
        """Revoke a key immediately and permanently. It may be this client's own.

        Args:
            with_made: also revoke the keys created with it, and the keys created with those. Their webhooks are
                disabled.
        """
        await self._connection.send("DELETE", self._path(key_id), params=[("with_made", "true")] if with_made else [])


class WebhookResource(Resource[OneHandle]):
    """Addresses to which the service sends events."""

    _route, _missing = "/v1/webhooks", WebhookNotFound

    @dual_iterator
    async def list(self) -> AsyncIterator[OneHandle]:
        """Yield your webhooks, oldest first."""
        for webhook in (await self._answers.read(WebhookPage, "GET", "/v1/webhooks")).data:
            yield self._wrap(webhook)

    @dual
    async def get(self, webhook_id: str) -> OneHandle:
        return await self._receive(WebhookView, "GET", self._path(webhook_id))

    @dual
    async def create(self, url: str, events: Sequence[str], *, enabled: bool = True) -> OneHandle:
        """Have events sent to an address. Its `secret` is only in this answer.

        Args:
            events: such as `job.succeeded`. The service refuses an unknown name and lists the known ones.
        """
        body = {"url": url, "events": [*events], "enabled": enabled}
        return await self._receive(
            WebhookWithSecret, "POST", "/v1/webhooks", body=body, headers=make_idempotency_header(None), repeatable=True
        )

    @dual
    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> OneHandle:
        """Change a webhook. None keeps a value."""
        wanted: dict[str, Any] = {"url": url, "events": None if events is None else [*events], "enabled": enabled}
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._receive(WebhookView, "PATCH", self._path(webhook_id), body=body, repeatable=True)

    @dual
    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook and its log."""
        await self._connection.send("DELETE", self._path(webhook_id))

    @dual
    async def rotate(self, webhook_id: str) -> OneHandle:
        """Replace the secret. For 24 hours the old one signs each message too."""
        route = self._path(webhook_id, "rotate")
        return await self._receive(WebhookWithSecret, "POST", route)

    @dual
    async def ping(self, webhook_id: str) -> DeliveryView:
        """Send a test message; `deliveries` lists the attempts."""
        return await self._answers.read(DeliveryView, "POST", self._path(webhook_id, "ping"))

    @dual_iterator
    def deliveries(self, webhook_id: str, *, page_size: int = PAGE) -> AsyncIterator[DeliveryView]:
        """Yield the messages of the last seven days and those still to be sent, newest first."""
        return self._answers.pages(DeliveryPage, self._path(webhook_id, "deliveries"), page_size=page_size)

    @dual
    async def redeliver(self, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Send a message again."""
        delivery = quote_segment(delivery_id, DeliveryNotFound(delivery_id))
        route = self._path(webhook_id, f"deliveries/{delivery}/redeliver")
        return await self._answers.read(DeliveryView, "POST", route)


class AccountResource(ResourceBase):
    """The owner of the key."""

    @dual
    async def whoami(self) -> SessionView:
        """Get the owner that the key belongs to."""
        return await self._answers.read(SessionView, "GET", "/v1/session")

    @dual_iterator
    def activity(
        self,
        *,
        action: str | None = None,
        key_id: str | None = None,
        subject: str | None = None,
        page_size: int = PAGE,
    ) -> AsyncIterator[ActivityView]:
        """Yield the activity log, newest first: who changed what, and from where. Needs the scope `admin`."""
        wanted = {"action": action, "key": key_id, "subject": subject}
        params = [(name, value) for name, value in wanted.items() if value is not None]
        return self._answers.pages(ActivityPage, "/v1/activity", params, page_size=page_size)

    @dual
    async def usage(
        self,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        bucket: Bucket = "hour",
        group_by: Group | None = None,
    ) -> UsageView:
        """Sum up what your jobs have used by hour or day, and your quotas. Default: the last day or month."""
        given = {"from": from_, "to": to}
        times = {name: format_rfc3339(moment) for name, moment in given.items() if moment is not None}
        query = {**times, "bucket": bucket, **({} if group_by is None else {"group_by": group_by})}
        return await self._answers.read(UsageView, "GET", "/v1/usage", params=query)


class EventResource(ResourceBase):
    """Events of everything that you own, in one order with its own numbers."""

    @dual_iterator
    def list(self, *, after: int = 0) -> AsyncIterator[OwnerEventView]:
        """Yield past events, oldest first."""
        return self._answers.pages(OwnerEventPage, "/v1/events", after=after)

    @dual_iterator
    def follow(self, *, after: int | None = None) -> AsyncIterator[OwnerEventView]:
        """Yield events as they happen, without end; without `after`, only new ones.

        After a lost connection it continues where it was: it skips no event and repeats none.
        """
        return self._answers.follow(OwnerEventView, "/v1/events", after)


class ServiceResource(ResourceBase):
    """The health of the service."""

    @dual
    async def check_live(self) -> HealthView:
        """Check that the service's process answers.

        Raises:
            NoService: if it does not.
        """
        return await self._answers.read(HealthView, "GET", "/livez")

    @dual
    async def check_ready(self) -> HealthView:
        """Check that its database and its files answer too.

        Raises:
            ApiProblem: if one of them does not.
        """
        return await self._answers.read(HealthView, "GET", "/readyz")

    @dual
    async def metrics(self) -> str:
        """Get the service's counters and durations in Prometheus' text format."""
        return (await self._connection.send("GET", "/metrics")).text


class Account(AccountResource, Blocking): ...


class AsyncAccount(AccountResource, Awaiting): ...


class Events(EventResource, Blocking): ...


class AsyncEvents(EventResource, Awaiting): ...


class Service(ServiceResource, Blocking): ...


class AsyncService(ServiceResource, Awaiting): ...


class KeyHandle(Handle[KeyView]):
    """An API key. `key`, its secret, is there only after `create` and `roll`."""

    roll = renew(KeyResource.roll)
    delete = by_id(KeyResource.delete)


class WebhookHandle(Handle[WebhookView]):
    """A webhook. Its `secret` is there only after `create` and `rotate`."""

    refresh = renew(WebhookResource.get)
    update = renew(WebhookResource.update)
    rotate = renew(WebhookResource.rotate)
    ping = by_id(WebhookResource.ping)
    deliveries = each_by_id(WebhookResource.deliveries)
    redeliver = by_id(WebhookResource.redeliver)
    delete = by_id(WebhookResource.delete)


class Key(KeyHandle, Blocking): ...


class AsyncKey(KeyHandle, Awaiting): ...


class Webhook(WebhookHandle, Blocking): ...


class AsyncWebhook(WebhookHandle, Awaiting): ...


class Keys(KeyResource[Key], Blocking):
    _handle = Key


class AsyncKeys(KeyResource[AsyncKey], Awaiting):
    _handle = AsyncKey


class Webhooks(WebhookResource[Webhook], Blocking):
    _handle = Webhook


class AsyncWebhooks(WebhookResource[AsyncWebhook], Awaiting):
    _handle = AsyncWebhook
