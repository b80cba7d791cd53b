"""What axe finds in a page."""

OURS = [".jp-RenderedMarkdown", ".jp-OutputArea-output"]  # what the course makes, without JupyterLab itself


def serious(page):
    """Return what axe finds serious in what we make, one line a finding."""
    from axe_playwright_python.sync_playwright import Axe

    rules = {"resultTypes": ["violations"]}
    found = Axe().run(page, context={"include": [[one] for one in OURS]}, options=rules).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
