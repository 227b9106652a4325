"""`python -m sipguard`."""

from sipguard.cli.main import main

if __name__ == "__main__":
    main()
