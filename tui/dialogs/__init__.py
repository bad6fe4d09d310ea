"""The dialogs: boxes over a screen that ask or tell."""
