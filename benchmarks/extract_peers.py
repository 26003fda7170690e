"""Time other radiomics packages beside radfuse on the same files, each installed in an environment of its own.

    python benchmarks/extract_peers.py --data .../sts --peer flash=/envs/flash/bin/python --peer mirp=...

Every measurement runs in a process of its own on one thread; the second call counts, the first loads code. Packages
differ in what they compute: seconds are given in all and per feature. The largest difference to PyRadiomics is over
the names that both have (flash-radiomics and fastrad use PyRadiomics' names); for the others see their own documents.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Only the standard library above: a peer's environment has neither radfuse nor its dependencies.
SETS: dict[str, dict[str, Any]] = {
    "original": {"imageType": {"Original": {}}, "setting": {"binWidth": 25}},
    "filters": {
        "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0]}, "Wavelet": {}},
        "setting": {"binWidth": 25, "resampledPixelSpacing": [1, 1, 1]},
    },
}
PATIENTS = ("STS_003", "STS_047", "STS_048", "STS_022")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# What mirp, nyxus and pysera say about the image itself is no feature.
NO_FEATURE = (
    "image_", "img_", "vox_", "mean_int_", "min_int_", "max_int_", "int_mask_", "morph_mask_", "ROI_label", "t_index"
)  # fmt: skip
Values = Mapping[str, float]


def radfuse(method: str) -> Callable[[Path, Path, str], Callable[[], Values]]:
    """Our two extractors: `fast`, and PyRadiomics itself."""

    def prepare(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
        from radfuse.data.reading.images import read_mask, read_volume
        from radfuse.extract.extractor import Extractor
        from radfuse.extract.native.shape import _remembered

        measure = Extractor.choose(method).build(SETS[chosen])
        volume, region = read_volume(image, "CT", ""), read_mask(mask, 1)

        def run() -> Values:
            _remembered.cache_clear()  # the shape of the mask: each time from the start
            return measure(volume, region).values

        return run

    return prepare


def flash(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
    """flash-radiomics, PyRadiomics' interface in C."""
    import SimpleITK as sitk
    from flash_radiomics import RadiomicsFeatureExtractor, setVerbosity

    setVerbosity(60)
    extractor = RadiomicsFeatureExtractor(SETS[chosen])
    read = sitk.ReadImage(str(image)), sitk.ReadImage(str(mask))
    return lambda: {k: float(v) for k, v in extractor.execute(*read).items() if not k.startswith("diagnostics")}


