"""`heldout models add` and `withdraw`: models that the operator shares with all owners. Works on the database."""

from pathlib import Path
from typing import Annotated

import typer

from heldout.errors import OperatorError
from host.command_parts import AsJson, HomeOption, answer, configure_settings, open_database
from models.blobs import Blobs
from models.digests import compute_file_digest
from models.ids import make_id
from models.store import models

models_commands = typer.Typer(no_args_is_help=True, help="Share models with all owners, and withdraw them.")


@models_commands.command("add")
def add_model(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")],
    license_: Annotated[str, typer.Option("--license", help="The license of its weights, such as Apache-2.0.")],
    source: Annotated[str, typer.Option(help="Where it is from: an address, or who made it from what.")],
    shared: Annotated[bool, typer.Option("--shared", help="For all owners. Needed, because there is no other way.")],
    name: Annotated[str | None, typer.Option(help="Default: the name of the file.")] = None,
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Add a model for all owners, who can use it but not delete it. A worker reads it, as any upload."""
    settings = configure_settings(home)
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
        blobs = Blobs(settings.blobs_url)
        blobs.put(key, file)
        with database.write() as session:
            models.add_shared(
                session,
                model_id,
                about,
                key=key,
                sha256=digest.sha256,
                size_bytes=size_bytes,
                max_parameters=settings.max_parameters,
            )
    answer(
        {"object": "model", "id": model_id, "name": about.name, "license": license_, "source": source},
        f"{model_id}\nA worker reads it now. `heldout models show {model_id}` says what came of it.",
        as_json=as_json,
    )


@models_commands.command("withdraw")
def withdraw_model(
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="The id of a shared model, mod_….")],
    as_json: AsJson = False,
    home: HomeOption = None,
) -> None:
    """Offer a shared model no longer, and delete its file. Jobs that use it have a copy, and continue."""
    settings = configure_settings(home)
    with open_database(settings) as database:
        with database.write() as session:
            key = models.withdraw(session, model_id)
        if key is None:
            raise OperatorError(f"There is no shared model {model_id!r}. `heldout models` lists them.")
        Blobs(settings.blobs_url).delete(key)
    answer({"object": "model", "id": model_id}, f"{model_id} is withdrawn.", as_json=as_json)
