"""All methods of a client, for whichever way it sends requests."""

import os
from pathlib import Path
from typing import Any

from heldout.client.accounts import AccountMethods
from heldout.client.connection import Connection
from heldout.client.datasets import DatasetMethods
from heldout.client.diagnoses import DiagnosisMethods
from heldout.client.jobs import JobMethods
from heldout.client.locate import ServiceAddress, locate
from heldout.client.models import ModelMethods, PredictionMethods
from heldout.client.studies import StudyMethods
from heldout.client.typed_answers import TypedAnswers

PATIENCE_S = 30.0


class Methods(
    JobMethods, PredictionMethods, DiagnosisMethods, DatasetMethods, StudyMethods, ModelMethods, AccountMethods
):
    """One service and one key. It may be shared by threads, or by the tasks of one event loop.

    Args:
        url: the service's address, such as `http://127.0.0.1:8000`; without it the one that the command line uses:
            HELDOUT_URL, or the service of `heldout up` in HELDOUT_HOME or ~/.heldout.
        api_key: `ho_<id>_<secret>`; without it likewise HELDOUT_API_KEY, or the key in that folder.
        home: the folder of `heldout up`, in place of all these.
        patience_s: how long requests that can safely be repeated are repeated while a service that has answered
            before does not answer now, or answers 429 or 503.
        transport: how requests travel; for tests.
    Raises:
        NoService: from every method, if nothing answers; at once, if no service is to be found.
        ApiProblem: from every method, if the service answers with a problem; each is of the class of its code in
            `heldout.errors` too.
    """

    _is_blocking: bool

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: Path | str | None = None,
        patience_s: float = PATIENCE_S,
        transport: Any = None,
    ) -> None:
        found = _find_address(url, api_key, home)
        self._connection = Connection(
            found.url, found.api_key, patience_s, is_blocking=self._is_blocking, transport=transport
        )
        self._answers = TypedAnswers(self._connection)

    @property
    def url(self) -> str:
        return self._connection.url

    async def pause_for(self, seconds: float) -> None:
        """Wait as this client waits; for handles."""
        await self._connection.pause(seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def _find_address(url: str | None, api_key: str | None, home: Path | str | None) -> ServiceAddress:
    if home is not None:
        return locate(Path(home))
    if url is not None and api_key is not None:
        return ServiceAddress(url, api_key)
    environment = dict(os.environ)
    if url is not None and environment.get("HELDOUT_URL", url).rstrip("/") != url.rstrip("/"):
        environment.pop("HELDOUT_API_KEY", None)  # that of another service
    given = {"HELDOUT_URL": url, "HELDOUT_API_KEY": api_key}
    return locate(environment=environment | {name: value for name, value in given.items() if value is not None})
