"""Build the documents as a site in build/site, and see that it needs nothing from outside.

python packaging/build_site.py

MkDocs has to be installed (dependency group `docs`). The documents keep their places below
build/site-source, so that links between them lead to the same files as in the repository.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"
CONFIGURATION = ROOT / "packaging" / "site" / "mkdocs.yml"
_LINK = re.compile(r"\]\(([^)#:\s]+)(?=[)#])")
_LOADED = re.compile(r"""(?:src|href)=["']((?:https?:)?//[^"']+)|url\(["']?((?:https?:)?//[^"')]+)""")


def documents() -> Iterator[Path]:
    """Yield each document that README leads to, and what these link, such as the example configuration."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop().resolve()
        if document.is_dir():
            document /= "README.md"
        if document in reached:
            continue
        reached.add(document)
        yield document
        if document.suffix == ".md":
            waiting.extend(document.parent / target for target in _LINK.findall(_text(document)))


def gather() -> None:
    """Copy the documents, each to its place."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for document in documents():
        target = SOURCE / document.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if document.suffix == ".md":
            target.write_text(_LINK.sub(_to_file(document), _text(document)), encoding="utf-8")
        else:
            shutil.copyfile(document, target)


def outside(site: Path) -> list[str]:
    """Return what pages and styles would load from elsewhere; links that a reader follows are none."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = re.sub(r"<a\s[^>]*>", "", _text(path))
        found += [f"{path.relative_to(site)}: {one or other}" for one, other in _LOADED.findall(text)]
    return found


def main() -> int:
    """Build the site; return the exit code."""
    gather()
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean", "--config-file"]
    done = subprocess.run([*build, CONFIGURATION], cwd=ROOT, check=False)
    problems = outside(SITE) if done.returncode == 0 else ["MkDocs has refused the documents"]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}")
    return int(bool(problems))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _to_file(document: Path) -> Callable[[re.Match[str]], str]:
    """Return what makes a link to a folder one to its README."""

    def changed(link: re.Match[str]) -> str:
        if (document.parent / link[1] / "README.md").exists():
            return f"]({link[1].rstrip('/')}/README.md"
        return link[0]

    return changed


if __name__ == "__main__":
    sys.exit(main())
