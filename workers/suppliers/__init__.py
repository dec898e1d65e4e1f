"""What losses are given beside SR and HR: fixed networks, networks trained with them, facts of a step."""

from __future__ import annotations

from workers.suppliers.companions import companions, trained_need
from workers.suppliers.needs import (
    SUPPLIERS,
    DefinitionError,
    Supplier,
    looks_for_faces,
    suppliers,
)
from workers.suppliers.networks import Networks, Pretrained, placed, seeded
from workers.suppliers.step import Step

__all__ = [
    "SUPPLIERS",
    "DefinitionError",
    "Networks",
    "Pretrained",
    "Step",
    "Supplier",
    "companions",
    "looks_for_faces",
    "placed",
    "seeded",
    "suppliers",
    "trained_need",
]
