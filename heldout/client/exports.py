"""The client's methods for the models of jobs and studies, in any format."""

from pathlib import Path

from heldout.access.routes import get_model_route
from heldout.client.connection import TIMEOUT_S
from heldout.client.dual import dual
from heldout.client.resource import OneHandle, Resource
from heldout.client.typed_answers import quote_segment
from heldout.errors import JobNotFound
from heldout.stored.artifacts import ExportFormatName, ModelFormatName
from heldout.views.model import ExportReportView, ExportView


class ModelSourceResource(Resource[OneHandle]):
    """Methods for the model that a job or a study has made."""

    @dual
    async def download_model(self, source_id: str, to: Path | str, format: ModelFormatName = "keras") -> int:
        """Write the model to a file, whole or not at all; returns its size in bytes.

        The first request for a format other than `keras` orders an export, as does any request for a study's
        ensemble. The client then waits for the file as long as its patience lasts.

        Args:
            source_id: the id of a job, or of a study with an ensemble.
            format: `keras`, `saved_model` (a .zip), `onnx`, `litert` (a `.tflite` file), or for jobs `python`: a
                script that repeats the training, and `keras_config`: the layers of an uploaded model with the changes
                that it was trained with, as JSON.
        Raises:
            OSError: if the file cannot be written.
        """
        return await self._connection.download(f"{_build_model_path(source_id)}?format={format}", Path(to))

    @dual
    async def export(self, source_id: str, format: ExportFormatName) -> ExportView:
        """Order an export of the model before it is needed, or again after a failed export."""
        return await self._answers.read(
            ExportView, "POST", _build_model_path(source_id), params={"format": format}, repeatable=True
        )

    @dual
    async def export_report(
        self, source_id: str, format: ExportFormatName = "keras", *, wait_s: int = 0
    ) -> ExportReportView:
        """Compare the exported model's answers with the original's. The first request orders the export.

        Args:
            wait_s: how long the service may wait for the export to end (0–60).
        """
        params = {"format": format, "wait": wait_s}
        route = f"{_build_model_path(source_id)}/report"
        return await self._answers.read(ExportReportView, "GET", route, params=params, timeout_s=wait_s + TIMEOUT_S)


def _build_model_path(source_id: str) -> str:
    return get_model_route(quote_segment(source_id, JobNotFound(source_id)))
