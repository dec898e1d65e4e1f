"""docs/losses.md, made from the register of losses and from what is known beside it.

page.py    the page: index, a section for each loss
tables.py  parameters, needs, other code's conventions, growth with the patch
sources.py reads the files beside: notes.yaml (of each loss), peers.yaml (conventions of other code),
           usage.md and traps.md, and the numbers that the pictures' scripts left in docs/pictures/losses
"""

from service.cli.loss_docs.page import page
from service.cli.loss_docs.sources import Peer, Row, peers

__all__ = ["Peer", "Row", "page", "peers"]
