"""Multi-modal radiomics: align, fuse, extract, harmonize, train, report."""

__version__ = "0.1.0"
