"""Every failure that Heldout expects, with a stable code, an HTTP status, and what to do about it."""

from heldout.errors.base import *
from heldout.errors.conflicts import *
from heldout.errors.judges import *
from heldout.errors.missing import *
from heldout.errors.models import *
from heldout.errors.refused import *
from heldout.errors.service import *
