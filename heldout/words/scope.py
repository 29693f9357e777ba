"""Names what Heldout does not do, and suggests what to do instead."""

from collections.abc import Mapping

ONE_LABEL = "Heldout trains and measures classifiers that give each image one label."
SEVERAL_LABELS = (
    f"{ONE_LABEL} Several labels per image are not supported. Make a dataset for each label, with two classes such as "
    "cat and no cat, or keep only the images with one label."
)
MEASURED_VALUES = (
    f"{ONE_LABEL} Labels that are measured values (regression) are not supported. Save ranges of the values as "
    "classes, such as low, medium and high."
)
OTHER_TASK = (
    f"{ONE_LABEL} Detection, segmentation and text are not supported. To use such images, cut out each object and save "
    "it under its class."
)
OTHER_LAYERS = (
    "Blocks have no such layers. Build the network in Keras, upload it, and name it in `network.model`; it is trained "
    "unchanged."
)

# Fields that a spec does not have, and that people look for.
BEYOND_SPECS: Mapping[str, str] = {
    **dict.fromkeys(("depthwise", "separable", "dilation", "dilation_rate"), OTHER_LAYERS),
    **dict.fromkeys(("skip_connections", "shortcut"), "A block with `residual: true` has a shortcut."),
    **dict.fromkeys(("multi_label", "multilabel", "labels_per_image"), SEVERAL_LABELS),
    **dict.fromkeys(("regression", "targets"), MEASURED_VALUES),
    **dict.fromkeys(("task", "boxes", "bboxes", "bounding_boxes", "masks", "segmentation", "detection"), OTHER_TASK),
}
