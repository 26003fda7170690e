"""Train a fusion network from a YAML and write weights and card."""
