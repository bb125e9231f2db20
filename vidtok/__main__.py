"""``python -m vidtok`` is ``vidtok``."""

from vidtok.cli import main

if __name__ == "__main__":
    main()
