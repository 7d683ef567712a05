"""Serve `tiny_definitions` as `plms ui` serves the pipeline; run as a process by the tests."""

import json
import sys

from plms_pipeline.settings import load_settings
from plms_pipeline.web.service import UiOptions, UiReady, serve_ui

TINY = "plms_pipeline_tests.web.tiny_definitions"


def _tell(ready: UiReady) -> None:
    sys.stdout.write(json.dumps({"url": ready.url, "load_errors": list(ready.load_errors)}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    options = UiOptions(host="127.0.0.1", port=int(sys.argv[1]), code_module=sys.argv[2] if len(sys.argv) > 2 else TINY)
    try:
        serve_ui(load_settings(), options, _tell)
    except KeyboardInterrupt:
        sys.exit(0)
