"""How workers and the reconciler claim, renew, checkpoint, settle and recover jobs. Import from here."""

from models.store.claims.claiming import *
from models.store.claims.finding import *
from models.store.claims.lease import *
from models.store.claims.settle import *
