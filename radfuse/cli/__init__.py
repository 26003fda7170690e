"""The command line: parse, open a session, call one thing, say what came of it."""
