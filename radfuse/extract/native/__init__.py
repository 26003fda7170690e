"""PyRadiomics' features without its slow parts: what each file does is one of its steps."""


class HandOver(Exception):  # noqa: N818 - not an error: PyRadiomics takes over
    """What is asked lies outside what is computed here: PyRadiomics computes it, or says why it cannot.

    The message says what was handed over and why.
    """
