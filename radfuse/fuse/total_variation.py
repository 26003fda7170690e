"""Total variation of a volume, per mm and alike in every direction, and the solver for problems that contain it.

The gradient is taken at the midpoints between neighbours along each axis in turn: exact along that axis, averaged over
the four nearest differences along the others. A total variation is the mean over the three families of midpoints. So
one axis alone has exactly the sum of its steps, edges stay sharp, and a flipped volume has the flipped gradient, which
the customary forward differences do not give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Field = dict[int, list[torch.Tensor]]
    Proximal = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

# How often the change between two steps is looked at: a look costs a pass over the volume.
LOOK_EVERY = 10
RELAXATION = 1.8
# A step allocates a hundred times the volume on the way; beyond some megabytes that costs five times the arithmetic.
SLAB_VOXELS = 2**19


@dataclass(frozen=True)
class Gradient:
    """The operator: ``at(u)`` gives a vector field per axis that has midpoints, ``adjoint`` its transpose.

    Parameters
    ----------
    shape : of the volumes, (z, y, x).
    spacing : mm along z, y, x.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def axes(self) -> list[int]:
        """Axes with more than one voxel: the others have no gradient and no midpoints."""
        return [axis for axis, length in enumerate(self.shape) if length > 1]

    @property
    def norm(self) -> float:
        """Upper bound of the operator's norm, per mm.

        At spatial frequency t along an axis its square is at most 4 s^2 (1 + 2 (1 - s^2)) / h^2 with s = sin(t / 2):
        the axis' own midpoints, and those of two other axes. That is never more than 4.5 / h^2.
        """
        return sqrt(sum(4.5 / self.spacing[axis] ** 2 for axis in self.axes))

    def at(self, volume: torch.Tensor) -> Field:
        """Gradient at the midpoints along each axis: one component for each axis with more than one voxel, per mm."""
        steps = {g: _difference(volume, g).div_(self.spacing[g]) for g in self.axes}
        centred = {g: _spread(steps[g], g) for g in self.axes} if len(self.axes) > 1 else {}
        return {f: [steps[g] if g == f else _average(centred[g], f) for g in self.axes] for f in self.axes}

    def adjoint(self, field: Field) -> torch.Tensor:
        """Transpose of `at`: minus a divergence. Same shape as the volume."""
        import torch

        first = field[self.axes[0]][0]
        total = torch.zeros(self.shape, dtype=first.dtype, device=first.device)
        for k, g in enumerate(self.axes):
            flow = field[g][k].clone()
            others = [_spread(field[f][k], f) for f in self.axes if f != g]
            if others:
                centred = others[0] if len(others) == 1 else others[0].add_(others[1])
                flow += _average(centred, g)
            flow /= self.spacing[g]
            inner = self.shape[g] - 1
            total.narrow(g, 1, inner).add_(flow)
            total.narrow(g, 0, inner).sub_(flow)
        return total

    def total_variation(self, volume: torch.Tensor) -> torch.Tensor:
        """Sum of the gradient's length over the midpoints, mean over the families."""
        import torch

        families = [length(vectors).sum() for vectors in self.at(volume).values()]
        return torch.stack(families).mean() if families else volume.new_zeros(())


