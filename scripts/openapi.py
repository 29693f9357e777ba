"""Prints the OpenAPI document of the API, with no database and no service."""

import json
import sys
from pathlib import Path

from api.app import create_app
from heldout.service.settings import Settings

json.dump(create_app(Settings(home=Path("/nonexistent"))).openapi(), sys.stdout)
