"""A key and a webhook of a client."""

from __future__ import annotations

from heldout.client.accounts import KeyResource, WebhookResource
from heldout.client.dual import Awaiting, Blocking
from heldout.client.resource import Handle, by_id, each_by_id, renew
from heldout.views.account import KeyView, WebhookView


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
