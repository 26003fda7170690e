import numpy as np
import pandas as pd

from radfuse.data.table import FeatureTable
from radfuse.harmonize.stage import Harmonize


def test_every_region_of_a_modality_is_harmonised_by_its_scanner_and_an_absent_region_stays_missing(rng):
    ids = pd.Index([f"s{number}" for number in range(60)], name="subject")
    scanner = np.array(["x", "y"])[np.arange(60) % 2]
    values = pd.DataFrame(
        {
            f"{place}.original_firstorder_F{number}": rng.normal(size=60) + 3 * (scanner == "y")
            for place in ("CT", "CT:node", "PET")
            for number in range(6)
        },
        index=ids,
    )
    node = [name for name in values if name.startswith("CT:node")]
    values.loc[ids[::3], node] = np.nan
    table = FeatureTable(values, pd.DataFrame({"batch.CT": scanner}, index=ids))
    found = Harmonize.model_validate({"harmonizer": "combat"})(table).table.values
    apart = found.groupby(scanner).mean().diff().iloc[-1]
    assert apart[[name for name in found if name.startswith("CT.")]].abs().max() < 1
    assert apart[node].abs().max() < 2  # the third without a node pulls its filled-in values along
    assert apart[[name for name in found if name.startswith("PET")]].min() > 2
    np.testing.assert_array_equal(found[node].isna(), values[node].isna())
