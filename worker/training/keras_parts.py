"""The parts of Keras that an uploaded network may consist of: exact pairs of a module and a class.

Everything that is not listed is refused. Keras finds a class by `module + "." + class_name` and passes it any
arguments, so a list of forbidden names can be walked around; a list of exact pairs cannot.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The names of classes by the module that Keras writes for them.
Classes = Mapping[str, frozenset[str]]
MODELS: Classes = {"keras": names("Sequential"), "keras.src.models.functional": names("Functional")}
LAYERS: Classes = {
    "keras.layers": names(
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
    "keras.src.activations.activations": names("Mish ReLU"),
    "keras.src.applications.convnext": names("LayerScale StochasticDepth"),
    "keras.src.applications.inception_resnet_v2": names("CustomScaleLayer"),
    "keras.src.ops.core": names("Cast ConvertToTensor SaturateCast Slice StopGradient Unstack"),
    "keras.src.ops.einops": names("Rearrange"),
    "keras.src.ops.image": names("CropImages ExtractPatches HSVToRGB PadImages RGBToGrayscale RGBToHSV Resize"),
    "keras.src.ops.linalg": names("Norm"),
    "keras.src.ops.math": names("Erf Logsumexp Rsqrt"),
    "keras.src.ops.nn": names(
        """
        AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm Celu Conv ConvTranspose DepthToSpace DepthwiseConv
        DotProductAttention Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid
        LogSoftmax MaxPool Moments Normalize RMSNorm Relu Relu6 Selu SeparableConv Sigmoid Silu SoftShrink Softmax
        Softplus Softsign SpaceToDepth Sparsemax Squareplus TanhShrink Threshold
        """
    ),
    "keras.src.ops.numpy": names(
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
    "keras.initializers": names(
        """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
        Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
        """
    )
}
REGULARIZERS: Classes = {"keras.regularizers": names("L1 L1L2 L2 OrthogonalRegularizer")}
CONSTRAINTS: Classes = {"keras.constraints": names("MaxNorm MinMaxNorm NonNeg UnitNorm")}
POLICIES: Classes = dict.fromkeys(["keras", "keras.dtype_policies"], names("DTypePolicy FloatDTypePolicy"))
# Layers that may be the activation of another layer.
ACTIVATION_LAYERS: Classes = {
    "keras.layers": names("ELU LeakyReLU PReLU ReLU Softmax"),
    "keras.src.activations.activations": names("Mish ReLU"),
}
ACTIVATIONS = names(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
    sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
DTYPES = names(
    """
    bfloat16 bool float16 float32 float64 int8 int16 int32 int64 mixed_bfloat16 mixed_float16 uint8 uint16 uint32
    """
)
# What holds program code, or reads files or addresses: not listed above, and named here so that its refusal can say so.
UNSAFE = names(
    """
    FlaxLayer HashedCrossing Hashing IntegerLookup JaxLayer Lambda StringLookup TFSMLayer TextVectorization
    TorchModuleWrapper __lambda__ __typespec__
    """
)


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """All objects that a config describes, in any depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if isinstance(one.get("class_name"), str):
                yield one
            left += one.values()
        elif isinstance(one, list):
            left += one
