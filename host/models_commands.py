"""`heldout models add` and `withdraw`: models that the operator shares with all owners."""

import time
from pathlib import Path
from typing import Annotated

import typer

from heldout.errors import OperatorError
from heldout.lifecycle.resources import ModelStatus
from heldout.service.settings import Settings
from heldout.spec.pretrained import KERAS_NETWORKS
from host.command_parts import AsJson, HomeOption, answer, configure_settings
from host.homes import open_database
from models import pretrained
from models.blobs import Blobs
from models.database import Database
from models.digests import compute_file_digest
from models.ids import make_id
from models.store import models
from models.tables import ModelRow

_LOOK_EVERY_S = 0.5

models_commands = typer.Typer(no_args_is_help=True, help="Share models with all owners, and withdraw them.")


@models_commands.command("add")
def add_model(
    file: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="The license of its weights, such as Apache-2.0. Needed for a file.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where it is from: an address, or who made it from what. Needed for a file.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="For all owners. Needed for a file, because there is no other way.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Default: the name of the file.")] = None,
    from_keras: Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            metavar="NAME",
            help=f"Instead of a file: a worker downloads Keras' own weights of {', '.join(KERAS_NETWORKS)}.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --pretrained: do not wait until the weights are there.")
    ] = False,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Add a model for all owners, who can use it but not delete it. A worker reads it, as any upload."""
    settings = configure_settings(home)
    if from_keras is not None:
        if file or license_ or source or name:
            raise typer.BadParameter("give --pretrained alone: its file, name, license and source are known.")
        _add_from_keras(settings, from_keras, detach=detach, as_json=as_json)
        return
    if not (file and license_ is not None and source is not None and shared):
        raise typer.BadParameter("give FILE with --shared, --license and --source, or --pretrained NAME.")
    about = models.SharedModel(name or file.name, license_, source)
    if (fault := about.find_fault()) is not None:
        raise typer.BadParameter(fault)
    digest = compute_file_digest(file)
    size_bytes = digest.size_bytes or 0
    if size_bytes > settings.max_model_bytes:
        raise OperatorError(
            f"{file} has {size_bytes:,} bytes; at most {settings.max_model_bytes:,} are accepted. Raise "
            "HELDOUT_MAX_MODEL_BYTES, or save the model without its optimizer."
        )
    model_id = make_id("mod")
    key = f"models/{model_id}/shared"
    with open_database(settings) as database:
        Blobs(settings.blobs_url).put(key, file)
        with database.write() as session:
            row = models.add(
                session,
                None,
                model_id,
                about.name,
                key=key,
                sha256=digest.sha256,
                size_bytes=size_bytes,
                max_parameters=settings.max_parameters,
                shared=about,
            )
            _answer(row, f"{model_id}\nA worker reads it now. {_say_how_to_look(row)}", as_json=as_json)


def _add_from_keras(settings: Settings, name: str, *, detach: bool, as_json: bool) -> None:
    """Order a network of Keras, and wait until a worker has fetched it. Raises OperatorError if it could not."""
    with open_database(settings) as database:
        with database.write() as session:
            row = pretrained.order(session, name)
        if row.status is ModelStatus.CHECKING and not detach:
            text = f"{row.id}: a worker downloads it from {settings.keras_url}. Ctrl-C ends only the waiting."
            typer.echo(text, err=True)
            row = _wait(database, row.id)
    if row.status is ModelStatus.REJECTED:
        raise OperatorError(f"{name} was not added. {(row.error or {})['detail']}")
    if row.status is ModelStatus.READY:
        text = (
            f"{row.id}\n{name} is shared with all owners: {row.source} ({row.license}).\n"
            f'Networks begin with it by `"backbone": {{"model": "{name}"}}`.'
        )
        _answer(row, text, as_json=as_json)
    else:
        _answer(row, f"{row.id}\nA worker downloads it. {_say_how_to_look(row)}", as_json=as_json)


def _wait(database: Database, model_id: str) -> ModelRow:
    """Wait until a worker has read the model."""
    while True:
        with database.read() as session:
            row = session.get_one(ModelRow, model_id)
        if row.status is not ModelStatus.CHECKING:
            return row
        time.sleep(_LOOK_EVERY_S)


def _say_how_to_look(row: ModelRow) -> str:
    return f"`heldout models show {row.id}` says what came of it."


def _answer(row: ModelRow, text: str, *, as_json: bool) -> None:
    about = {"id": row.id, "name": row.name, "license": row.license, "source": row.source}
    answer({"object": "model", **about}, text, as_json=as_json)


@models_commands.command("withdraw")
def withdraw_model(
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="The id of a shared model, mod_….")],
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Stop sharing a model, and delete its file. Jobs that use it have a copy, and continue."""
    settings = configure_settings(home)
    with open_database(settings) as database:
        with database.write() as session:
            keys_of_files = models.withdraw(session, model_id)
        if not keys_of_files:
            raise OperatorError(f"There is no shared model {model_id!r}. `heldout models` lists them.")
        for key in keys_of_files:
            Blobs(settings.blobs_url).delete(key)
    answer({"object": "model", "id": model_id}, f"{model_id} is withdrawn.", as_json=as_json)
