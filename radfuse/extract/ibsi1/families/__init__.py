"""The feature families of IBSI-1: those that PyRadiomics lacks, and the others as IBSI defines them.

Each file is about one family or a few of a kind; numbers of sections are those of the reference manual
(arXiv:1612.07003).
"""

from radfuse.extract.ibsi1.families.measurement import FAMILIES, measure

__all__ = ["FAMILIES", "measure"]
