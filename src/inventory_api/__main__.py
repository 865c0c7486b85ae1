"""`python -m inventory_api` is the command line."""

from inventory_api.cli import main

if __name__ == "__main__":
    main()
