"""The API's routes, read once a run: each app of the tests would otherwise read the signatures of all of them again."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute


@contextmanager
def routes_read_once() -> Iterator[None]:
    """Within the block, apps that include a router share what FastAPI makes of it with its first request.

    Routes know their app by the request alone, as long as no test overrides dependencies.
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
        yield
