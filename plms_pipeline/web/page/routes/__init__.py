"""The page over HTTP: its files, what it asks for, and the stream that tells it when to ask again."""

from plms_pipeline.web.page.routes.events import router as _events
from plms_pipeline.web.page.routes.files import router as _files
from plms_pipeline.web.page.routes.sections import router as _sections

ROUTERS = (_sections, _events)
# Not in the OpenAPI document: a page is no program's business.
PAGE = _files
