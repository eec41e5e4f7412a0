"""Where bytes come from (sources) and where they go (artefacts in a store)."""
