"""Instructions, judges and scores."""
