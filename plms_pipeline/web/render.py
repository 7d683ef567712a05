"""What does the sign-in page of the guarded UI look like?

One page without script, so that its content policy can forbid all of it: nothing that gets onto this page may ever see the
token that is pasted into it.
"""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if reload %}<meta http-equiv="refresh" content="0">{% endif %}
<title>PLMS Pipeline: sign in</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 34rem; margin: 12vh auto 2rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
label { display: block; font-weight: 600; }
input { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit; margin: .3rem 0 1rem; }
button { padding: .6rem 1.2rem; font: inherit; cursor: pointer; }
form + form, p + form { margin-top: 1rem; }
code { overflow-wrap: anywhere; }
.no { border-left: .3rem solid #b00020; padding-left: .8rem; }
</style>
</head>
<body>
<main>
<h1>PLMS Pipeline</h1>
{% if refused %}<p class="no" role="alert">{{ refused }}</p>{% endif %}
{% if name %}
<p>You are signed in as <strong>{{ name }}</strong>{% if role %} ({{ role }}){% endif %}.</p>
<p><a href="{{ onward }}">Open the Dagster UI</a></p>
{% if may_sign_out %}<form method="post" action="/logout"><button>Sign out</button></form>{% endif %}
{% else %}
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" required autofocus autocomplete="current-password" spellcheck="false">
<input name="next" type="hidden" value="{{ onward }}">
<button>Sign in</button>
</form>
<p>An administrator issues tokens: <code>plms token issue --role operator --subject you@example.org</code></p>
{% if may_look %}<p>Without one you may <a href="{{ onward }}">look on</a>.</p>{% endif %}
{% endif %}
</main>
</body>
</html>
"""
_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    _PAGE
)


def sign_in_page(
    *,
    onward: str,
    name: str | None = None,
    role: str | None = None,
    refused: str = "",
    may_look: bool,
    may_sign_out: bool = False,
    reload: bool = False,
) -> bytes:
    """The page as HTML.

    Args:
        onward: path of the UI to go to afterwards.
        name: who is signed in; None shows the form.
        role: their role.
        refused: why the last try failed.
        may_look: whether somebody without a name may look at the UI.
        may_sign_out: whether there is a session to end.
        reload: whether the page asks for itself again at once.
    """
    return _TEMPLATE.render(
        onward=onward,
        name=name,
        role=role,
        refused=refused,
        may_look=may_look,
        may_sign_out=may_sign_out,
        reload=reload,
    ).encode()
