"""Keeps models in memory: loads each at its first request, and drops those not used for longest."""

import asyncio
import time
from collections import Counter, OrderedDict

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.concurrency import run_in_threadpool

from api.turns import Turns
from heldout.errors import ExportFailed, ExportLost
from heldout.service.settings import Settings
from heldout.stored.artifacts import ExportFormat
from models.blobs import BlobMissing, Blobs
from models.database import Database, Session
from models.model_exports import FoundExport, ModelSource, find_or_create, find_training_with_model
from models.store.keys import Caller
from models.tables import ExportRow
from predict import metrics
from predict.model import HeldOutImages, OnnxNetwork, ServedModel, get_facts

POLL_S = 0.2
LOADS_AT_ONCE = 2
# At most this many requests of one owner wait for exports. Further ones get ExportNotReady immediately.
MAX_WAITING_EACH = 32


class ModelCache:
    """The models in memory, by job id."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        settings: Settings,
        threads: int,
    ) -> None:
        """threads: how many threads each model computes with."""
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._threads = threads
        self._models: OrderedDict[str, ServedModel] = OrderedDict()
        # Two models load at once, of different owners: a model that many request is loaded once, and loading many
        # models does not fill the memory.
        self._loading = Turns(LOADS_AT_ONCE, per_group=1)
        self._load_threads = CapacityLimiter(LOADS_AT_ONCE)  # threads of its own, so that answers need not wait
        self._waiting: Counter[str] = Counter()

    def get_loaded(self, job_id: str) -> ServedModel | None:
        """Return the model if it is in memory."""
        model = self._models.get(job_id)
        if model is not None:
            self._models.move_to_end(job_id)
        return model

    async def get(self, caller: Caller, job_id: str, *, wait_s: float) -> ServedModel:
        """Return the model of the caller's job. If it was never exported, order the export and wait for it.

        Raises:
            JobNotFound, NotReady, NoModel, DatasetNotFound, QuotaExceeded, OwnerSuspended: as in `GET …/model`.
            ExportNotReady: if its export has not ended after `wait_s`. ExportDiffers, ExportFailed, ExportNotSupported.
            ModelLost, ExportLost, ArtifactDamaged, StorageUnavailable, DatabaseUnavailable.
        """
        if (model := self.get_loaded(job_id)) is not None:
            return model
        row = await self._get_export(caller, job_id, wait_s)
        async with self._loading.taken(caller.owner):
            if (model := self.get_loaded(job_id)) is not None:
                return model
            model = await run_sync(self._load, caller, job_id, row, limiter=self._load_threads)
            self._models[job_id] = model
            self._drop_least_used()
            metrics.LOADS.inc()
            self.measure()
            return model

    def measure(self) -> None:
        """Update the metrics of what is in memory."""
        metrics.MODELS.set(len(self._models))
        metrics.MODELS_BYTES.set(self._size_bytes)

    async def _get_export(self, caller: Caller, job_id: str, wait_s: float) -> ExportRow:
        """Return the row of the checked ONNX file."""
        deadline = time.monotonic() + wait_s

        def find(session: Session) -> ModelSource:
            return find_training_with_model(session, caller, job_id)

        def ask() -> FoundExport:
            return find_or_create(self._database, caller, find, ExportFormat.ONNX)

        asked = await run_in_threadpool(ask)
        if self._waiting[caller.owner] >= MAX_WAITING_EACH:
            return asked.stored()
        self._waiting[caller.owner] += 1
        try:
            while not asked.has_ended and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
                asked = await run_in_threadpool(ask)
        finally:
            self._waiting[caller.owner] -= 1
            self._waiting += Counter()  # removes owners without waiting requests
        return asked.stored()

    def _load(self, caller: Caller, job_id: str, row: ExportRow) -> ServedModel:
        assert row.key is not None, "a successful export to ONNX has a file"
        try:
            content = self._blobs.read(row.key, row.digest)
        except BlobMissing as error:
            raise ExportLost(job_id, ExportFormat.ONNX) from error
        with self._database.read() as session:
            facts = get_facts(session, self._blobs, caller.owner, job_id)
        try:
            network = OnnxNetwork(content, self._threads)
        except Exception as error:
            raise ExportFailed(job_id, ExportFormat.ONNX, "onnxruntime cannot read the stored file.") from error
        held_out = HeldOutImages(self._database, self._blobs, job_id, facts.epoch, facts.dataset_sha256)
        return ServedModel(network, facts, len(content), held_out)

    def _drop_least_used(self) -> None:
        """Drop models until the rest fits, starting with the owner who uses most memory. The newest model stays."""
        newest = next(reversed(self._models))
        while len(self._models) > 1 and self._size_bytes > self._settings.predict_cache_bytes:
            older = [(job_id, model) for job_id, model in self._models.items() if job_id != newest]
            sizes: Counter[str] = Counter()
            for _, model in older:
                sizes[model.facts.owner] += model.size_bytes
            most = max(sizes.values())
            del self._models[next(job_id for job_id, model in older if sizes[model.facts.owner] == most)]

    @property
    def _size_bytes(self) -> int:
        return sum(model.size_bytes for model in self._models.values())
