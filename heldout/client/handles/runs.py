"""Where version 0.2.0 had these names."""

from heldout.client.handles.studies import AsyncRun as AsyncRun
from heldout.client.handles.studies import Run as Run
