"""Every failure that Heldout expects, with a stable code, an HTTP status, and what to do about it."""

from heldout.errors.base import *
from heldout.errors.conflicts import *
from heldout.errors.exports import *
from heldout.errors.limits import *
from heldout.errors.lost import *
from heldout.errors.not_found import *
from heldout.errors.predictions import *
from heldout.errors.refused import *
from heldout.errors.runs import *
from heldout.errors.service import *
from heldout.errors.unreadable import *
