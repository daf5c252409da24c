"""Settings from a TOML file, secret files and the environment; reports all errors at once."""

from proxy.settings.load import SettingsInvalid, load_settings
from proxy.settings.schema import Settings

__all__ = ["Settings", "SettingsInvalid", "load_settings"]
