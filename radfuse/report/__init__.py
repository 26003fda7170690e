"""Report: everything a study found, as one page that can be read without radfuse."""
