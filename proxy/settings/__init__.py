"""Settings: TOML, then secret files, then the environment; every error at once, by key."""

from proxy.settings.load import SettingsInvalid, load_settings
from proxy.settings.schema import Settings

__all__ = ["Settings", "SettingsInvalid", "load_settings"]
