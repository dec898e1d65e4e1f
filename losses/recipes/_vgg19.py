"""The perceptual terms that several recipes share word for word."""

from __future__ import annotations

from losses._spec import RecipeTerm

#: Weights of the five VGG19 layers, before ReLU, that Real-ESRGAN introduced; summed, not averaged.
FIVE_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}

CONV5_4 = RecipeTerm(
    "content",
    1.0,
    {"backbone": "vgg19", "layers": {"conv5_4": 1.0}, "criterion": "l1"},
    original=(
        "BasicSR PerceptualLoss(layer_weights={'conv5_4': 1}, vgg19, criterion='l1', "
        "perceptual_weight=1, use_input_norm=True): mean |Δφ| before ReLU"
    ),
)

FIVE = RecipeTerm(
    "content",
    1.0,
    {"backbone": "vgg19", "layers": FIVE_LAYERS, "criterion": "l1"},
    original=(
        "BasicSR PerceptualLoss(layer_weights={'conv1_2': .1, 'conv2_2': .1, 'conv3_4': 1, "
        "'conv4_4': 1, 'conv5_4': 1}, vgg19, criterion='l1', perceptual_weight=1): weighted sum of "
        "mean |Δφ| before ReLU"
    ),
)

KAIR_FIVE = RecipeTerm(
    "content",
    1.0,
    {"backbone": "vgg19", "layers": FIVE_LAYERS, "criterion": "l1"},
    original=(
        "KAIR F_lossfn_type l1, F_lossfn_weight 1, F_feature_layer [2,7,16,25,34], F_weights "
        "[0.1,0.1,1,1,1], F_use_input_norm: indices of torchvision's vgg19.features, before ReLU"
    ),
)
