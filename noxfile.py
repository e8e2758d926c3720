"""What is run by hand or before a release: `nox` for the default, `nox -l` for all.

`.ci/run` is what a change has to pass, and needs no nox. The sessions here go further: every
Python that is found, the supply chain, and runs that take minutes or hours. Arguments after
`--` reach the program behind a session.

    nox                          lint, tests, licences, build
    nox -t release               all that a release needs; leaves it in build/release
    nox -s soak -- --minutes 60  an hour of 200 clients
"""

import os
import sys
import tomllib
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nox

ROOT = Path(__file__).parent
LOCK = "packaging/requirements.lock"
BUILD_LOCK = "packaging/build.lock"
RELEASE = ROOT / "build" / "release"
PYTHONS = ["3.11", "3.12", "3.13"]
ARCHITECTURES = ["x86_64", "aarch64"]
ADVISORIES = "https://pypi.org/pypi/aiohttp/3.13.0/json"
"""Any release with known vulnerabilities: an index that names none for it knows of none at all."""

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(tags=["release"])
def lint(session: nox.Session) -> None:
    """Check style, types and the direction of imports."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session(python=PYTHONS, tags=["release"])
def tests(session: nox.Session) -> None:
    """Run the tests with every supported Python that is here; `-- -k NAME` for some of them."""
    _install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest releases that pyproject.toml allows; `-- PATH` for some of them."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(map(_lowest, project["project"]["dependencies"])))
    test = nox.project.dependency_groups(project, "test")
    # import-linter wants a newer click, and has nothing to do with what runs.
    test = tuple(one for one in test if not one.startswith("import-linter"))
    session.install("--constraint", str(constraints), "--editable", ".", *test)
    session.run("pytest", "--ignore=tests/unit/project", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change the code in one place at a time, and print the share that the tests notice.

    All of it takes hours: `-- --sample 200 --seed 1`, `-- proxy/web/access`, `-- --help`.
    """
    _install(session, "test")
    session.run("python", "-m", "mutation", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Draw a map of the lines and branches that no test reaches; `-- tests/unit` for what those reach.

    It is left in build/coverage/html. Reached is not guarded: `nox -s mutation` tells that.
    """
    _install(session, "dev")
    reports = ("--cov", "--cov-report=term", "--cov-report=html")
    session.run("pytest", *reports, *session.posargs, env={"CI": "1"})  # Hypothesis then has no deadlines.


@nox.session(tags=["release"])
def docs(session: nox.Session) -> None:
    """Make the reference pages from the code, and build all documents as a site in build/site."""
    _install(session, "docs")
    session.run("python", "packaging/write_reference.py")
    session.run("python", "packaging/build_site.py")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Choose the newest versions of all that a release needs, and pin them with their hashes.

    The lock holds for every supported Python and both architectures, which is tried, and
    names no index. `-- --upgrade-package aiohttp` moves one package and leaves the others.
    """
    session.install("-q", "uv")
    builders = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = Path(session.create_tmp()) / "build.in"
    wanted.write_text("\n".join(["build", *builders]) + "\n")
    for source, target in (("pyproject.toml", LOCK), (str(wanted), BUILD_LOCK)):
        session.run(
            "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes",
            "--python-version", PYTHONS[0], "--default-index", "https://pypi.org/simple",
            "--no-emit-index-url", "--custom-compile-command", "nox -s lock",
            *(session.posargs or ["--upgrade"]), source, "--output-file", target,
        )  # fmt: skip
    for python in PYTHONS:
        for architecture in ARCHITECTURES:
            session.run(
                "python", "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
                "--only-binary=:all:", "--target", session.create_tmp(), "--python-version", python,
                "--platform", f"manylinux2014_{architecture}", "--platform", f"manylinux_2_28_{architecture}",
                "--require-hashes", "-r", LOCK,
            )  # fmt: skip


@nox.session(default=False, tags=["release"])
def audit(session: nox.Session) -> None:
    """Ask PyPI whether anything that a release needs has known vulnerabilities.

    A mirror of PyPI may serve packages without advisories. pip-audit then finds nothing, and
    says so as if all were well; so it is asked first whether it knows any. What is known and
    does not apply stands in `packaging/advisories.toml`, with the reason.
    """
    session.install("-q", "pip-audit")
    try:
        with urlopen(ADVISORIES, timeout=20) as reply:
            has_advisories = b'"vulnerabilities":[{' in reply.read().replace(b" ", b"")
    except URLError as error:
        session.error(f"nothing was audited: PyPI's advisories cannot be reached ({error})")
    if not has_advisories:
        session.error(f"nothing was audited: what answers as {ADVISORIES} knows no advisories")
    session.run("python", "packaging/audit.py", LOCK, *session.posargs)


@nox.session(tags=["release"])
def licences(session: nox.Session) -> None:
    """Refuse packages whose licence is unknown, or does not allow shipping them beside ours."""
    session.install("-q", "--require-hashes", "-r", LOCK)
    session.run("python", "packaging/licences.py", LOCK)


@nox.session(tags=["release"])
def build(session: nox.Session) -> None:
    """Build the last commit twice, compare, and try the wheel where there is no checkout.

    Folder, time, umask, time zone and language differ between the two; only the commit's
    time is told, by SOURCE_DATE_EPOCH.
    """
    session.install("-q", "--require-hashes", "-r", BUILD_LOCK)
    if session.run("git", "status", "--porcelain", silent=True, external=True):
        session.warn("what is not committed is not built")
    seconds = str(session.run("git", "log", "-1", "--format=%ct", silent=True, external=True)).strip()
    wheels: list[Path] = []
    for number, (umask, zone) in enumerate([(0o022, "UTC"), (0o077, "Pacific/Auckland")]):
        folder = Path(session.create_tmp()) / f"build-{number}" / ("deeper" * number)
        session.run("rm", "-rf", str(folder), external=True)
        _check_out(session, folder)
        before = os.umask(umask)
        try:
            session.run(
                "python", "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder),
                env={"SOURCE_DATE_EPOCH": seconds, "TZ": zone, "PYTHONHASHSEED": str(number)},
                silent=True,
            )  # fmt: skip
        finally:
            os.umask(before)
        wheels += (folder / "dist").glob("*.whl")
    session.run("python", "packaging/check_wheel.py", ".", *map(str, wheels))
    RELEASE.mkdir(parents=True, exist_ok=True)
    for old in RELEASE.iterdir():
        old.unlink()
    for made in wheels[0].parent.iterdir():
        made.rename(RELEASE / made.name)
    _install_release(session, Path(session.create_tmp()) / "installed")
    session.run("python", "packaging/try_program.py", f"{session.create_tmp()}/installed/bin/sstream-proxy")


@nox.session(default=False, tags=["release"])
def sbom(session: nox.Session) -> None:
    """Write what a release is made of, as CycloneDX JSON beside its wheel. Needs `build` before."""
    session.install("-q", "cyclonedx-bom")
    installed = Path(session.create_tmp()) / "installed"
    _install_release(session, installed)
    target = RELEASE / "sstream-proxy.cdx.json"
    session.run(
        "cyclonedx-py", "environment", "--pyproject", "pyproject.toml", "--mc-type", "application",
        "--output-reproducible", "--of", "JSON", "--validate", "-o", str(target),
        str(installed / "bin" / "python"),
    )  # fmt: skip
    session.run("python", "packaging/check_sbom.py", str(target), LOCK)


@nox.session(default=False, python=False)
def distributions(session: nox.Session) -> None:
    """Try README's two commands in chroots of Debian 12 and 13, and Ubuntu 24.04; `-- trixie` for one.

    Needs root and debootstrap. $DEBIAN_MIRROR and $UBUNTU_MIRROR say where packages come from;
    Ubuntu is tried where the latter is set, and its keys are here ($UBUNTU_KEYRING).
    """
    for suite, arguments in _suites(session).items():
        session.run("python3", "packaging/try_distribution.py", suite, *arguments, external=True)


@nox.session(default=False, python=False)
def deb(session: nox.Session) -> None:
    """Build the Debian package in chroots as `distributions` has them, and try it there.

    It is checked by lintian, installed, upgraded with data from the package of the commit $BEFORE,
    downgraded, removed and purged; its units are run by a systemd of the chroot's own. It is left in
    build/release: one for each distribution, for its compiled parts are of one Python.
    """
    before = os.environ.get("BEFORE", "HEAD")
    for suite, arguments in _suites(session).items():
        options = ["--before", before, *arguments]
        session.run("python3", "packaging/try_deb.py", suite, *options, external=True)


@nox.session(default=False, python=False)
def container(session: nox.Session) -> None:
    """Build the container image with podman, run it read-only, stop it under a download. Needs root."""
    mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
    session.run("python3", "packaging/try_container.py", mirror, external=True)


def _suites(session: nox.Session) -> dict[str, list[str]]:
    """Return the distributions that are asked for, else all, with what debootstrap needs for each."""
    debian = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
    known: dict[str, list[str]] = {"bookworm": [debian], "trixie": [debian]}
    if ubuntu := os.environ.get("UBUNTU_MIRROR"):
        keyring = os.environ.get("UBUNTU_KEYRING", "/usr/share/keyrings/ubuntu-archive-keyring.gpg")
        known["noble"] = [ubuntu, "--keyring", keyring]
    unknown = set(session.posargs) - set(known)
    if unknown:
        session.error(f"not known, or without a mirror: {', '.join(sorted(unknown))}")
    return {suite: known[suite] for suite in session.posargs or known}


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Let 200 clients do all that clients do for ten minutes; `-- --minutes 240` for a night."""
    _bench(session, "soak.py", *session.posargs)


@nox.session(default=False)
def kill_loop(session: nox.Session) -> None:
    """Kill processes at random moments, restart, and audit every byte: 1,000 rounds."""
    _bench(session, "kill_loop.py", *(session.posargs or ["--rounds", "1000"]))


@nox.session(default=False)
def gap(session: nox.Session) -> None:
    """Carry 12 generations from one site to another, in parts and in odd order, as sstream-mirror sees it."""
    _bench(session, "gap.py", *session.posargs)


@nox.session(default=False)
def gap_faults(session: nox.Session) -> None:
    """Kill exports and imports, or fill their disks, at 100 random moments of each, and run them again."""
    _bench(session, "gap_faults.py", *session.posargs)


@nox.session(default=False)
def crush(session: nox.Session) -> None:
    """Ask an honest origin for 10,000 cold items over six connections; `-- --items 1000` for fewer."""
    _bench(session, "crush.py", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Feed parsers and the server what nobody should send."""
    _bench(session, "fuzz.py", *session.posargs)


@nox.session(default=False)
def fuzz_origins(session: nox.Session) -> None:
    """Let an origin send what none should, beside a good one: no client may notice."""
    _bench(session, "fuzz_origins.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure, beside nginx and sstream-mirror where they are installed."""
    _bench(session, "run.py", *session.posargs)


def _lowest(requirement: str) -> str:
    """Return the oldest release that a requirement allows, as one: `click>=8.1,<9` is `click==8.1.*`."""
    return requirement.partition(",")[0].replace(">=", "==") + ".*"


def _install(session: nox.Session, group: str) -> None:
    """Install the proxy as it lies here, and a dependency group, which an older pip cannot read."""
    wanted = nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), group)
    session.install("-q", "-e", ".", *wanted)


def _bench(session: nox.Session, program: str, *arguments: str) -> None:
    _install(session, "test")
    session.run("python", f"bench/{program}", *arguments)


def _check_out(session: nox.Session, folder: Path) -> None:
    """Put the files of the last commit into a new folder."""
    folder.mkdir(parents=True)
    archive = folder.parent / "commit.tar"
    session.run("git", "archive", "--output", str(archive), "HEAD", external=True)
    session.run("tar", "-xmf", str(archive), "-C", str(folder), external=True)


def _install_release(session: nox.Session, target: Path) -> None:
    """Install the built wheel and its locked dependencies into a new environment without pip."""
    (wheel,) = RELEASE.glob("*.whl")
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(target))
    pip = ("python", "-m", "pip", "--python", str(target / "bin" / "python"), "install", "--quiet")
    session.run(*pip, "--require-hashes", "-r", LOCK)
    session.run(*pip, "--no-deps", str(wheel))


if __name__ == "__main__":
    sys.exit("run `nox`, not this file")
