"""What a spec would cost, as clients see it."""

from heldout.spec import JobSpec
from heldout.views.estimate import EstimateView, LayerView
from models.submit import Estimate


def estimate_view(spec: JobSpec, estimate: Estimate) -> EstimateView:
    """The estimate beside the spec that it is for."""
    plan = estimate.plan
    return EstimateView(
        object="estimate",
        spec=spec,
        parameters=plan.parameters,
        layers=[LayerView(name=one.name, shape=list(one.shape), parameters=one.parameters) for one in plan.layers],
        flops_per_image=plan.flops_per_image,
        memory_bytes=estimate.memory_bytes,
        seconds_per_epoch=estimate.seconds_per_epoch,
    )
