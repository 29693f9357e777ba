"""`heldout models`: list, show and delete models that were uploaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, ends_with_code, pass_on, print_list, service
from heldout.cli.figures import NONE, moment
from heldout.cli.screen import print_fields, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.views.model import ModelView

ModelId = Annotated[str, typer.Argument(metavar="ID", help="A model's id, mod_….", show_default=False)]

app = typer.Typer(help="List models that were trained elsewhere.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context, as_json: AsJson = False, home: Home = None) -> None:
    """List the models that you have uploaded, newest first; `heldout evaluate` uploads one."""
    if context.invoked_subcommand is None:
        _list(as_json=as_json, home=home)
    else:
        pass_on(context, home=home, as_json=as_json)


@ends_with_code
def _list(*, as_json: bool, home: Path | None) -> None:
    with service(home) as client:
        print_list(list(client.uploaded_models()), as_json, _show_all)


@app.command()
@ends_with_code
def show(model_id: ModelId, as_json: AsJson = False, home: Home = None) -> None:
    """Show what a model takes and gives, and its layers."""
    with service(home) as client:
        found = client.uploaded_model(model_id)
    print_json(found) if as_json else _show(found)


@app.command()
@ends_with_code
def delete(model_id: ModelId, as_json: AsJson = False, home: Home = None) -> None:
    """Delete a model. What was measured of it stays."""
    with service(home) as client:
        client.delete_uploaded_model(model_id)
    print_json({"id": model_id, "object": "model", "deleted": True}) if as_json else say(f"{model_id} deleted")


def _show_all(found: "Sequence[ModelView]") -> None:
    rows = [
        (one.id, one.name, one.status.value, sizes(one.input_shape), sizes(one.output_shape), _count(one))
        for one in found
    ]
    print_table(("ID", "NAME", "STATUS", "TAKES", "GIVES", "PARAMETERS"), rows, right=(5,))


def _show(model: "ModelView") -> None:
    fields = [
        ("id", model.id),
        ("name", model.name),
        ("status", model.status.value),
        ("format", NONE if model.format is None else model.format.value),
        ("written by", model.made_by or NONE),
        ("takes", sizes(model.input_shape)),
        ("gives", sizes(model.output_shape)),
        ("parameters", _count(model)),
        ("created", moment(model.created_at)),
    ]
    if model.error is not None:
        fields.append(("error", f"{model.error.code}: {model.error.detail}"))
    print_fields(fields)
    if model.layers:
        say("")
        rows = [(one.name, one.type, ", ".join(sizes(shape) for shape in one.weights)) for one in model.layers]
        print_table(("LAYER", "TYPE", "WEIGHTS"), rows)


def sizes(shape: "Sequence[int | None] | None") -> str:
    """`28×28×1`; `any` where a size is free."""
    return NONE if shape is None else "×".join("any" if one is None else str(one) for one in shape)


def _count(model: "ModelView") -> str:
    return NONE if model.parameters is None else f"{model.parameters:,}"
