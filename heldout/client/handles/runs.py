"""Keeps the import paths of version 0.2.0 working for one release."""

from heldout.client.handles.studies import AsyncRun as AsyncRun
from heldout.client.handles.studies import Run as Run
