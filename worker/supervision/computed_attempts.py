"""Attempts at work that one training process computes in one go: evaluations, exports, heatmaps, suspected labels."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from heldout.errors import FileOfLaterRelease, JobNotFound, LeaseLost, SpecUnreadable
from heldout.errors.missing import Damaged
from heldout.lifecycle.job import FailureCode
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import make_suspects_key
from heldout.stored.looks import FEATURES_FILE, make_features_key, make_looks_key
from heldout.words.data_and_models import NO_PRETRAINED
from heldout.work.kinds import EvaluateSpec, ExportSpec, FeaturesSpec, HeatmapSpec, SuspectSpec
from models import pretrained
from models.blobs import BlobMissing
from models.digests import FileDigest
from models.store import datasets, evaluations, exports, heatmaps, searches
from models.store.evaluations import TrainedModel
from models.store.exports import ExportSource
from models.stored_files import store_artifact
from models.study_report import collect_model_card
from worker import messages
from worker.supervision.attempt import ComputedAttempt
from worker.supervision.attempt_files import CannotBegin, ModelGone


class EvaluateAttempt(ComputedAttempt[EvaluateSpec]):
    """An attempt at measuring base and winner of a study on test."""

    what = "Measuring on test"
    threads = 1
    _models: Mapping[str, TrainedModel]  # by job, known once it has its assignment

    def assignment(self, in_use: ExitStack) -> messages.EvaluateAssignment:
        spec = self.spec
        try:
            self._models = self.lease.read(lambda session: evaluations.find_models(session, [*spec.base, *spec.winner]))
        except SpecUnreadable as error:
            raise CannotBegin(FailureCode.INTERNAL, error.detail) from error
        specs = [model.spec for model in self._models.values()]
        has_folds, needs_columns = any(spec.folds is not None for spec in specs), specs[0].is_about_groups
        return messages.EvaluateAssignment(
            dataset=self.dataset(in_use, needs_relations=has_folds, needs_columns=needs_columns),
            base=self._fetch(spec.base),
            winner=self._fetch(spec.winner),
            # With folds each model has its own images, and an ensemble has none that all its members were not trained
            # on.
            with_validation=not any(model.has_own_validation for model in self._models.values()),
            resident_bytes=self.shares.resident_bytes(),
        )

    def _fetch(self, jobs: Sequence[str]) -> tuple[messages.AssignedModel, ...]:
        found = []
        for job_id in jobs:
            if job_id not in self._models:
                raise ModelGone(job_id)
            file = self.fetch_model(job_id, self._models[job_id].key, f"{job_id}.keras")
            found.append(messages.AssignedModel(job_id, file, self._models[job_id].spec))
        return tuple(found)

    def end(self, message: messages.Evaluated) -> bool:
        self.lease.settle(
            lambda session: evaluations.end(
                session,
                self.lease.held,
                tested=message.tested,
                ensemble=message.ensemble,
                gaps=message.gaps,
                models=self._models,
            )
        )
        return True


class ExportAttempt(ComputedAttempt[ExportSpec]):
    """An attempt at an export of a training's model, or of a study's ensemble."""

    what = "The export"
    threads = 1

    def assignment(self, in_use: ExitStack) -> messages.ExportAssignment:
        job_id = self.spec.job_id
        try:
            source = self.lease.read(lambda session: exports.find_export_source(session, job_id))
            card = self.lease.read(lambda session: collect_model_card(session, self.lease.blobs, job_id))
        except (SpecUnreadable, FileOfLaterRelease) as error:
            raise CannotBegin(FailureCode.INTERNAL, error.detail) from error
        except JobNotFound as error:
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, error.detail) from error
        if source is None:
            raise ModelGone(job_id)
        needs_relations = not source.predictions and source.spec.folds is not None
        return messages.ExportAssignment(
            source_id=source.id,
            format=self.spec.format,
            spec=source.spec,
            dataset=self.dataset(in_use, needs_relations=needs_relations),
            scratch=self.folder,
            card=card,
            models=tuple(
                self.fetch_model(job_id, key, f"trained-{number}.keras") for number, key in enumerate(source.models)
            ),
            predictions=self._fetch_predictions(source),
        )

    def _fetch_predictions(self, source: ExportSource) -> tuple[Path, ...]:
        try:
            return tuple(
                self.fetch_model(source.id, key, f"predictions-{number}.npz")
                for number, key in enumerate(source.predictions)
            )
        except ModelGone as missing:
            detail = f"The predictions of {source.id}, with which it is compared, are no longer stored."
            raise CannotBegin(FailureCode.EXPORT_FAILED, detail) from missing

    def end(self, message: messages.Exported) -> bool:
        held, job_id = self.lease.held, self.spec.job_id
        self.lease.require()
        # Stored among the training's own files, so that they are deleted together. No two attempts write the same file.
        key = f"jobs/{job_id}/exports/{held.job_id}-{held.attempt}{self.spec.format.facts.suffix}"
        self.lease.blobs.put(key, message.file)
        self.lease.settle(lambda session: exports.mark_stored(session, held, job_id, message.report, key=key))
        if not self.lease.read(lambda session: exports.is_named(session, key)):
            self.lease.forget([key])  # the training was deleted, or the export cancelled
        return True


class HeatmapAttempt(ComputedAttempt[HeatmapSpec]):
    """An attempt at the heatmap of an image."""

    what = "The heatmap"
    threads = 1

    def assignment(self, in_use: ExitStack) -> messages.HeatmapAssignment:
        spec = self.spec
        model = self.lease.read(lambda session: heatmaps.find_model(session, spec.job_id))
        if model is None:
            raise ModelGone(spec.job_id)
        return messages.HeatmapAssignment(
            dataset=self.dataset(in_use),
            scratch=self.folder,
            model=self.fetch_model(spec.job_id, model.key, "trained.keras"),
            index=spec.index,
            classes=spec.classes,
        )

    def end(self, message: messages.ResultWritten) -> bool:
        self.lease.require()
        key = self.lease.key(message.file.name)
        maps = store_artifact(self.lease.blobs, key, message.file, ArtifactName.HEATMAP, ArtifactFormat.NPZ)
        try:
            self.lease.settle(lambda session: heatmaps.end(session, self.lease.held, maps))
        except LeaseLost:
            self.lease.forget([key])  # the training was deleted, or another attempt has the job
            raise
        return True


class SuspectAttempt(ComputedAttempt[SuspectSpec]):
    """An attempt at a search for wrong labels."""

    what = "The search for wrong labels"
    # At most this many of its networks are trained at a time, regardless of the number of cores.
    threads = 2

    def assignment(self, in_use: ExitStack) -> messages.SuspectAssignment:
        # The search also works without relations, names and features.
        dataset = self.dataset(in_use, with_names=True)
        file = self.folder / FEATURES_FILE
        has_features = self.files.fetch_if_there(make_features_key(self.claimed.dataset.id), file)
        features = file if has_features else None
        return messages.SuspectAssignment(dataset, self.folder, self.spec.seed, self.threads, features)

    def end(self, message: messages.ResultWritten) -> bool:
        dataset_id = self.claimed.dataset.id
        self.lease.require()
        digests = self.files.store({make_suspects_key(dataset_id): message.file})
        self.lease.settle(
            lambda session: searches.mark_stored(session, searches.SUSPECTS, self.lease.held, dataset_id, digests)
        )
        return True


class FeaturesAttempt(ComputedAttempt[FeaturesSpec]):
    """An attempt at the features of a dataset. The next attempt on this machine begins with the first missing block."""

    what = "The computation of features"
    threads = 2

    def assignment(self, in_use: ExitStack) -> messages.FeaturesAssignment:
        model = self.lease.read(lambda session: pretrained.find_shared(session, self.settings.pretrained))
        if model is None:
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, NO_PRETRAINED)
        file, digest = self.folder / "pretrained.keras", FileDigest(model.size_bytes, model.sha256)
        blobs, watch = self.lease.blobs, self.lease.require
        try:
            self.files.retry_while_away(lambda: blobs.fetch(model.key, file, digest, watch=watch))
        except (BlobMissing, Damaged) as error:
            detail = (
                f"The file of {model.name} is lost or damaged. The operator can withdraw it and restart the service."
            )
            raise CannotBegin(FailureCode.MODEL_UNAVAILABLE, detail) from error
        dataset = self.dataset(in_use, with_names=True)
        owner = self.lease.read(lambda session: datasets.get_owner(session, self.claimed.dataset.id))
        return messages.FeaturesAssignment(
            dataset=dataset,
            scratch=self.folder,
            model=file,
            model_name=model.name,
            model_sha256=model.sha256,
            cache=messages.AssignedFeatures(
                self.settings.home_path / "features", self.settings.feature_cache_bytes, owner or ""
            ),
            threads=self.threads or 1,
        )

    def end(self, message: messages.FeaturesFound) -> bool:
        dataset_id = self.claimed.dataset.id
        self.lease.require()
        files = {make_features_key(dataset_id): message.features, make_looks_key(dataset_id): message.looks}
        digests = self.files.store(files)
        self.lease.settle(
            lambda session: searches.mark_stored(session, searches.FEATURES, self.lease.held, dataset_id, digests)
        )
        return True