def fastrad(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
    """fastrad, on torch."""
    import SimpleITK as sitk
    import torch
    from fastrad import FeatureExtractor, FeatureSettings, Mask, MedicalImage

    torch.set_num_threads(1)
    found = sitk.ReadImage(str(image))
    spacing = found.GetSpacing()[::-1]
    arrays = [sitk.GetArrayFromImage(i).astype("float32") for i in (found, sitk.ReadImage(str(mask)))]
    tensors = [torch.from_numpy(array) for array in arrays]
    extractor = FeatureExtractor(FeatureSettings(bin_width=25.0, device="cpu"))
    return lambda: {
        f"original_{name.replace(':', '_')}": float(value)
        for name, value in extractor.extract(MedicalImage(tensors[0], spacing), Mask(tensors[1], spacing)).items()
    }


def mirp(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
    """mirp, the reference implementation of IBSI's authors."""
    from mirp import extract_features

    def run() -> Values:
        (table,) = extract_features(
            image=str(image), mask=str(mask), base_feature_families="all",
            base_discretisation_method="fixed_bin_size", base_discretisation_bin_width=25.0,
            resegmentation_intensity_range=[-1000.0, 3000.0], num_cpus=1,
        )  # fmt: skip
        return {name: float(table[name].iloc[0]) for name in table.select_dtypes("number").columns}

    return run


def nyxus(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
    """Nyxus in 3-D, with its own grey depth: its values are another quantity."""
    from nyxus import Nyxus3D

    found = Nyxus3D(["*3D_ALL*"], n_feature_calc_threads=1)

    def run() -> Values:
        table = found.featurize_files([str(image)], [str(mask)], False)
        return {name: float(table[name].iloc[0]) for name in table.select_dtypes("number").columns}

    return run


def pysera(image: Path, mask: Path, chosen: str) -> Callable[[], Values]:
    """PySERA, 3-D families only."""
    import tempfile

    from pysera import process_batch

    def run() -> Values:
        with tempfile.TemporaryDirectory() as folder:
            answer = process_batch(
                str(image), str(mask), output_path=folder, categories="all", dimensions="1st,3d", bin_size=25,
                enable_parallelism=False, num_workers="1", apply_preprocessing=False, report="none",
            )  # fmt: skip
        table = answer["features_extracted"]
        return {name: float(table[name].iloc[0]) for name in table.select_dtypes("number").columns}

    return run


PACKAGES: dict[str, Callable[[Path, Path, str], Callable[[], Values]]] = {
    "pyradiomics": radfuse("pyradiomics"), "radfuse": radfuse("fast"),
    "flash": flash, "fastrad": fastrad, "mirp": mirp, "nyxus": nyxus, "pysera": pysera,
}  # fmt: skip


def one(arguments: argparse.Namespace) -> None:
    """Measure one region with one package; print seconds, peak memory and values as JSON."""
    folder = arguments.data / arguments.one
    with contextlib.redirect_stdout(io.StringIO()):
        run = PACKAGES[arguments.package](folder / "CT_image.nii.gz", folder / "CT_mask.nii.gz", arguments.set)
        run()
        began = time.perf_counter(), time.process_time()
        values = {name: value for name, value in run().items() if not name.startswith(NO_FEATURE)}
        taken = time.perf_counter() - began[0], time.process_time() - began[1]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall_s": taken[0], "cpu_s": taken[1], "peak_mb": peak_mb, "values": values}))


def asked(arguments: argparse.Namespace, patient: str, package: str, python: str) -> dict[str, Any] | str:
    """Run `one` with the package's own interpreter; give what went wrong as text."""
    command = [python, __file__, "--data", str(arguments.data), "--one", patient, "--package", package]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    try:
        done = subprocess.run(
            [*command, "--set", arguments.set], env=environment, capture_output=True, text=True,
            timeout=arguments.limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"more than {arguments.limit_s:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:100]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(arguments: argparse.Namespace) -> None:
    """Print a block of lines for each patient."""
    peers = dict(given.split("=", 1) for given in arguments.peer)
    pythons = {"pyradiomics": sys.executable, "radfuse": sys.executable} | peers
    print(
        "patient  package      wall s   cpu s  features  ms/feature   peak MB  apart from PyRadiomics (median, largest)"
    )
    for patient in arguments.patients or PATIENTS:
        reference: Values = {}
        for package, python in pythons.items():
            found = asked(arguments, patient, package, python)
            if isinstance(found, str):
                print(f"{patient}  {package:11} {found}", flush=True)
                continue
            values = found["values"]
            reference = reference or values
            print(
                f"{patient}  {package:11} {found['wall_s']:7.3f} {found['cpu_s']:7.3f} {len(values):9} "
                f"{1000 * found['cpu_s'] / len(values):11.3f} {found['peak_mb']:9.0f}  {apart(values, reference)}",
                flush=True,
            )


def apart(values: Values, reference: Values) -> str:
    """Say how far values are from the reference, over the names that both have."""
    # fastrad writes original_glcm_joint_energy for original_glcm_JointEnergy.
    ours = {name.replace("_", "").lower(): value for name, value in reference.items()}
    theirs = {name.replace("_", "").lower(): value for name, value in values.items()}
    sizes = sorted(abs(theirs[n] - ours[n]) / max(abs(ours[n]), 1e-12) for n in ours if n in theirs)
    return f"{sizes[len(sizes) // 2]:.0e}, {sizes[-1]:.0e} over {len(sizes)}" if sizes else "other names"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sarcoma cohort")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=", ".join(PACKAGES))
    parser.add_argument("--patients", nargs="+", help="default: four, small to large")
    parser.add_argument("--set", choices=SETS, default="original", help="original: 107 features; filters: 1,130")
    parser.add_argument("--limit-s", type=float, default=600.0, help="give up on a package after this long")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--package", choices=PACKAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    one(arguments) if arguments.one else table(arguments)


if __name__ == "__main__":
    main()
