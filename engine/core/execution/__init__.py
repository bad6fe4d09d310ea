"""From signals to orders: entries, exits, brackets, and the flattening of everything."""
