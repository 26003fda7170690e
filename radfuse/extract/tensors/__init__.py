"""The compiled loops once more as tensor operations: one code for every device that torch knows.

Written for a GPU and checked on torch's CPU device, where it is slower than the compiled loops: it is used only where
``execution.device: cuda`` asks for it. How fast it is on a GPU has not been measured.

Counts are of whole numbers, and equal the compiled loops' to the last bit. Voxel-wise maps add up fractions in another
order; they agree within 1e-6 of the larger of the value and its scale.
"""
