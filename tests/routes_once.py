"""The API's routes, read once a run: each app of the tests would otherwise read the signatures of all of them again.

The files of the dashboard and the manual are shared too: they take longer than the rest of an app.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from api import dashboard, manual


@contextmanager
def routes_read_once() -> Iterator[None]:
    """Let apps that include the same router share what FastAPI builds for its first request.

    Routes find their app through the request, so this works as long as no test overrides dependencies.
    """
    include, made = FastAPI.include_router, dict[int, BaseRoute]()

    def include_once(app: FastAPI, router: APIRouter) -> None:
        if id(router) in made:  # routers are those of modules, and stay
            app.router.routes.append(made[id(router)])
        else:
            include(app, router)
            made[id(router)] = app.router.routes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastAPI, "include_router", include_once)
        for module in (dashboard, manual):
            patch.setattr(module, "install", _install_once(module.install))
        yield


def _install_once(install: Callable[..., None]) -> Callable[..., None]:
    """Wrap `install` so that later apps with the same files reuse the first app's routes and handlers."""
    routes: list[BaseRoute] = []
    handlers: dict[Any, Any] = {}

    def install_once(app: FastAPI, *other_files: Any, **options: Any) -> None:
        if other_files or options:
            install(app, *other_files, **options)
        elif routes:
            app.router.routes += routes
            app.exception_handlers |= handlers
        else:
            routes_before, handlers_before = len(app.router.routes), dict(app.exception_handlers)
            install(app)
            routes.extend(app.router.routes[routes_before:])
            handlers.update(
                {kind: handle for kind, handle in app.exception_handlers.items() if handlers_before.get(kind) != handle}
            )

    return install_once
