"""The panels of the desk. Each draws one part of a snapshot."""
