"""The Python client: a method for each route, which gives typed answers, and handles of jobs, studies and datasets.

from heldout import Client

client = Client()
job = client.train(spec)
for epoch in job.follow():
    print(epoch.epoch, epoch.validation_accuracy)
print(job.diagnosis().explanation)
"""

from typing import Self

from heldout.client.dual import Awaiting, Blocking, run
from heldout.client.failures import ApiProblem, NoService
from heldout.client.handles.datasets import AsyncDatasets, Datasets
from heldout.client.handles.jobs import AsyncJob, Job
from heldout.client.handles.studies import AsyncStudy, Study
from heldout.client.jobs import Spec
from heldout.client.methods import Methods

__all__ = ["ApiProblem", "AsyncClient", "Client", "NoService"]


class Client(Methods, Blocking):
    __doc__ = Methods.__doc__

    _is_blocking = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        run(self._connection.close())

    def train(self, spec: Spec, *, idempotency_key: str | None = None) -> Job:
        """Queue a training job, as `submit` does."""
        return Job(self, self.submit(spec, idempotency_key=idempotency_key))

    def job(self, job_id: str) -> Job:
        """A job of the owner, by its id."""
        return Job(self, self.get(job_id))

    def open_study(self, study_id: str) -> Study:
        """A study of the owner, by its id, to follow and to wait for."""
        return Study(self, self.study(study_id))

    @property
    def datasets(self) -> Datasets:
        """The datasets that jobs can name: `client.datasets()` lists them, `client.datasets.push(path)` adds one."""
        return Datasets(self)


class AsyncClient(Methods, Awaiting):
    """The methods of `Client`, to be awaited, in an event loop of asyncio.

    async with AsyncClient() as client:
        job = await client.train(spec)
        async for epoch in job.follow():
            print(epoch.epoch)
    """

    _is_blocking = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()

    async def train(self, spec: Spec, *, idempotency_key: str | None = None) -> AsyncJob:
        """Queue a training job, as `submit` does."""
        return AsyncJob(self, await self.submit(spec, idempotency_key=idempotency_key))

    async def job(self, job_id: str) -> AsyncJob:
        """A job of the owner, by its id."""
        return AsyncJob(self, await self.get(job_id))

    async def open_study(self, study_id: str) -> AsyncStudy:
        """A study of the owner, by its id, to follow and to wait for."""
        return AsyncStudy(self, await self.study(study_id))

    @property
    def datasets(self) -> AsyncDatasets:
        """The datasets that jobs can name: `client.datasets()` lists them, `client.datasets.push(path)` adds one."""
        return AsyncDatasets(self)
