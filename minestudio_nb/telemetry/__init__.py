"""Numbers, events and episodes: recorded where they arise, merged in one hub, written to files and exporters."""

from minestudio_nb.telemetry.cpu import ProcessTrees, ResourceUse
from minestudio_nb.telemetry.exporters import make_exporters
from minestudio_nb.telemetry.hub import Hub, News, read_history
from minestudio_nb.telemetry.recorder import Recorder
from minestudio_nb.telemetry.resources import ResourceMeter

__all__ = ["Hub", "News", "ProcessTrees", "Recorder", "ResourceMeter", "ResourceUse", "make_exporters", "read_history"]
