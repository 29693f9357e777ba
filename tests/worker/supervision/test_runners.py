"""Each kind of job has a class that runs it, and queueing a job wakes a worker."""

from typing import get_args

import pytest

from heldout.fixes.changes import VersionChanges
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.dataset import DatasetSpec
from heldout.spec.model_facts import ModelFacts
from heldout.stored.artifacts import ExportFormat
from heldout.work.kinds import (
    KINDS,
    KINDS_OF_WORKERS,
    CheckModelSpec,
    DeriveSpec,
    EvaluateSpec,
    ExperimentSpec,
    ExportSpec,
    ExternalRunSpec,
    FeaturesSpec,
    HeatmapSpec,
    IdleExperimentSpec,
    IngestSpec,
    MeasureSpec,
    RelateSpec,
    SuspectSpec,
    WorkSpec,
    get_kind,
    require_all_kinds,
)
from models.store import new_jobs
from models.store.new_jobs import NewJob
from models.wake import WakeUp
from tests.models.work import ALICE, Work, spec
from worker.supervision.worker import ATTEMPTS

CHECK = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/ds_1/pets.zip", max_runtime_s=60)
DERIVE = DeriveSpec(
    dataset=DatasetSpec(name="pets"),
    base="ds_1",
    base_name="pets@1",
    base_sha256="0" * 64,
    changes=VersionChanges(drop_copies=True),
    max_runtime_s=60,
)
RELATE = RelateSpec(max_runtime_s=60)
SUSPECT = SuspectSpec(max_runtime_s=60)
FACTS = ModelFacts(format=ModelFormat.KERAS, input_shape=(8, 8, 1), output_shape=(10,), parameters=650)
MEASURE = MeasureSpec(model="mod_1", model_name="mine", key="models/mod_1/x", facts=FACTS, max_runtime_s=60)
EXPERIMENT = {**spec().model_dump(), "proves": "job_1", "variant": "longer"}
RUN_BY = [
    (spec(), "TrainingAttempt"),
    (CHECK, "IngestAttempt"),
    (DERIVE, "IngestAttempt"),
    (RELATE, "RelateAttempt"),
    (SUSPECT, "SuspectAttempt"),
    (FeaturesSpec(max_runtime_s=60), "FeaturesAttempt"),
    (EvaluateSpec(base=("job_1",), winner=("job_2",), max_runtime_s=60), "EvaluateAttempt"),
    (ExportSpec(job_id="job_1", format=ExportFormat.ONNX, max_runtime_s=60), "ExportAttempt"),
    (HeatmapSpec(job_id="job_1", index=4, classes=(0, 7), max_runtime_s=60), "HeatmapAttempt"),
    (CheckModelSpec(model="mod_1", key="models/mod_1/x", max_runtime_s=60), "CheckModelAttempt"),
    (MEASURE, "MeasureAttempt"),
    (ExperimentSpec(**EXPERIMENT), "ExperimentAttempt"),
    (IdleExperimentSpec(**EXPERIMENT), "IdleExperimentAttempt"),
]


def test_every_kind_is_in_the_cases():
    assert {type(asked) for asked, _ in RUN_BY} == set(get_args(WorkSpec)) - {ExternalRunSpec}


@pytest.mark.parametrize(("asked", "attempt"), RUN_BY)
def test_a_job_is_run_by_the_class_of_its_kind(asked, attempt):
    assert ATTEMPTS[get_kind(asked)].__name__ == attempt


def test_a_registry_without_a_kind_is_refused():
    with pytest.raises(TypeError, match="no entry for the kinds export, train"):
        require_all_kinds({kind: None for kind in ATTEMPTS if kind not in {"train", "export"}}, KINDS_OF_WORKERS)


@pytest.mark.parametrize("asked", [asked for asked, _ in RUN_BY], ids=lambda asked: get_kind(asked))
def test_queueing_a_job_wakes_a_worker_unless_it_takes_no_slot(database, asked):
    """No endpoint has to do it."""
    work, announced = Work(database), list[WakeUp]()
    database.announce = announced.extend
    with database.write() as session:
        job = new_jobs.add(session, NewJob(spec=asked, owner=ALICE, name="a job", dataset_id=work.dataset.id))
        assert announced == [], "not before the commit"
    assert announced == ([WakeUp(job.id, "train")] if KINDS[get_kind(asked)].takes_slot else [])
