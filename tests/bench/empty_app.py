"""The least that a Textual app can be: the peer of the first frame."""

from textual.app import App


class Empty(App[None]):
    pass


if __name__ == "__main__":
    Empty().run()
