"""Builds the distribution: `hooks` is what pip calls, `renaming` and `staging` what it needs."""
