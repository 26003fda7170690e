"""Measure the fused pictures published with MdAFuse, side by side with the paper's table.

    python benchmarks/quality_published.py pairs.csv

The pictures are public (github.com/22385wjy/MdAFuse, 137 slices of the Whole Brain Atlas) and carry no licence, so they
are not here. Write a CSV for `radfuse fusion evaluate --pairs`: a, b and fused name the files; set is MR-CT, MR-PET or
MR-SPECT; low and high are the values between which the fused picture was stretched when it was saved, which the
repository's notebook prints as "Range [lo, hi]" for each. Prints a table; leaves with 1 when a mean is further than
TOLERANCE from the published one.
"""

import sys
from pathlib import Path

from radfuse.fuse.quality import PUBLISHED
from radfuse.run.fusion_quality import Measuring, judge_files, read_pairs

# Wen et al., IEEE TIP 33:3550, 2024, by set in the order of PUBLISHED: EN, MI, SD, VIF, SSIM, SCD, CC, MSE, rSFe.
TABLE = {
    "MR-CT": (5.1195, 3.0399, 56.929, 0.679, 1.5666, 0.9250, 0.8343, 0.0241, -0.4661),
    "MR-PET": (4.7241, 2.3880, 60.538, 0.8432, 1.5466, 1.2936, 0.8094, 0.0250, -0.3086),
    "MR-SPECT": (4.4135, 2.5341, 58.026, 1.078, 1.6555, 1.1470, 0.8838, 0.0112, -0.2509),
}
TOLERANCE = 0.005


def main(pairs: Path) -> int:
    """Print ours, the paper's, and the difference; give the exit code."""
    found = judge_files(read_pairs(pairs), Measuring("mdafuse"))
    for problem in found.failed:
        print(f"{problem.subject}: {problem.what}")
    largest = 0.0
    print(f"{'set':<10}{'n':>4} {'metric':<6}{'ours':>10}{'paper':>10}{'gap':>10}")
    for row in found.means.to_dict("records"):
        if row["set"] not in TABLE:
            sys.exit(f"unknown set {row['set']!r}; known: {', '.join(TABLE)}")
        for metric, paper in zip(PUBLISHED, TABLE[row["set"]], strict=True):
            gap = row[metric] - paper
            largest = max(largest, abs(gap))
            print(f"{row['set']:<10}{row['n']:>4} {metric:<6}{row[metric]:>10.4f}{paper:>10.4f}{gap:>+10.4f}")
    print(f"largest gap {largest:.4f}, tolerance {TOLERANCE}")
    return int(largest > TOLERANCE or bool(found.failed))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
