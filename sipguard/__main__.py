"""`python -m sipguard`."""

from sipguard.cli.main import program

if __name__ == "__main__":
    program()