def length(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Length of the vectors whose components are given."""
    square = vectors[0] * vectors[0]
    for component in vectors[1:]:
        square.addcmul_(component, component)
    return square.sqrt_()


def steepest(fields: Sequence[Field]) -> Field:
    """At each midpoint the gradient of the source that is steepest there; the first of those that tie."""
    import torch

    best = fields[0]
    for other in fields[1:]:
        wins = {f: length(other[f]) > length(best[f]) for f in best}
        best = {f: [torch.where(wins[f], b, a) for a, b in zip(best[f], other[f], strict=True)] for f in best}
    return best


def along_edges(field: Field, edge_strength: float, sharing: float) -> Field:
    """Direction field xi of directional total variation: normal to the edges, length below 1 [Ehrhardt & Betcke 2016].

    Parameters
    ----------
    field : gradient of the anatomy.
    edge_strength : gradient at which the length is 1 / sqrt 2 of ``sharing``, per mm.
    sharing : length at strong edges; 1 would make edges there free of charge.
    """
    directions = {}
    for f, vectors in field.items():
        scale = sharing / (length(vectors) ** 2 + edge_strength**2).sqrt()
        directions[f] = [component * scale for component in vectors]
    return directions


def minimise(
    data: torch.Tensor,
    proximal: Proximal,
    gradient: Gradient,
    weight_mm: float,
    scale: float,
    *,
    shift: Field | None = None,
    directions: Field | None = None,
    iterations: int,
    tolerance: float,
) -> torch.Tensor:
    """Minimise fit(u, data) + weight * mean over families of sum |D (grad u - shift)| [Chambolle & Pock 2011, alg. 1].

    D removes the part along ``directions``: D v = v - xi (xi . v). Steps are over-relaxed (Condat 2013). It begins at
    the data, and ends after ``iterations``, or when no voxel moves by more than ``tolerance * scale`` in a step: a
    maximum, which does not depend on how many threads look for it.

    Parameters
    ----------
    data : what u is fitted to, (z, y, x).
    proximal : (v, data, step) to the minimiser over u, voxel by voxel, of fit(u, data) + |u - v|^2 / (2 step).
    gradient : the operator of the volume's grid.
    weight_mm : of the total variation.
    scale : how far voxels are expected to move; balances the steps of u and of its dual.
    shift, directions : vector fields as `Gradient.at` gives them.
    iterations, tolerance : when to stop.
    """
    if not gradient.axes or scale <= 0:
        return data
    bound = weight_mm / len(gradient.axes)
    primal_step, dual_step = scale / bound / gradient.norm, bound / scale / gradient.norm
    u, proposed = data.clone(), data.clone()
    dual = {f: [vector.mul_(0) for vector in vectors] for f, vectors in gradient.at(data).items()}
    slabs = _slabs(gradient)
    for step in range(1, iterations + 1):
        for slab in slabs:
            flow = slab.gradient.adjoint(_across(slab.around(dual), slab.around(directions)))
            v = u[slab.own] - primal_step * flow[slab.kept]
            proposed[slab.own] = proximal(v, data[slab.own], primal_step)
        for slab in slabs:
            ahead = 2 * proposed[slab.all] - u[slab.all]
            field = slab.trimmed(slab.gradient.at(ahead))
            field = _across(field, slab.within(directions), slab.within(shift))
            for f, olds in slab.within(dual).items():
                moved = [old + dual_step * vector for old, vector in zip(olds, field[f], strict=True)]
                outside = length(moved).div_(bound).clamp_(min=1)
                for old, vector in zip(olds, moved, strict=True):
                    old.lerp_(vector.div_(outside), RELAXATION)
        done = step % LOOK_EVERY == 0 and float((proposed - u).abs().max()) <= tolerance * scale
        if done:
            break
        u.lerp_(proposed, RELAXATION)
    # The last proposal rather than the relaxed point: only it obeys the data term's own bounds.
    return proposed


@dataclass(frozen=True)
class _Slab:
    """Some slices of the volume, worked on at once so that what is computed on the way stays in the cache.

    Parameters
    ----------
    gradient : the operator on the slab's slices with one more on either side where the volume has one.
    own, all : the slab's slices in the volume, without and with those.
    """

    gradient: Gradient
    own: slice
    all: slice

    @property
    def kept(self) -> slice:
        """The slab's own slices among all of its slices."""
        return slice(self.own.start - self.all.start, self.own.stop - self.all.start)

    def around(self, field: Field | None) -> Field:
        """The field's part on all of the slab's slices; family 0 lies between them."""
        ends = {f: self.all.stop - (f == 0) for f in field or {}}
        return {f: [vector[self.all.start : ends[f]] for vector in vectors] for f, vectors in (field or {}).items()}

    def within(self, field: Field | None) -> Field:
        """The field's part that belongs to the slab: views, to be written to."""
        return {f: [vector[self.own] for vector in vectors] for f, vectors in (field or {}).items()}

    def trimmed(self, field: Field) -> Field:
        """The same part of a field that was computed on all of the slab's slices."""
        return {f: [vector[self.kept] for vector in vectors] for f, vectors in field.items()}


def _slabs(gradient: Gradient) -> list[_Slab]:
    slices, *plane = gradient.shape
    thick = max(1, SLAB_VOXELS // (plane[0] * plane[1]))
    slabs = []
    for start in range(0, slices, thick):
        own = slice(start, min(start + thick, slices))
        whole = slice(max(start - 1, 0), min(own.stop + 1, slices))
        slabs.append(_Slab(Gradient((whole.stop - whole.start, *plane), gradient.spacing), own, whole))
    return slabs


def _across(field: Field, directions: Field, shift: Field | None = None) -> Field:
    """Subtract the shift, then the part along the directions; D is its own transpose. Either may be empty."""
    if shift:
        field = {f: [v - moved for v, moved in zip(vectors, shift[f], strict=True)] for f, vectors in field.items()}
    if not directions:
        return field
    across = {}
    for f, vectors in field.items():
        along = vectors[0] * directions[f][0]
        for vector, xi in zip(vectors[1:], directions[f][1:], strict=True):
            along.addcmul_(vector, xi)
        across[f] = [vector.addcmul(xi, along, value=-1) for vector, xi in zip(vectors, directions[f], strict=True)]
    return across


def _difference(volume: torch.Tensor, axis: int) -> torch.Tensor:
    inner = volume.shape[axis] - 1
    return volume.narrow(axis, 1, inner) - volume.narrow(axis, 0, inner)


def _average(volume: torch.Tensor, axis: int) -> torch.Tensor:
    """From voxels to the midpoints between them."""
    inner = volume.shape[axis] - 1
    return (volume.narrow(axis, 1, inner) + volume.narrow(axis, 0, inner)).mul_(0.5)


def _spread(midpoints: torch.Tensor, axis: int) -> torch.Tensor:
    """From midpoints to voxels: half of each to either side, the transpose of `_average`."""
    half, inner = midpoints * 0.5, midpoints.shape[axis]
    shape = list(midpoints.shape)
    shape[axis] = inner + 1
    voxels = midpoints.new_zeros(shape)
    voxels.narrow(axis, 0, inner).add_(half)
    voxels.narrow(axis, 1, inner).add_(half)
    return voxels
