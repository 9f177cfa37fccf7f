"""How far a tile's answer can be trusted: calibration, groups as they come, neighbours, tiles that show nothing, images
of no class. Needs the `train` extra.
"""

from collage.trust._attack import Attack, attack_neighbours
from collage.trust._groups import GroupRow, worst_row
from collage.trust._measure import measure_trust
from collage.trust._strangers import auroc

__all__ = ["Attack", "GroupRow", "attack_neighbours", "auroc", "measure_trust", "worst_row"]
