"""Under which names do the parts of a server tell each other something (`AppState.extras`)?

A module of its own, because who binds the port must not pay for what the routes import.
"""

from __future__ import annotations

from typing import Final

# Whether the server is asked to end, as a function; streams end with it instead of keeping it waiting.
IS_ENDING: Final = "is_ending"
