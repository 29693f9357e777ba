"""Commands about what an owner has: the activity log, and webhooks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import Group, Service
from heldout.cli.figures import format_moment
from heldout.cli.outcome import Exit
from heldout.cli.screen import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.client.client import Client
    from heldout.views.account import ActivityView, DeliveryView, WebhookView


def activity(
    service: Service,
    action: Annotated[str | None, typer.Option(help="Only this action, such as submit_job.")] = None,
    key_id: Annotated[str | None, typer.Option("--key", metavar="ID", help="Only changes made with this key.")] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only changes of this job, dataset or other thing.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
) -> None:
    """List who changed what, newest first. Needs a key of scope admin."""
    found = service.client.account.activity(
        action=action, key_id=key_id, subject=subject, page_size=min(limit + 1, 200)
    )
    service.print_list(found, _show_activity, limit=limit)


def _show_activity(entries: Sequence[ActivityView]) -> None:
    rows = [
        (format_moment(entry.created_at), entry.action, entry.subject, entry.key_id or "operator", entry.address)
        for entry in entries
    ]
    print_table(("WHEN", "ACTION", "SUBJECT", "KEY", "FROM"), rows)


# A receiver has 15 seconds to answer, and the sender may be busy.
PING_TIMEOUT_S = 30.0
PING_POLL_S = 0.25


def list_webhooks(service: Service) -> None:
    """List your webhooks, oldest first."""
    service.print_list(service.client.webhooks.list(), _show)


def _show(found: Sequence[WebhookView]) -> None:
    rows = [(webhook.id, webhook.url, "yes" if webhook.enabled else "no", webhook.disabled_reason) for webhook in found]
    print_table(("ID", "URL", "ENABLED", "WHY NOT"), rows)


def ping(
    service: Service,
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="A webhook's id, wh_….", show_default=False)],
) -> Exit | None:
    """Send a test message to a webhook, and print the answer; ends with 1 if it failed."""
    client = service.client
    delivery = _wait_for_attempt(client, webhook_id, client.webhooks.ping(webhook_id).id)
    if service.as_json:
        print_json(delivery)
    elif not delivery.attempts:
        say(f"Nothing was sent within {PING_TIMEOUT_S:.0f} seconds. Is the service busy?")
    else:
        last = delivery.attempts[-1]
        came = last.error or f"The receiver answered {last.status}."
        say(f"{came} It took {last.milliseconds} ms.")
    return None if delivery.status == "delivered" else Exit.FAILED


def _wait_for_attempt(client: Client, webhook_id: str, delivery_id: str) -> DeliveryView:
    """Return the delivery after it has been tried, or when the time is over."""
    ends = time.monotonic() + PING_TIMEOUT_S
    while True:
        delivery = next(sent for sent in client.webhooks.deliveries(webhook_id) if sent.id == delivery_id)
        if delivery.attempts or time.monotonic() > ends:
            return delivery
        time.sleep(PING_POLL_S)


webhooks_app = Group(list_webhooks, "List webhooks; `ping` tests one.")
webhooks_app.add(ping)
