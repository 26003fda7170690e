"""DICOM: series found, volumes in physical units, structures drawn. What is missing or contradictory is refused."""
