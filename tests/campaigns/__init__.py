"""Campaigns against the library, as programs: `python -m tests.campaigns.NAME --trials N --seed S`."""
