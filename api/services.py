"""What the routes of one app share."""

from dataclasses import dataclass

from api.dispatch import Publisher
from api.hub import Hub
from api.uploads import Uploads
from heldout.settings import Settings
from models.blobs import Blobs
from models.database import Database


@dataclass(frozen=True)
class Services:
    """Made once by `create_app` and kept as `app.state.services`."""

    settings: Settings
    database: Database
    blobs: Blobs
    hub: Hub
    publisher: Publisher
    uploads: Uploads
