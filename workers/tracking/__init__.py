"""A training's pages in MLflow: written to disk at once, carried there when MLflow can be reached.

Training only ever touches the `Spool`. One `Uploader` per worker carries every spool under a folder
to MLflow, those of killed processes too.
"""

from workers.tracking.images import png, sr_key, tile, tile_key
from workers.tracking.spool import Spool
from workers.tracking.system import SystemMeter
from workers.tracking.uploader import Uploader

__all__ = ["Spool", "SystemMeter", "Uploader", "png", "sr_key", "tile", "tile_key"]
