"""Why a metric has no value on some images."""


class Unmeasurable(Exception):  # noqa: N818 - not an error: the other metrics go on
    """A metric means nothing here; the message says why, in words for the reader of the table."""
