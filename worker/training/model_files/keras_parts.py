"""The parts of Keras that an uploaded network may have: exact pairs of a module and a class, and their arguments.

Everything that is not listed is refused. Keras finds a class by `module + "." + class_name` and passes it any
arguments, so a list of forbidden names can be bypassed; a list of exact pairs cannot.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any


def split(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Class names by the module that Keras writes for them.
Classes = Mapping[str, frozenset[str]]
MODELS: Classes = {"keras": split("Sequential"), "keras.src.models.functional": split("Functional")}
LAYERS: Classes = {
    "keras.layers": split(
        """
        Activation ActivityRegularization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add AdditiveAttention
        AlphaDropout Attention AutoContrast Average AveragePooling1D AveragePooling2D BatchNormalization Bidirectional
        CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose Cropping1D Cropping2D Dense DepthwiseConv1D DepthwiseConv2D
        Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU GaussianDropout GaussianNoise
        GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D GroupNormalization
        GroupQueryAttention Identity InputLayer LSTM LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D
        Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RandomBrightness
        RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing
        RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization
        RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector
        Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN Softmax Solarization SpatialDropout1D
        SpatialDropout2D SpectralNormalization Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D
        ZeroPadding1D ZeroPadding2D
        """
    ),
    "keras.src.activations.activations": split("Mish ReLU"),
    "keras.src.applications.convnext": split("LayerScale StochasticDepth"),
    "keras.src.applications.inception_resnet_v2": split("CustomScaleLayer"),
    "keras.src.ops.core": split("Cast ConvertToTensor SaturateCast Slice StopGradient Unstack"),
    "keras.src.ops.einops": split("Rearrange"),
    "keras.src.ops.image": split("CropImages ExtractPatches HSVToRGB PadImages RGBToGrayscale RGBToHSV Resize"),
    "keras.src.ops.linalg": split("Norm"),
    "keras.src.ops.math": split("Erf Logsumexp Rsqrt"),
    "keras.src.ops.nn": split(
        """
        AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace DepthwiseConv
        DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid
        LogSoftmax MaxPool Moments Normalize RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink Softmax
        Softplus Softsign SpaceToDepth Sparsemax Squareplus TanhShrink Threshold
        """
    ),
    "keras.src.ops.numpy": split(
        """
        Abs Absolute Add Amax Amin Append Average BroadcastTo Ceil Clip Concatenate Copy Cos Cumsum Divide DivideNoNan
        Dot Einsum Equal Exp Exp2 ExpandDims Expm1 Flip Fliplr Flipud Floor FloorDivide GetItem Greater GreaterEqual
        Hstack Inner Less LessEqual Log Log10 Log1p Log2 Logaddexp LogicalAnd LogicalNot LogicalOr Matmul Max Maximum
        Mean Min Minimum Mod Moveaxis Multiply NanToNum Negative NotEqual OnesLike Outer Pad Power Prod Ravel
        Reciprocal Repeat Reshape Roll Rot90 Round Sign Sin Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes
        Take TakeAlongAxis Tanh Tensordot Tile Transpose TrueDivide Var Vstack Where ZerosLike
        """
    ),
}
INITIALIZERS: Classes = {
    "keras.initializers": split(
        """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
        Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
        """
    )
}
REGULARIZERS: Classes = {"keras.regularizers": split("L1 L1L2 L2 OrthogonalRegularizer")}
CONSTRAINTS: Classes = {"keras.constraints": split("MaxNorm MinMaxNorm NonNeg UnitNorm")}
POLICIES: Classes = dict.fromkeys(["keras", "keras.dtype_policies"], split("DTypePolicy FloatDTypePolicy"))
# Layers that may be the activation of another layer.
ACTIVATION_LAYERS: Classes = {
    "keras.layers": split("ELU LeakyReLU PReLU ReLU Softmax"),
    "keras.src.activations.activations": split("Mish ReLU"),
}
ACTIVATIONS = split(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
    sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
DTYPES = split(
    """
    bfloat16 bool float16 float32 float64 int8 int16 int32 int64 mixed_bfloat16 mixed_float16 uint8 uint16 uint32
    """
)
_BUILT_OF_CODE = "holds program code. Replace it by layers of Keras, such as `Rescaling`, or by `keras.ops`"
_LOOKS_UP = "keeps what it has learned from data or read from a file. Convert the images before, leave the layer out"
_OF_OTHERS = "holds a program of another library. Build the same from layers of Keras and `keras.ops`"
# Words for the refusal of parts that are often met. They decide nothing: what is not listed above is refused anyway.
ADVICE: Mapping[str, str] = {
    **dict.fromkeys(["Lambda", "__lambda__"], _BUILT_OF_CODE),
    **dict.fromkeys(
        split("Discretization HashedCrossing Hashing IntegerLookup StringLookup TextVectorization"), _LOOKS_UP
    ),
    **dict.fromkeys(
        split("FlaxLayer JaxLayer SlicingOpLambda TFOpLambda TFSMLayer TorchModuleWrapper __typespec__"), _OF_OTHERS
    ),
}


MAX_WHOLE = 2**24
MAX_NUMBER = 1e300
MAX_NAME = 500


@dataclass(frozen=True)
class Rule:
    """The values that an argument may have besides null.

    expected: these values in words. fits: whether a single value is one of them. in_lists: whether lists of them are,
    too, and lists of such lists. classes: of objects that are.
    """

    expected: str
    fits: Callable[[Any], bool]
    in_lists: bool = False
    classes: tuple[Classes, ...] = ()


def is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _make_word_rule(words: Collection[str], expected: str = "") -> Rule:
    allowed = frozenset(words)
    return Rule(
        expected or f"one of {', '.join(sorted(allowed))}", lambda value: isinstance(value, str) and value in allowed
    )


def _make_object_rule(classes: Classes, what: str) -> Rule:
    """Accept an object of one of the classes, or its name in either of Keras' two notations."""
    known = {name.lower() for listed in classes.values() for name in listed}
    return Rule(
        f"{what} of Keras",
        lambda value: isinstance(value, str) and value.replace("_", "").lower() in known,
        classes=(classes,),
    )


