"""Why test results are poor, of a history that another program has recorded."""

from api.http.auth import CallerDep
from api.http.problems import JSON_BODY, problems
from api.http.routing import resource
from api.routes.foreign_training import ForeignTraining
from heldout.histories.verdict import diagnose_read
from heldout.views.diagnosis import DiagnosisView

router = resource("/v1/diagnoses", "diagnoses")


@router.post("", responses=problems(*JSON_BODY))
def diagnose_history(training: ForeignTraining, caller: CallerDep) -> DiagnosisView:
    """Judge a history that another program has recorded. Nothing is stored."""
    return DiagnosisView.of(diagnose_read(training.read()))
