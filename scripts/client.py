"""Writes the reference of the Python client: the methods of each resource."""

import inspect
from collections.abc import Iterator

from heldout import Client
from heldout.client.client import RESOURCES
from heldout.client.dual import dual, dual_iterator
from scripts.markdown import table

TEXT = """## Methods

`client.train(…)` is short for `client.jobs.create(…)`. `create`, `get` and `list` give handles, which have the
methods of their resource without the id. An `AsyncClient` has the same methods, to be awaited; those that yield are
asynchronous iterators there.

{methods}"""


def write_client() -> str:
    return TEXT.format(methods=table(("method", "does"), _list_methods()))


def _list_methods() -> Iterator[tuple[str, str]]:
    with Client("http://127.0.0.1:9", "ho_1_x") as client:
        resources = {name: type(getattr(client, name)) for name in RESOURCES}
    for resource, kind in resources.items():
        for name, method in inspect.getmembers(kind):
            if isinstance(method, dual | dual_iterator):
                does = (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " ")
                yield f"`client.{resource}.{name}({_list_parameters(method)})`", does


def _list_parameters(method: object) -> str:
    signature = inspect.signature(method)  # type: ignore[arg-type]
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return str(inspect.Signature(parameters))[1:-1]
