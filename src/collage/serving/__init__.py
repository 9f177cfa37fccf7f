"""Real time: the gateway, from the socket down to the driver of the dispatcher."""

from collage.serving._settings import ServingSettings, load_settings

__all__ = ["ServingSettings", "load_settings"]
