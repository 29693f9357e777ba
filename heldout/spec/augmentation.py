"""The part of a job spec that describes the random changes of training images."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from heldout.spec.part import ChoiceSpec, SpecPart

Fraction = Annotated[float, Field(ge=0, le=0.5)]
Share = Annotated[float, Field(gt=0, le=1)]
# The smallest and the largest share of an image's area.
Area = tuple[Share, Share]


def _check_area(area: Area | None) -> Area | None:
    if area is not None and area[0] > area[1]:
        raise ValueError(f"the smallest share ({area[0]}) must not exceed the largest ({area[1]})")
    return area


class RandomCropSpec(ChoiceSpec):
    """A random part of each image, at the image's own size: of its padded copy, or enlarged."""

    owned: ClassVar = {"padding": ("padded", 0.125), "area": ("resized", (0.08, 1.0))}

    name: Literal["padded", "resized"] = "padded"
    padding: float | None = Field(
        None, gt=0, le=0.5, description="Of `padded`: share of the side, in whole pixels; 0.125 is 4 pixels of 32."
    )
    area: Area | None = Field(
        None, strict=False, description="Of `resized`: smallest and largest share of an image that its crop covers."
    )

    _check_order = field_validator("area")(_check_area)


class AugmentationSpec(SpecPart):
    """Random changes of the training images, drawn for each image; each amount is uniform in ±x."""

    rotation_degrees: float = Field(0.0, ge=0, le=180)
    width_shift: Fraction = 0.0
    height_shift: Fraction = 0.0
    zoom: Fraction = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    random_crop: RandomCropSpec | None = None
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = Field(0.0, description="Of color images: saturation is multiplied by 1 ± x.")
    hue: Fraction = Field(0.0, description="Of color images: share of the color circle.")
    trivial_augment: bool = Field(
        False, description="One random operation of random strength on each image (TrivialAugment, wide space)."
    )
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    erasing: float = Field(
        0.0, ge=0, le=1, description="Probability that a rectangle is filled with the mean of the training images."
    )
    erasing_area: Area = Field(
        (0.02, 0.33), strict=False, description="Smallest and largest share of an image that a rectangle covers."
    )

    views: int | None = Field(
        None,
        ge=1,
        le=100,
        description="Number of fixed changed copies of each image, which the epochs take in turn; null: every epoch "
        "draws new changes.",
    )

    _check_order = field_validator("erasing_area")(_check_area)

    @property
    def moves(self) -> bool:
        """Whether pixels change their place, which one resampling does."""
        amounts = self.rotation_degrees or self.width_shift or self.height_shift or self.zoom
        flips = self.horizontal_flip or self.vertical_flip
        return bool(amounts or flips or self.random_crop)

    @property
    def shades(self) -> bool:
        return bool(self.contrast or self.brightness)

    @property
    def colors(self) -> bool:
        """Whether it changes colors, which only color images have."""
        return bool(self.saturation or self.hue)
