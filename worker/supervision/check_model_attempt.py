"""One attempt at the check of an uploaded model: what it holds is stored, or the model is rejected."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from heldout.lifecycle.model import ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from heldout.work.kinds import CheckModelSpec
from heldout.work.memory import MemoryKill
from models.store import models
from worker.supervision.foreign_attempt import ForeignAttempt
from worker.supervision.foreign_process import ForeignProcess
from worker.supervision.memory_watch import told_of_cause

log = structlog.get_logger()


class CheckModelAttempt(ForeignAttempt[CheckModelSpec]):
    """The first reading of an uploaded model."""

    what = "The check of the model"

    def start(self, model: Path, memory_bytes: int, in_use: ExitStack) -> ForeignProcess:
        return ForeignProcess(
            "check",
            {},
            {"model": model},
            self.written,
            memory_bytes=memory_bytes,
            wall_s=int(self.spec.max_runtime_s),
        )

    def settle(self, kind: str, content: Any) -> None:
        if kind == "facts":
            facts = ModelFacts.model_validate(content)
            self.lease.settle(lambda session: models.mark_ready(session, self.lease.held, self.spec.model, facts))
        elif kind == "refused":
            self._reject(ModelRejectionCode(content["code"]), str(content["detail"])[:2000])
        elif kind == "out_of_memory":
            self._reject(
                ModelRejectionCode.OUT_OF_MEMORY,
                f"{self.what} needs more memory than it may use. {self.remedy}",
            )
        else:
            raise ValueError(kind)

    def settle_missing(self) -> None:
        self._reject(ModelRejectionCode.UPLOAD_MISSING, "The file is not in the blob store. Upload it again.")

    def settle_late(self) -> None:
        detail = f"The check took longer than the limit of {self.spec.max_runtime_s:.0f} s. Upload a smaller model."
        self._reject(ModelRejectionCode.TIMED_OUT, detail)

    def settle_kill(self, kill: MemoryKill) -> None:
        if kill.is_cause:
            self._reject(ModelRejectionCode.OUT_OF_MEMORY, told_of_cause(kill, self.what, self.remedy))
        else:
            super().settle_kill(kill)

    def _reject(self, code: ModelRejectionCode, detail: str) -> None:
        log.info("model_rejected", model_id=self.spec.model, code=code.value)
        error = {"code": code.value, "detail": detail}
        self.lease.settle(lambda session: models.reject(session, self.lease.held, error))
        self.lease.forget([self.spec.key])
