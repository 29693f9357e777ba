"""What makes a comparison of a remedy with its base a little unfair. Pure."""

from heldout.spec.job import JobSpec


def chooses_alone(base: JobSpec, changed: JobSpec) -> bool:
    """Whether a remedy's trainings choose their epochs by the validation images, and those of the base do not.

    The best of many epochs looks better on the images that chose it than on others, so these images flatter the remedy.
    Where both choose, both are flattered alike.
    """
    return changed.training.chooses_by_validation and not base.training.chooses_by_validation
