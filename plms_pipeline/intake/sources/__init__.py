"""Which files do we know by name? Each source is one module that holds one `SOURCE`."""

from plms_pipeline.intake.mapping import Source
from plms_pipeline.intake.sources import litellm, metr, otel_genai, receipts, swebench

SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE for module in (swebench, metr, receipts, litellm, otel_genai)
}
MAPPINGS = ("litellm", "otel-genai")
