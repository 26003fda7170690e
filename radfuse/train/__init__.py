"""Train: judge every modality, every fusion level and every baseline on the same patients in the same folds."""
