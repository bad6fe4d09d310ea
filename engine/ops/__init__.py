"""Running the engine: settings, logging, files and the lock."""
