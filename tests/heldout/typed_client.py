"""What type checkers know about clients. This is never run: `make check-types` reports unused ignores."""

from typing import assert_type

from heldout import AsyncClient, Client
from heldout.client.datasets import AsyncDataset, Dataset
from heldout.client.handles.jobs import AsyncJob, Job
from heldout.client.handles.studies import AsyncRun, Run, Study
from heldout.views.diagnosis import DiagnosisView


def misspell_methods(client: Client) -> None:
    client.trian({})  # type: ignore[attr-defined]


async def misspell_async_methods(client: AsyncClient) -> None:
    await client.trian({})  # type: ignore[attr-defined]


def use_handles(client: Client, dataset: Dataset) -> Study:
    job: Job = client.train({}, dataset.name)
    assert_type(client.jobs.get(job.id), Job)
    assert_type(job.wait(), Job)
    assert_type(job.diagnosis(), DiagnosisView)
    study = job.cure(wait=False)
    for run in study:
        assert_type(run, Run)
    return study


async def await_handles(client: AsyncClient, dataset: AsyncDataset) -> AsyncJob:
    job: AsyncJob = await client.train({}, dataset.name)
    assert_type(await client.jobs.get(job.id), AsyncJob)
    assert_type(await job.diagnosis(), DiagnosisView)
    async for run in await job.cure(wait=False):
        assert_type(run, AsyncRun)
    return await job.wait()
