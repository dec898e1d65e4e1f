"""Published loss weights by name, each with the convention it was published for, as data.

The same name differs by orders of magnitude between papers because the terms' conventions differ:
a weight without its parameters means nothing. `losses.RECIPES["esrgan"].terms` build with
`losses.build(term.loss, **term.parameters)`; their weighted sum is the original's total, but for
what a term's `note` says.
"""

from __future__ import annotations

from losses._spec import Recipe
from losses.recipes.bsrgan import BSRGAN, BSRGAN_RELEASED
from losses.recipes.enhancenet import ENHANCENET
from losses.recipes.esrgan import ESRGAN, KAIR_MSRRESNET
from losses.recipes.ldl import LDL, LDL_REAL
from losses.recipes.real_esrgan import REAL_ESRGAN
from losses.recipes.realbasicvsr import REALBASICVSR
from losses.recipes.safmn import SAFMN_FFT, SAFMN_REAL
from losses.recipes.srgan import MSRGAN, SRGAN, SRGAN_TV
from losses.recipes.swinir import SWINIR_GAN
from losses.recipes.wgsr import WGSR

__all__ = ["RECIPES"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SRGAN,
        SRGAN_TV,
        MSRGAN,
        ENHANCENET,
        ESRGAN,
        KAIR_MSRRESNET,
        BSRGAN,
        BSRGAN_RELEASED,
        REAL_ESRGAN,
        SWINIR_GAN,
        LDL,
        LDL_REAL,
        REALBASICVSR,
        SAFMN_FFT,
        SAFMN_REAL,
        WGSR,
    )
}
