"""Who asks: API keys in the Authorization header."""

from typing import Annotated

from fastapi.security import HTTPBearer

from api.http.context import FromVisit
from models.store.keys import Caller

# Describes the header; visits read it.
bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key `ho_<id>_<secret>`, as `heldout keys create --owner NAME` prints it.",
)

CallerDep = Annotated[Caller, FromVisit(lambda visit: visit.caller)]
# For an endpoint that looks the key up together with something else.
KeyDep = Annotated[str, FromVisit(lambda visit: visit.key, admits=False)]
