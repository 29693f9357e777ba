"""Webhooks: the addresses that an owner's events are sent to, and the log of deliveries."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from api.http.app_context import AppContext
from api.http.body import Body
from api.http.deps import ReadContext, WriteContext, check_id_form
from api.http.idempotency import IdempotentRequestDep, ReplayCodec
from api.http.parameters import AskedPage, make_page, make_page_dependency
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from heldout import errors
from heldout.access.rights import Quota
from heldout.access.webhooks import MAX_URL_CHARACTERS, WEBHOOK_EVENTS, Allowed, WebhookEvent, explain_refused_url
from heldout.views.account import DeliveryPage, DeliveryView, WebhookPage, WebhookView, WebhookWithSecret
from models.ids import is_id
from models.store import outbox, quotas, webhooks
from models.views.webhook import build_delivery_view, build_webhook_view, build_webhook_with_secret

router = make_router("/v1/webhooks", "webhooks", has_secrets=True)


WebhookId = Annotated[str, Path(description="A webhook's id, `wh_…`."), check_id_form("wh", errors.WebhookNotFound)]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="An https address with a host on the public internet, unless the operator allows others.",
    ),
]
Events = Annotated[
    list[WebhookEvent], Field(min_length=1, max_length=len(WEBHOOK_EVENTS), description="The events to send.")
]


class NewWebhook(Body):
    """The address to send events to, and the events to send."""

    url: Url
    events: Events
    enabled: bool = True


class WebhookChanges(Body):
    """The changes to a webhook. Absent fields stay unchanged."""

    url: Url = ""
    events: Events = Field(default=[])
    enabled: bool = True


@router.post("", status_code=201, response_description="The new webhook, with its secret.")
@raises(errors.WebhookUrlRefused, errors.SecretsUnavailable, errors.WebhookNotFound, *NO_ROOM)
def make_webhook(webhook: NewWebhook, context: WriteContext, idempotent: IdempotentRequestDep) -> WebhookWithSecret:
    """Send events to an address. Only this response contains the secret."""

    def make() -> WebhookWithSecret:
        _check(webhook.url, context.app)
        quotas.require_room(context.session, context.owner, Quota.WEBHOOKS)
        row = webhooks.add(
            context.session,
            context.app.secret_box,
            context.owner,
            url=webhook.url,
            events=_drop_repeats(webhook.events),
            enabled=webhook.enabled,
            made_by=context.caller.key_id,
        )
        return build_webhook_with_secret(row, context.app.secret_box)

    def decode(body: Mapping[str, Any]) -> WebhookWithSecret:
        """Rebuild the current view: the secret is stored only with the webhook. Raises if that was deleted."""
        return build_webhook_with_secret(
            webhooks.find(context.session, context.owner, body["id"]), context.app.secret_box
        )

    codec = ReplayCodec[WebhookWithSecret](lambda view: {"object": view.object, "id": view.id}, decode)
    return idempotent.make(context.session, webhook, make, codec)


@router.get("")
def list_webhooks(context: ReadContext) -> WebhookPage:
    """List your webhooks, oldest first."""
    rows = webhooks.list_of_owner(context.session, context.owner)
    return make_page(WebhookPage, [build_webhook_view(row) for row in rows])


@router.get("/{webhook_id}")
def get_webhook(webhook_id: WebhookId, context: ReadContext) -> WebhookView:
    """Get one webhook."""
    return build_webhook_view(webhooks.find(context.session, context.owner, webhook_id))


@router.patch("/{webhook_id}")
@raises(errors.WebhookUrlRefused)
def change_webhook(webhook_id: WebhookId, changes: WebhookChanges, context: WriteContext) -> WebhookView:
    """Change the address or the events, or enable or disable the webhook. Disabling drops waiting deliveries."""
    changed = changes.model_dump(exclude_unset=True)
    if "url" in changed:
        _check(changes.url, context.app)
    if "events" in changed:
        changed["events"] = _drop_repeats(changes.events)
    return build_webhook_view(webhooks.change(context.session, context.owner, webhook_id, changed))


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: WebhookId, context: WriteContext) -> None:
    """Delete a webhook with its log."""
    webhooks.remove(context.session, context.owner, webhook_id)


@router.post("/{webhook_id}/rotate")
@raises(errors.SecretsUnavailable)
def rotate_secret(webhook_id: WebhookId, context: WriteContext) -> WebhookWithSecret:
    """Create a new secret. For 24 hours, messages are also signed with the old secret."""
    return build_webhook_with_secret(
        webhooks.rotate(context.session, context.app.secret_box, context.owner, webhook_id), context.app.secret_box
    )


@router.post(
    "/{webhook_id}/ping",
    status_code=202,
    response_description="The delivery. It is sent at once, whichever events the webhook subscribed to.",
)
@raises(errors.WebhookDisabled)
def ping_webhook(webhook_id: WebhookId, context: WriteContext) -> DeliveryView:
    """Send a test message, `webhook.ping`, and see the result in `deliveries`. Only one can wait at a time."""
    return build_delivery_view(
        outbox.ping(context.session, webhooks.find(context.session, context.owner, webhook_id, lock=True))
    )


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: WebhookId,
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("msg")],
) -> DeliveryPage:
    """List deliveries of the last seven days and waiting ones, newest first, with their latest attempts."""
    webhooks.find(context.session, context.owner, webhook_id)
    rows, more = outbox.list_page(context.session, webhook_id, after=asked.after, limit=asked.limit)
    return make_page(DeliveryPage, [build_delivery_view(row) for row in rows], has_more=more)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_description="The delivery. It is sent at once, and may be attempted as often as a new one.",
)
@raises(errors.DeliveryNotFound, errors.WebhookDisabled)
def redeliver(webhook_id: WebhookId, delivery_id: str, context: WriteContext) -> DeliveryView:
    """Send a message again, whatever its status. Its `webhook-id` and body stay the same."""
    webhook = webhooks.find(context.session, context.owner, webhook_id, lock=True)
    if not is_id("msg", delivery_id):
        raise errors.DeliveryNotFound(delivery_id)
    return build_delivery_view(outbox.send_again(context.session, webhook, delivery_id))


def _check(url: str, app: AppContext) -> None:
    reason = explain_refused_url(url, Allowed.of(app.settings.webhook_allow))
    if reason is not None:
        raise errors.WebhookUrlRefused(reason)


def _drop_repeats(events: list[WebhookEvent]) -> list[str]:
    return list(dict.fromkeys(events))
