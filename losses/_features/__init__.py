"""Frozen feature networks: VGG, ResNet and SqueezeNet from a plain state dict of torchvision's names.

sources.py    what names a network: backbone, weights, preprocessing, pooling, padding
network.py    the frozen network itself, truncated at the deepest layer asked for
vgg.py, resnet.py, squeezenet.py, pooling.py    its parts, built from tensors
tensors.py    reading convolutions out of a state dict
layers.py     which layers there are, and weights of layers
heads.py      learned weights of feature channels
features.py   what comes out: features of SR and HR by layer
"""

from losses._features.features import Features
from losses._features.heads import head
from losses._features.layers import DEFAULT_LAYER, UnknownLayer, layer_weights, layers_of
from losses._features.network import FeatureNetwork, network
from losses._features.sources import (
    Backbone,
    FeatureSource,
    Pooling,
    Preprocessing,
    PreprocessingChoice,
    source,
)
from losses._features.tensors import UnsuitableWeights

__all__ = [
    "DEFAULT_LAYER",
    "Backbone",
    "FeatureNetwork",
    "FeatureSource",
    "Features",
    "Pooling",
    "Preprocessing",
    "PreprocessingChoice",
    "UnknownLayer",
    "UnsuitableWeights",
    "head",
    "layer_weights",
    "layers_of",
    "network",
    "source",
]
