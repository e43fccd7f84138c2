"""Programs that run in the peers' own environments; each stands alone."""
