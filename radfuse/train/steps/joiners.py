"""Joiners of the intermediate network: encodings in, one vector per row out.

A joiner names its layers, in the order in which their weights are drawn, and joins with the weights trained. The
leading axis of everything is the network's member.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from sklearn.base import BaseEstimator

Weights = dict[str, torch.Tensor]


class Layer(NamedTuple):
    """The size of a linear layer, and whether it starts at 0: then every modality has the same share to begin with.

    Shares drawn at random favour one modality, and few rows do not undo that.
    """

    inputs: int
    outputs: int
    even: bool = False


def affine(weights: Weights, name: str, values: torch.Tensor) -> torch.Tensor:
    """One linear layer of every member: (member, row, input) to (member, row, output)."""
    return values @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


class SideBySide(BaseEstimator):  # type: ignore[misc]
    """``relu(W [c_1 .. c_M])``; the token of a missing modality stands in its place.

    Parameters
    ----------
    units : length of the vector.
    """

    def __init__(self, units: int) -> None:
        self.units = units

    def layers(self, modalities: Sequence[str], width: int) -> dict[str, Layer]:
        """The layers for encodings of ``width`` numbers."""
        return {"joint": Layer(width * len(modalities), self.units)}

    def join(self, weights: Weights, codes: dict[str, torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """Join encodings (member, row, width) of which some are tokens; ``present`` is (member, row, modality)."""
        return torch.relu(affine(weights, "joint", torch.cat(list(codes.values()), dim=2)))


class GatedUnit(BaseEstimator):  # type: ignore[misc]
    """``sum z_m * tanh(W_m c_m)``, ``z`` a softmax over present modalities of ``G_m [c_1 .. c_M]``, unit by unit.

    The gated multimodal unit of Arevalo et al. 2017 (arXiv:1702.01992, section 3.1); of two modalities, its softmax is
    the paper's sigmoid.

    Parameters
    ----------
    units : length of the vector.
    """

    def __init__(self, units: int) -> None:
        self.units = units

    def layers(self, modalities: Sequence[str], width: int) -> dict[str, Layer]:
        """The layers for encodings of ``width`` numbers."""
        hidden = {f"{modality}.hidden": Layer(width, self.units) for modality in modalities}
        gate = Layer(width * len(modalities), self.units, even=True)
        return hidden | {f"{modality}.gate": gate for modality in modalities}

    def join(self, weights: Weights, codes: dict[str, torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """Join encodings (member, row, width) of which some are tokens; ``present`` is (member, row, modality)."""
        everything = torch.cat(list(codes.values()), dim=2)
        hidden = torch.stack([torch.tanh(affine(weights, f"{m}.hidden", code)) for m, code in codes.items()], dim=3)
        gates = torch.stack([affine(weights, f"{m}.gate", everything) for m in codes], dim=3)
        return (share(gates, present[:, :, None, :]) * hidden).sum(dim=3)


class AttentionPooling(BaseEstimator):  # type: ignore[misc]
    """``relu(W sum a_m c_m)``, ``a`` a softmax over present modalities of ``w tanh(V c_m)``.

    Attention pooling of Ilse et al. 2018 (arXiv:1802.04712, equations 7 and 8), the modalities being the bag.

    Parameters
    ----------
    units : length of the vector, and of the attention's hidden layer.
    """

    def __init__(self, units: int) -> None:
        self.units = units

    def layers(self, modalities: Sequence[str], width: int) -> dict[str, Layer]:
        """The layers for encodings of ``width`` numbers."""
        return {
            "key": Layer(width, self.units),
            "attention": Layer(self.units, 1, even=True),
            "joint": Layer(width, self.units),
        }

    def join(self, weights: Weights, codes: dict[str, torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """Join encodings (member, row, width) of which some are tokens; ``present`` is (member, row, modality)."""
        stacked = torch.stack(list(codes.values()), dim=3)
        drawn = [affine(weights, "attention", torch.tanh(affine(weights, "key", code))) for code in codes.values()]
        pooled = (share(torch.stack(drawn, dim=3), present[:, :, None, :]) * stacked).sum(dim=3)
        return torch.relu(affine(weights, "joint", pooled))


def share(scores: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Softmax over the last axis, of what is present; shares of a row that has nothing are all 0.

    Examples
    --------
    >>> share(torch.tensor([3.0, 3.0, 9.0]), torch.tensor([1.0, 1.0, 0.0])).tolist()
    [0.5, 0.5, 0.0]
    """
    masked = scores.masked_fill(present == 0, -torch.inf)
    largest = masked.amax(dim=-1, keepdim=True)
    exponents = torch.exp(masked - torch.where(torch.isinf(largest), 0.0, largest).detach())
    return exponents / exponents.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
