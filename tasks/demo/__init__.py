"""The embedded default: a tiny family trained on the spot, and a judge that is a rule."""
