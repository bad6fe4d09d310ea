"""The version of what an engine runs with: program, settings and strategy files in one short hash.

After the loss of Knight Capital nobody could say which of eight servers ran what; the start line of
the log and the audit log tell it here.
"""

from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from engine import __version__
from engine.ops.settings import Settings, env_text
from engine.plugins import strategy_files

LENGTH = 12


def config_version(settings: Settings) -> str:
    """12 hexadecimal digits of a SHA-256: the same for the same program, settings and strategy
    files, another where one of them changed. Of secrets, and of where files lie, nothing enters."""
    digest = sha256(f"tradebot {__version__}\n".encode())
    for name in sorted(type(settings).model_fields):
        value = getattr(settings, name)
        if not isinstance(value, SecretStr | Path):
            digest.update(f"{name}={env_text(value)}\n".encode())
    for path in strategy_files(*filter(None, [settings.strategies_dir])):
        digest.update(f"{path.name}={sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:LENGTH]
