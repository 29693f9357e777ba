"""The parts of a script that change training images: augmentation, erasing, mixup and CutMix.

They compute what `worker/training/augment.py`, `erasing.py` and `mixing.py` do, with the same draws.
"""

from math import radians

from heldout.spec import AugmentationSpec, JobSpec

_LEAST_ALPHA = 1e-6  # as `worker/training/mixing.py` has it


def moves(augmentation: AugmentationSpec) -> bool:
    """Whether pixels go to other places."""
    one = augmentation
    amounts = one.rotation_degrees, one.width_shift, one.height_shift, one.zoom
    return any(amounts) or one.horizontal_flip or one.vertical_flip


def shades(augmentation: AugmentationSpec) -> bool:
    """Whether pixels get lighter or darker."""
    return bool(augmentation.contrast or augmentation.brightness)


def use_tensorflow(spec: JobSpec) -> bool:
    """Whether the parts call TensorFlow itself."""
    return spec.augmentation is not None and (moves(spec.augmentation) or shades(spec.augmentation))


def mixes(spec: JobSpec) -> bool:
    """Whether images are mixed."""
    return bool(spec.training.mixup or spec.training.cutmix)


def parts(spec: JobSpec) -> list[str]:
    """The functions that the job needs, in order: `draw_changes` and `changed`, `draw_mixing` and `blended`."""
    augmentation, found = spec.augmentation, list[str]()
    if spec.training.cutmix or (augmentation is not None and augmentation.erasing):
        found += [_RECTANGLES]
    if augmentation is not None:
        if moves(augmentation):
            found += [_draw_moves(augmentation), *_moved(augmentation)]
        found += [_draw_changes(augmentation), _changed(augmentation)]
    if mixes(spec):
        found += [_draw_mixing(spec), _BLENDED]
    return found


def _draw_moves(spec: AugmentationSpec) -> str:
    return f'''
def draw_moves(draws):
    """(images, 8) rows [a, b, c, d, e, f, 0, 0]: pixel (x, y) then shows what was at (a x + b y + c, d x + e y + f)."""
    height, width, _ = SHAPE
    angle = draws[0] * {radians(spec.rotation_degrees)!r}
    right, down = draws[1] * {spec.width_shift!r} * width, draws[2] * {spec.height_shift!r} * height
    zoom_x, zoom_y = 1 + draws[3] * {spec.zoom!r}, 1 + draws[4] * {spec.zoom!r}
    flip_x, flip_y = (draws[5] < 0) & {spec.horizontal_flip}, (draws[6] < 0) & {spec.vertical_flip}
    cosine, sine = np.cos(angle), np.sin(angle)
    a, b, d, e = cosine * zoom_x, -sine * zoom_y, sine * zoom_x, cosine * zoom_y
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    c = cosine * right - sine * down + middle_x - a * middle_x - b * middle_y
    f = sine * right + cosine * down + middle_y - d * middle_x - e * middle_y
    c = c + np.where(flip_x, a * (width - 1), 0) + np.where(flip_y, b * (height - 1), 0)
    f = f + np.where(flip_x, d * (width - 1), 0) + np.where(flip_y, e * (height - 1), 0)
    a, d = np.where(flip_x, -a, a), np.where(flip_x, -d, d)
    b, e = np.where(flip_y, -b, b), np.where(flip_y, -e, e)
    return np.stack([a, b, c, d, e, f, np.zeros_like(a), np.zeros_like(a)], axis=1).astype(np.float32)
'''


def _moved(spec: AugmentationSpec) -> list[str]:
    if spec.fill_mode == "wrap":
        return [_SOURCES, _MOVED_AND_WRAPPED]
    mode = "REFLECT" if spec.fill_mode == "reflect" else "NEAREST"
    text = f'''
def moved(images, matrices):
    """Each image seen through its matrix, bilinear; its borders as `fill_mode: {spec.fill_mode}` says."""
    height, width, _ = SHAPE
    found = tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=matrices, output_shape=[height, width], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="{mode}",
    )
'''
    if spec.fill_mode != "constant":
        return [text.replace("found = ", "return ")]
    return [_SOURCES, text + _CUT_AT_BORDERS]


_SOURCES = '''
def sources_of(matrices):
    """(images, 2, height × width): the x and the y from which each pixel takes its colour."""
    height, width, _ = SHAPE
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    grid = tf.constant(np.stack([x, y, np.ones_like(x)]), tf.float32)
    return tf.reshape(tf.reshape(matrices[:, :6], [-1, 3]) @ grid, [-1, 2, height * width])
'''

_CUT_AT_BORDERS = """\
    sources, rounding = sources_of(matrices), 1e-6 * max(height, width)
    last = tf.constant([[width - 1.0], [height - 1.0]])
    inside = tf.reduce_all((sources >= -rounding) & (sources <= last + rounding), axis=1)
    return found * tf.reshape(tf.cast(inside, tf.float32), [-1, height, width, 1])
"""

