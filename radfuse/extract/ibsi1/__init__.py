"""IBSI-1: the image processing that stands in front of the features, and the features PyRadiomics has not.

The definitions are those of the reference manual of the Image Biomarker Standardisation Initiative [Zwanenburg et al.
2020, doi:10.1148/radiol.2020191145; manual: arXiv:1612.07003, CC BY 4.0].
"""
