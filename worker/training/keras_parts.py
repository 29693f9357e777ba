"""The parts of Keras that an uploaded network may have: exact pairs of a module and a class.

Everything that is not listed is refused. Keras finds a class by `module + "." + class_name` and passes it any
arguments, so a list of forbidden names can be bypassed; a list of exact pairs cannot.
"""

from collections.abc import Iterator, Mapping
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


def iterate_parts(value: Any) -> Iterator[dict[str, Any]]:
    """All objects that a config describes, in any depth."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class_name"), str):
                yield part
            left += part.values()
        elif isinstance(part, list):
            left += part
