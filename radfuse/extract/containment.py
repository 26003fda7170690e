"""Keep PyRadiomics to itself: its messages are collected, and process-wide settings are put back."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import SimpleITK as sitk

# Importing PyRadiomics puts a handler on its logger that writes to stderr, and pykwalify borrows that handler.
LOGGERS = ("radiomics", "pykwalify", "pykwalify.core")


@contextmanager
def contained() -> Iterator[list[str]]:
    """Call the library quietly, on one ITK thread; give the list that its warnings are collected in.

    Log records and Python warnings of the library reach neither the screen nor the application's handlers; the
    warnings are in the list, once each. ITK's number of threads and its tolerances belong to the whole process,
    and PyRadiomics sets the tolerances for good (`geometryTolerance`): both are restored. The numbers do not depend
    on the number of threads.
    """
    messages: list[str] = []
    with ExitStack() as stack:
        for name in LOGGERS:
            stack.enter_context(_collected(logging.getLogger(name), messages))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # pykwalify loads its extensions the old way
        stack.enter_context(np.errstate(all="ignore"))  # 0/0 becomes NaN, which is reported feature by feature
        stack.enter_context(_itk_settings())
        yield messages
        messages += [text for text in dict.fromkeys(str(w.message) for w in caught) if text not in messages]


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.messages:
            self.messages.append(text)


@contextmanager
def _collected(logger: logging.Logger, messages: list[str]) -> Iterator[None]:
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [_Collector(messages)], False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, level, logger.propagate = before
        logger.setLevel(level)


@contextmanager
def _itk_settings() -> Iterator[None]:
    process = sitk.ProcessObject
    threads = process.GetGlobalDefaultNumberOfThreads()
    coordinate = process.GetGlobalDefaultCoordinateTolerance()
    direction = process.GetGlobalDefaultDirectionTolerance()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)
        process.SetGlobalDefaultCoordinateTolerance(coordinate)
        process.SetGlobalDefaultDirectionTolerance(direction)
