"""The Python client. `client.jobs`, `client.datasets` and so on have the methods; `create` and `get` return handles.

from heldout import Client

client = Client()
job = client.train(spec)
for epoch in job.follow():
    print(epoch.epoch, epoch.validation_accuracy)
print(job.diagnosis())
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from heldout.client.dual import Awaiting, Blocking, Dual, Mode, dual, run
from heldout.client.failures import ApiProblem, NoService
from heldout.client.locate import ServiceAddress, locate

if TYPE_CHECKING:
    from heldout.client.accounts import Account, Events, Keys, Service, Webhooks
    from heldout.client.datasets import Datasets
    from heldout.client.diagnoses import Diagnoses
    from heldout.client.handles.jobs import Job, Jobs
    from heldout.client.handles.studies import Studies
    from heldout.client.jobs import Spec
    from heldout.client.models import Evaluations, Models
    from heldout.client.own_networks import KerasModel

__all__ = ["ApiProblem", "AsyncClient", "Client", "NoService"]

PATIENCE_S = 30.0
# Each resource and the module that has its class, which is imported when the resource is first used.
RESOURCES = {
    "jobs": "handles.jobs",
    "studies": "handles.studies",
    "datasets": "datasets",
    "models": "models",
    "evaluations": "models",
    "diagnoses": "diagnoses",
    "keys": "accounts",
    "webhooks": "accounts",
    "events": "accounts",
    "account": "accounts",
    "service": "accounts",
}


class ClientBase(Dual[Mode]):
    """One service and one key. Threads may share it, as may the tasks of one event loop.

    Args:
        url: the service's address, such as `http://127.0.0.1:8000`. By default, the one that the command line uses:
            HELDOUT_URL, or the service of `heldout up` in HELDOUT_HOME or ~/.heldout.
        api_key: `ho_<id>_<secret>`; by default HELDOUT_API_KEY, or the key in that folder.
        home: the folder of `heldout up`, in place of all these.
        patience_s: how long to repeat requests that are safe to repeat, once the service has answered before but now
            does not answer, or answers 429 or 503. A proxy's 502 and 504 count as no answer.
        transport: how requests travel; for tests.
    Raises:
        NoService: from every method, if nothing answers; immediately, if no service is found.
        ApiProblem: from every method, if the service answers with a problem. It is also an instance of the class
            that `heldout.errors` has for its code.
    """

    jobs: Jobs[Mode]
    studies: Studies[Mode]
    datasets: Datasets[Mode]
    models: Models[Mode]
    evaluations: Evaluations[Mode]
    diagnoses: Diagnoses[Mode]
    keys: Keys[Mode]
    webhooks: Webhooks[Mode]
    events: Events[Mode]
    account: Account[Mode]
    service: Service[Mode]

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: Path | str | None = None,
        patience_s: float = PATIENCE_S,
        transport: Any = None,
    ) -> None:
        # An HTTP library and pydantic take longer to import than everything else.
        from heldout.client.connection import Connection

        found = _find_address(url, api_key, home)
        self._connection = Connection(
            found.url, found.api_key, patience_s, is_blocking=self.is_blocking, transport=transport
        )

    if not TYPE_CHECKING:  # a type checker reports misspelled names

        def __getattr__(self, name: str) -> Any:
            if name in RESOURCES:
                module = import_module(f"heldout.client.{RESOURCES[name]}")
                resource = self.__dict__[name] = getattr(module, name.capitalize())(self, name)
                return resource
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def url(self) -> str:
        return self._connection.url

    @dual
    async def train(self, /, spec: Spec | KerasModel, dataset: str | None = None, **options: Any) -> Job[Mode]:
        """Queue a training job, as `jobs.create` does: of a spec, or of a `keras.Model` on a dataset."""
        from heldout.client.jobs import JobResource

        jobs: Any = self.jobs
        queued: Any = await JobResource.create(jobs, spec, dataset, **options)
        return queued  # type: ignore[no-any-return]

    async def pause_for(self, seconds: float) -> None:
        """Wait in the way this client waits; for handles."""
        await self._connection.pause(seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *RESOURCES]


class Client(ClientBase[Blocking]):
    __doc__ = ClientBase.__doc__

    is_blocking = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        run(self._connection.close())


class AsyncClient(ClientBase[Awaiting]):
    """The methods of `Client`, to be awaited in an event loop of asyncio.

    async with AsyncClient() as client:
        job = await client.train(spec)
        async for epoch in job.follow():
            print(epoch.epoch)
    """

    is_blocking = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()


def _find_address(url: str | None, api_key: str | None, home: Path | str | None) -> ServiceAddress:
    if home is not None:
        return locate(Path(home))
    if url is not None and api_key is not None:
        return ServiceAddress(url, api_key)
    environment = dict(os.environ)
    if url is not None and environment.get("HELDOUT_URL", url).rstrip("/") != url.rstrip("/"):
        environment.pop("HELDOUT_API_KEY", None)  # it belongs to another service
    given = {"HELDOUT_URL": url, "HELDOUT_API_KEY": api_key}
    return locate(environment=environment | {name: value for name, value in given.items() if value is not None})