# Neither infinity nor NaN is within the limit.
NUMBERS = Rule(
    "a finite number", lambda value: isinstance(value, int | float) and abs(value) <= MAX_NUMBER, in_lists=True
)
_WHOLES = Rule(
    f"whole numbers up to {MAX_WHOLE:,}", lambda value: is_whole(value, -MAX_WHOLE, MAX_WHOLE), in_lists=True
)
_SIDES = _make_word_rule(split("same valid causal"))
_PADDING = Rule(
    f"{_SIDES.expected}, or {_WHOLES.expected}",
    lambda value: _SIDES.fits(value) or _WHOLES.fits(value),
    in_lists=True,
)
_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
NAME = Rule(f"a name of up to {MAX_NAME} characters", is_name)
_LAYER = Rule("a layer", lambda value: False, classes=(LAYERS, MODELS))
_NAME_OF_DTYPE = _make_word_rule(DTYPES, "the name of a dtype")
DTYPE = replace(_NAME_OF_DTYPE, classes=(POLICIES,))
_ACTIVATION = replace(_make_word_rule(ACTIVATIONS, "an activation of Keras"), classes=(ACTIVATION_LAYERS,))
_FORMULA = Rule(
    "letters, commas and an arrow",
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_ .,()>-]{1,200}", value) is not None,
)


def _map_names(rule: Rule, listed: str) -> dict[str, Rule]:
    return dict.fromkeys(split(listed), rule)


_PARAMETERS = split("alpha beta bias depthwise embeddings gamma kernel moving_mean moving_variance pointwise recurrent")
# What an argument may be, by its name, which means the same in all layers, operations and initializers.
ARGUMENTS: Mapping[str, Rule] = {
    "name": NAME,
    "dtype": DTYPE,
    "padding": _PADDING,
    "data_format": _make_word_rule(split("channels_last channels_first")),
    "interpolation": _make_word_rule(split("nearest bilinear bicubic lanczos3 lanczos5")),
    "seed": Rule("a whole number", lambda value: is_whole(value, 0, 2**63)),
    "activity_regularizer": _make_object_rule(REGULARIZERS, "regularizer"),
    **{f"{parameter}_initializer": _make_object_rule(INITIALIZERS, "initializer") for parameter in _PARAMETERS},
    **{f"{parameter}_regularizer": _make_object_rule(REGULARIZERS, "regularizer") for parameter in _PARAMETERS},
    **{f"{parameter}_constraint": _make_object_rule(CONSTRAINTS, "constraint") for parameter in _PARAMETERS},
    **_map_names(_LAYER, "layer backward_layer"),
    **_map_names(_ACTIVATION, "activation recurrent_activation"),
    **_map_names(
        _make_word_rule(
            split(
                """
                ave concat constant dot edge fan_avg fan_in fan_out horizontal horizontal_and_vertical mul nearest
                normal reflect rows columns sum symmetric truncated_normal uniform untruncated_normal vertical wrap
                """
            )
        ),
        "mode merge_mode fill_mode distribution score_mode",
    ),
    **_map_names(_FORMULA, "equation subscripts pattern"),
    **_map_names(
        _FLAG,
        """trainable use_bias center keepdims optional antialias crop_to_aspect_ratio pad_to_aspect_ratio go_backwards
        stateful unroll return_sequences return_state reset_after unit_forget_bias zero_output_for_mask rms_scaling
        synchronized normalize use_scale use_gate mask_zero invert approximate is_causal flash_attention autocast
        return_attention_scores""",
    ),
    **_map_names(
        _WHOLES,
        """filters units kernel_size strides pool_size dilation_rate size output_size cropping target_shape dims axis
        axis1 axis2 axes shared_axes attention_axes bias_axes noise_shape output_shape output_padding height width n
        bins batch_shape batch_input_shape build_input_shape input_shape input_axes output_axes newshape shape num
        num_heads key_dim value_dim head_dim num_query_heads num_key_value_heads groups depth_multiplier input_dim
        output_dim input_length repeats shift source destination k decimals block_size pad_width indices_or_sections ord
        power_iterations projection_dim sliding_window order top_padding bottom_padding left_padding right_padding
        target_height target_width top_cropping bottom_cropping left_cropping right_cropping""",
    ),
    **_map_names(
        NUMBERS,
        """scale offset mean variance stddev minval maxval gain value l1 l2 factor rate momentum epsilon alpha
        negative_slope max_value min_value threshold x_min x_max fill_value height_factor width_factor x_factor y_factor
        brightness_factor contrast_factor saturation_factor hue_factor addition_factor threshold_factor sigma
        value_range dropout recurrent_dropout mask_value renorm_momentum b default_value initial nan posinf neginf
        attn_logits_soft_cap init_values drop_path_rate""",
    ),
    **_map_names(
        Rule("nothing", lambda value: not value),
        "sparse ragged renorm renorm_clipping quantization_config lora_rank lora_alpha weights",
    ),
}
POLICY_ARGUMENTS: Mapping[str, Rule] = {"name": _NAME_OF_DTYPE}


def iterate_parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects that a config describes, at any depth."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class_name"), str):
                yield part
            left += part.values()
        elif isinstance(part, list):
            left += part
