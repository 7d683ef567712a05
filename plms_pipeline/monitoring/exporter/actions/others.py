"""What do the disk and the nights say?"""

from __future__ import annotations

from plms_pipeline.clock import Clock
from plms_pipeline.monitoring.exporter import files, proven
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.settings import Settings

# A repeated or late night may lie between two others.
NEWEST = 2 * proven.HISTORY


def disk(settings: Settings) -> Samples:
    """Free space where we write."""
    samples = Samples(CATALOGUE)
    for place, (free, size) in files.room(settings.data_dir, settings.reports_dir).items():
        samples.put("plms_disk_free_bytes", free, place)
        samples.put("plms_disk_size_bytes", size, place)
    return samples


def nights(reader: files.NightReader, clock: Clock) -> Samples:
    """What the nights proved.

    Raises:
        Unavailable: the reports cannot be read.
    """
    samples = Samples(CATALOGUE)
    proven.tell(samples, reader.nights(NEWEST), today=clock.now().date())
    samples.fill("nights", {})
    return samples
