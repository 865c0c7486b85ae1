# ruff: noqa: A005 (a folder of tests, never imported as `http`)
