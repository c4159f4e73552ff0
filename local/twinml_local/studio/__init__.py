"""The Studio site: what is registered, trained, deployed and measured here, as pages.

::

    _service       the process: where it listens, its keys, starting and ending it
    _app           the application: pages, errors, what every page has
    _security      which requests are answered: Host, Origin, sign-in, tokens of forms
    _overview, _data, _jobs, _models, _endpoints, _scoring, _monitoring, _logs, _pipelines,
    _compare, _rehearsal   the pages, a module for each part
    _evidence      pictures of the pages
    _code          which state of the code a site runs
    _live          parts of a page that follow what happens, by server-sent events
    _parts, part   parts that cost seconds: made in a process of their own, and kept
    _templates     the templates, and what they write values with
    _sources       what the pages read: stores, files and the platform, behind one object

Pages are made by the server from the stores as they are at that moment. What
changes something is a POST that goes to a verb of the platform.
"""

from __future__ import annotations

from twinml_local.studio._app import create_app
from twinml_local.studio._evidence import evidence
from twinml_local.studio._service import serve, start, stop

__all__ = ["create_app", "evidence", "serve", "start", "stop"]
