"""The stages, one module each, and the packages that they use."""
