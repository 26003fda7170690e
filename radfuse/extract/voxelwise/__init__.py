"""Voxel-wise maps: every feature in a small neighbourhood of every voxel of the region.

The definition is PyRadiomics' voxel-based extraction (`kernelRadius`, `maskedKernel`, `initValue`). Grey levels are cut
once from the whole region, then each voxel's neighbourhood is a tiny region of its own. What differs:

- Where PyRadiomics' answer for a voxel hangs on the other voxels of its batch, it is the answer for the voxel alone
  that is given, PyRadiomics' ``voxelBatch: 1``. Otherwise GLCM JointAverage is missing there wherever a direction has
  no pair, and MCC has no map at all if that happens to a single voxel.
- Without `initValue` a map is NaN outside of the region, not 0, which would be a value.
- Where all levels of the region occur in a direction and tell nothing of their neighbours, PyRadiomics counts the
  direction for MCC as 0 or leaves it out, as rounding has it; here it counts as 0.
- With an unsymmetrical GLCM, Correlation is 1 where a marginal has a single level, whatever the rounding.
"""
