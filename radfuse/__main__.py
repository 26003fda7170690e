"""`python -m radfuse` is `radfuse`."""

from radfuse.cli.app import main

if __name__ == "__main__":
    main()
