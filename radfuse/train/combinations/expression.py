"""Rules over modalities, read with Python's own grammar and nothing of its power."""

import ast
from collections.abc import Mapping

import numpy as np
from scipy.special import logit

GRAMMAR = (
    'Write comparisons such as "PET > 0.5", joined by and, or, not and brackets; thresholds lie between 0 and 1. '
    "Put a name with a hyphen into quotes: 'fused-average-CT_PET' > 0.5."
)
COMPARED: dict[type[ast.cmpop], int] = {ast.Gt: 1, ast.GtE: 1, ast.Lt: -1, ast.LtE: -1}


def parse(rule: str) -> ast.expr:
    """Read a rule; a ValueError names the part that is not allowed.

    Examples
    --------
    >>> modalities_in("PET > 0.5 and not CT > 0.9")
    ['PET', 'CT']
    """
    try:
        tree = ast.parse(rule.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"the rule {rule!r} cannot be read: {error.msg}. {GRAMMAR}") from error
    _check(tree, rule)
    return tree


def modalities_in(rule: str) -> list[str]:
    """The modalities that a rule compares, in order."""
    compared = [node for node in ast.walk(parse(rule)) if isinstance(node, ast.Compare)]
    return list(dict.fromkeys(_comparison(node)[0] for node in compared))


def margin(tree: ast.expr, log_odds: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far each row is inside the rule, in log odds; below 0 outside, NaN where nothing can be compared.

    Parameters
    ----------
    tree : a parsed rule.
    log_odds : one array per modality, NaN where a row lacks it.
    """
    if isinstance(tree, ast.BoolOp):
        parts = np.array([margin(part, log_odds) for part in tree.values])
        join = np.fmin if isinstance(tree.op, ast.And) else np.fmax  # these look past a NaN
        return np.asarray(join.reduce(parts))
    if isinstance(tree, ast.UnaryOp):
        return -margin(tree.operand, log_odds)
    modality, sign, threshold = _comparison(tree)
    return np.asarray(sign * (log_odds[modality] - logit(threshold)))


def _check(tree: ast.expr, rule: str) -> None:
    if isinstance(tree, ast.BoolOp):
        for part in tree.values:
            _check(part, rule)
    elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        _check(tree.operand, rule)
    else:
        try:
            _comparison(tree)
        except ValueError as error:
            raise ValueError(f"the rule {rule!r} holds {ast.unparse(tree)!r}. {GRAMMAR}") from error


def _comparison(tree: ast.expr) -> tuple[str, int, float]:
    match tree:
        case ast.Compare(
            left=ast.Name(id=modality) | ast.Constant(value=str(modality)),
            ops=[how],
            comparators=[ast.Constant(value=float(threshold))],
        ):
            if type(how) in COMPARED and 0 < threshold < 1:
                return modality, COMPARED[type(how)], threshold
    raise ValueError("not a comparison")