_MOVED_AND_WRAPPED = '''
def moved(images, matrices):
    """Each image seen through its matrix, bilinear; beyond its borders it begins again."""
    height, width, channels = SHAPE
    sources = sources_of(matrices)
    last = tf.constant([[width - 1.0], [height - 1.0]])
    period = tf.maximum(last, 1.0)
    below = sources + period * (tf.floor(-sources / period) + 1)
    above = sources - period * tf.floor(sources / period)
    sources = tf.clip_by_value(tf.where(sources < 0, below, tf.where(sources > last, above, sources)), 0.0, last)
    flat = tf.reshape(images, [-1, height * width, channels])
    x, y = sources[:, 0], sources[:, 1]
    left, top = tf.floor(x), tf.floor(y)
    right, bottom = tf.minimum(left + 1, width - 1.0), tf.minimum(top + 1, height - 1.0)

    def at(column, row):
        return tf.gather(flat, tf.cast(row * width + column, tf.int32), batch_dims=1)

    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = at(left, top) * (1 - across) + at(right, top) * across
    lower = at(left, bottom) * (1 - across) + at(right, bottom) * across
    return tf.reshape(upper * (1 - down) + lower * down, [-1, height, width, channels])
'''

_RECTANGLES = '''
def placed(rows, columns, draws):
    """(images, 4) rows [top, left, bottom, right] of rectangles of these sizes, at any place alike."""
    height, width, _ = SHAPE
    top, left = np.floor(draws[0] * (height - rows + 1)), np.floor(draws[1] * (width - columns + 1))
    return np.stack([top, left, top + rows, left + columns], axis=1).astype(np.int32)


def within(rectangles):
    """(images, height, width, 1): which pixels lie in the rectangle of their image."""
    top, left, bottom, right = rectangles.T[:, :, None, None]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right))[..., None]
'''


def _draw_changes(spec: AugmentationSpec) -> str:
    lines, given = list[str](), list[str]()
    if moves(spec) or shades(spec):
        lines += ["draws = np.random.default_rng([SEED, 2, epoch]).uniform(-1, 1, (9, count))"]
    if moves(spec):
        given += ["draw_moves(draws)"]
    if spec.contrast:
        given += [f"(1 + draws[7] * {spec.contrast!r}).astype(np.float32)"]
    if spec.brightness:
        given += [f"(draws[8] * {spec.brightness!r}).astype(np.float32)"]
    if spec.erasing:
        least, greatest = spec.erasing_area
        lines += [
            "height, width, _ = SHAPE",
            "draws = np.random.default_rng([SEED, 3, epoch]).random((5, count))",
            f"area = ({least!r} + draws[1] * ({greatest!r} - {least!r})) * height * width",
            "aspect = 0.3 * (3.3 / 0.3) ** draws[2]",
            "rows = np.clip(np.rint(np.sqrt(area * aspect)), np.ceil(area / width), height)",
            "columns = np.clip(np.rint(area / rows), 1, width)",
        ]
        given += [f"np.where(draws[0, :, None] < {spec.erasing!r}, placed(rows, columns, draws[3:]), 0)"]
    if spec.erasing and len(given) > 1:  # the second draws replace the first
        lines.insert(1, f"changes = [{', '.join(given[:-1])}]")
        result = f"[*changes, {given[-1]}]"
    else:
        result = f"[{', '.join(given)}]"
    body = "\n".join(f"    {line}" for line in lines)
    return f'''
def draw_changes(epoch, count):
    """What is done to each image of an epoch, in the order in which it takes them."""
{body}
    return {result}
'''


def _changed(spec: AugmentationSpec) -> str:
    taken, lines = list[str](), list[str]()
    if moves(spec):
        taken += ["matrices"]
        lines += ["images = moved(images, matrices)"]
    if spec.contrast:
        taken += ["contrast"]
        lines += [
            "mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)",
            "images = (images - mean) * contrast[:, None, None, None] + mean",
        ]
    if spec.brightness:
        taken += ["brightness"]
        lines += ["images = images + brightness[:, None, None, None]"]
    if shades(spec):
        lines += ["images = tf.clip_by_value(images, 0.0, 1.0)"]
    if spec.erasing:
        taken += ["rectangles"]
        lines += ["images = np.where(within(rectangles), fill, images)"]
    body = "\n".join(f"    {line}" for line in lines)
    return f'''
def changed(images, {", ".join([*taken, "fill=None"])}):
    """The images after what was drawn for them{"; `fill` is the colour of what is erased" if spec.erasing else ""}."""
{body}
    return np.asarray(images)
'''


def _draw_mixing(spec: JobSpec) -> str:
    alpha = max(spec.training.mixup or spec.training.cutmix, _LEAST_ALPHA)
    text = f'''
def draw_mixing(epoch, count, batch):
    """With which image of its batch each image of an epoch is mixed, and how much of it remains."""
    draws = np.random.default_rng([SEED, 4, epoch])
    shuffled = np.lexsort((draws.random(count), np.arange(count) // batch))  # within each batch
    shares = draws.beta({alpha!r}, {alpha!r}, count)
'''
    if spec.training.mixup:
        return text + "    return shuffled % batch, shares.astype(np.float32)\n"
    return f"""{text}    height, width, _ = SHAPE
    side = np.sqrt(1 - shares)
    rows, columns = np.rint(side * height), np.rint(side * width)
    shares = 1 - rows * columns / (height * width)
    return shuffled % batch, shares.astype(np.float32), placed(rows, columns, draws.random((2, count)))
"""


_BLENDED = '''
def blended(values, partners, shares):
    """Each of the values mixed with its partner's."""
    shares = shares.reshape(-1, *[1] * (values.ndim - 1))
    return shares * values + (1 - shares) * values[partners]
'''
