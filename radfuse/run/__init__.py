"""The only code with side effects: it reads, writes, remembers, tracks and reports."""
