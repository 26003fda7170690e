"""The nouns: what the stages pass to each other. Imports only `radfuse.errors`."""
