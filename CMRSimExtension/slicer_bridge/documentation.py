"""Where the modules are documented."""

from slicer.i18n import tr as _

PAGES = "https://github.com/CMRSimExtension/CMRSimExtension/blob/main/Docs"


def documentation_link(module: str) -> str:
    """The end of a module's help text: a link to its page."""
    return "<p>" + str(_('See the <a href="{page}">documentation of this module</a>.')).format(
        page=f"{PAGES}/{module}.md") + "</p>"
