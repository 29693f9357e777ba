"""`python -m api`: the server's own commands, started by `heldout`. `up` and `serve` are here, the others in `host`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from heldout.service.collection import freeze_what_stays, pause_collection
from heldout.service.settings import DEFAULT_HOME, Settings, make_embedded_settings
from heldout.service.start import list_unknown_settings
from host.commands import commands, main
from host.models_commands import models_commands
from host.owners_commands import owners_commands

commands.add_typer(models_commands, name="models")
commands.add_typer(owners_commands, name="owners")


@commands.command()
def up(
    home: Annotated[Path, typer.Option(envvar="HELDOUT_HOME", help="Folder that keeps all data.")] = DEFAULT_HOME,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="0 picks a free port. Default: 8000.")] = None,
    # Both for `heldout cure --embedded`.
    no_worker: Annotated[bool, typer.Option("--no-worker", hidden=True)] = False,
    file: Annotated[Path | None, typer.Option("--file", hidden=True)] = None,
) -> None:
    """Run the service until you stop it: API and worker on SQLite, all in one folder."""
    with pause_collection():
        from api.app import EmbeddedServer
        from api.connections.server import limit_allocator
        from api.dashboard import is_built
        from host.up import run

    for sentence in list_unknown_settings(os.environ):
        typer.echo(f"heldout: {sentence}", err=True)

    def make_server(settings: Settings, on_listening: Callable[[], None]) -> EmbeddedServer:
        limit_allocator()
        server = EmbeddedServer(settings, on_listening)
        freeze_what_stays()
        return server

    settings = make_embedded_settings(home, port, file)
    has_dashboard = is_built() and file is None
    raise typer.Exit(run(settings, make_server, has_dashboard=has_dashboard, has_worker=not no_worker))


@commands.command(hidden=True)
def serve() -> None:
    """Serve only the API, with the database, broker and blob store that the environment names."""
    with pause_collection():
        from api.app import ApiServer, from_environment
        from api.connections.server import limit_allocator
        from models.database import Database
        from models.migrations import require_newest

    limit_allocator()
    settings = Settings()
    database = Database(settings.database)
    try:
        require_newest(database)
    finally:
        database.dispose()
    server = ApiServer(from_environment(), host=settings.host, port=settings.port, timeout_graceful_shutdown=5)
    freeze_what_stays()
    server.run()


if __name__ == "__main__":
    main()
