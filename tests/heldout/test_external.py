"""A user's own training loop in Python: what is sent, the meaning of exceptions, and the renewal of leases."""

import asyncio
import io

import numpy as np
import pytest

from heldout import AsyncClient
from heldout.client.external_values import pack_npz, to_array
from heldout.client.failures import ApiProblem
from heldout.errors import InvalidSpec
from tests.heldout.served import until

LABELS = np.random.default_rng(0).integers(0, 3, 120)
ARMS = {"base": {}, "better": {"shift": 1.5}}


def answer(seed: int, shift: float = 0.0) -> np.ndarray:
    outputs = np.random.default_rng(seed).normal(size=(len(LABELS), 3)) + (1 + shift) * np.eye(3)[LABELS]
    return np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)


class Tensor:
    """Imitates a PyTorch tensor on a GPU with a gradient, which numpy cannot read."""

    def __init__(self, values, dtype="torch.float32", is_detached=False, is_here=False):
        self._values, self.dtype = values, dtype
        self._is_detached, self._is_here = is_detached, is_here

    def detach(self):
        return Tensor(self._values, self.dtype, True, self._is_here)

    def cpu(self):
        return Tensor(self._values, self.dtype, self._is_detached, True)

    def float(self):
        return Tensor(self._values, "torch.float32", self._is_detached, self._is_here)

    def numpy(self):
        if not (self._is_detached and self._is_here) or self.dtype == "torch.bfloat16":
            raise TypeError("Can't convert this tensor to numpy.")
        return np.asarray(self._values, np.float32)

    def __array__(self, *_, **__):
        raise TypeError("Can't convert this tensor to numpy.")


@pytest.mark.parametrize("values", [[1, 2], np.array([1, 2]), Tensor([1, 2]), Tensor([1, 2], "torch.bfloat16")])
def test_lists_arrays_and_tensors_of_any_device_become_arrays(values):
    np.testing.assert_array_equal(to_array(values), [1, 2])


def test_a_packed_file_contains_tensors_and_texts_without_pickles():
    ids = np.array(["a", "b"], dtype=object)
    packed = pack_npz({"validation": {"probabilities": Tensor([[0.5, 0.5]]), "hashes": ids}})
    read = np.load(io.BytesIO(packed), allow_pickle=False)
    assert read["validation_hashes"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(read["validation_probabilities"], [[0.5, 0.5]])


def test_a_loop_runs_every_training_and_ends_with_the_conclusion(client):
    study = client.studies.external(ARMS)
    seen = []
    for run in study:
        with run:
            seen.append((run.arm, run.seed))
            probabilities = answer(run.seed, **run.parameters)
            receipt = run.tell(validation=(LABELS.tolist(), probabilities), test=(LABELS, Tensor(probabilities)))
            assert receipt.accepted
    assert len(seen) == len(set(seen))
    assert study.conclusion.remedy == "better"
    assert study.conclusion.headline == study.headline != ""
    assert all(run.seconds is not None for run in study.runs() if run.status == "succeeded")


def test_an_async_loop_reaches_the_same_conclusion(service):
    async def compare():
        async with AsyncClient(service.url, service.key) as client:
            study = await client.studies.external(ARMS)
            async for run in study:
                async with run:
                    probabilities = await asyncio.to_thread(answer, run.seed, **run.parameters)
                    await run.tell(validation=(LABELS, probabilities))
            return study.conclusion

    assert asyncio.run(compare()).remedy == "better"


def test_a_training_that_runs_out_of_memory_drops_its_arm_and_the_loop_continues(client):
    class OutOfMemoryError(RuntimeError): ...  # like torch.cuda's

    study = client.studies.external({**ARMS, "same": {}})
    for run in study:
        with run:
            if run.arm == "better":
                raise OutOfMemoryError("CUDA out of memory")
            run.tell(validation=(LABELS, answer(run.seed)))
    failed = [run for run in study.runs() if run.status == "failed"]
    assert {run.arm for run in failed} == {"better"}
    assert failed[0].error.detail == "OutOfMemoryError: CUDA out of memory"
    assert study.conclusion.kind != "cure"
    assert study.error is None


def test_a_study_without_any_arm_left_has_failed_and_says_why(client):
    study = client.studies.external(ARMS)
    for run in study:
        with run:
            run.fail("no such folder") if run.arm == "better" else run.tell(validation=(LABELS, answer(run.seed)))
    assert (study.status, study.conclusion) == ("failed", None)
    assert study.error.code == "no_remedy_trained"


def test_another_error_is_reported_and_raised(client):
    study = client.studies.external(ARMS)
    run = next(iter(study))
    with pytest.raises(KeyError, match="images"), run:
        {}["images"]
    assert study.run(run.id).error.detail == "KeyError: 'images'"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_training_has_not_failed(client, stop):
    study = client.studies.external(ARMS)
    run = next(iter(study))
    with pytest.raises(stop), run:
        raise stop
    assert study.run(run.id).status == "queued"
    study.cancel()


def test_refused_answers_are_raised_and_the_training_has_not_failed(client):
    study = client.studies.external(ARMS)
    run = next(iter(study))
    with pytest.raises(InvalidSpec, match="robabilities"), run:
        run.tell(validation=(LABELS, 5 * np.random.default_rng(0).normal(size=(len(LABELS), 3))))
    assert study.run(run.id).status == "queued"
    with pytest.raises(ApiProblem, match="history"), run:
        run.tell(validation=(LABELS, answer(0)), history={"loss": [1.0]})
    study.cancel()


def test_malformed_answers_are_refused_before_they_are_sent(client):
    study = client.studies.external(ARMS)
    run = next(iter(study))
    with pytest.raises(TypeError, match=r"expected \(labels, probabilities\)"):
        run.tell(validation=answer(0))
    with pytest.raises(ValueError, match="ids for 'test', but no answers"):
        run.tell(validation=(LABELS, answer(0)), ids={"test": [1]})
    with pytest.raises(RuntimeError, match="has no result"), run:
        pass
    study.cancel()


def test_a_lease_is_renewed_while_the_training_runs_and_its_loss_is_noticed(client):
    study = client.studies.external(ARMS)
    run = next(study.ask(lease_s=5))
    with run:
        first = study.run(run.id).lease_expires_at
        until(lambda: study.run(run.id).lease_expires_at > first, "the thread's heartbeat")
        assert not run.is_replaced
        study.cancel()
        until(lambda: run.is_replaced, "the news of the cancellation")
        assert run.tell(validation=(LABELS, answer(0))).accepted is False


def test_the_curves_may_be_a_file(client, tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss\n1,1.5,1.6\n2,0.5,1.4\n")
    study = client.studies.external(ARMS)
    run = next(iter(study))
    with run:
        run.tell(validation=(LABELS, answer(0)), history=tmp_path / "history.csv")
    assert study.diagnose_run(run.id).best_epoch == 2
    study.cancel()


def test_a_study_that_the_service_runs_cannot_be_run_locally(client):
    study = client.studies.external(ARMS)
    study.view = study.view.model_copy(update={"kind": "remedies"})
    with pytest.raises(TypeError, match="The service runs the trainings"):
        next(iter(study))
    study.cancel()
