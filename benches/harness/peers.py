"""Installs the peers once into the cache: packages from PyPI with pip, jars from Maven with mvn.

`Missing` has the reason why one cannot be installed on this machine. It is then reported as left
out.
"""

import hashlib
import os
import re
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass

from common import ROOT, pins, python_with, readers_python

JOBS = os.path.join(ROOT, "benches/peers")
CACHE = os.path.join(ROOT, os.environ.get("REPRISE_CACHE") or ".cache", "bench")
PACKAGES = {"pyspark": "4.1.1", "apache-flink-libraries": "2.3.0", "pathway": "0.33.0", "confluent-kafka": "2.16.1"}
JAVA_OLDEST = 17
# Flink accesses internal Java modules. Its launcher, which is not used here, would open them.
FLINK_OPENS = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "util", "time")]


class Missing(Exception):
    """A peer, or something that it needs, is not available here."""


@dataclass
class Spark:
    python: str
    jars: str


def versions():
    """The versions of all pinned packages, and of Java."""
    found = {**PACKAGES, **dict(pin.split("==") for pin in pins())}
    try:
        found["java"] = subprocess.run([java(), "-version"], capture_output=True, text=True).stderr.splitlines()[0]
    except Missing:
        found["java"] = None
    return found


def environment(name, sources=()):
    try:
        return python_with([f"{name}=={PACKAGES[name]}"], sources)
    except subprocess.CalledProcessError as error:
        raise Missing(f"pip could not install {name}") from error


def tools():
    """A Python with a Kafka client."""
    return environment("confluent-kafka")


def readers():
    """The Python of the tests' readers, with DuckDB, Polars and pyarrow."""
    try:
        return readers_python()
    except subprocess.CalledProcessError as error:
        raise Missing("pip could not install tests/requirements.txt") from error


def pathway():
    return environment("pathway")


def spark():
    java()
    jars = fetched("org/apache/spark/", "org/apache/kafka/", "org/apache/commons/")
    return Spark(environment("pyspark", sources=["pyspark"]), ",".join(jars))


def flink(memory):
    """The command that runs Flink's job: a Java with all of Flink on its class path."""
    found = java()
    javac = os.path.join(os.path.dirname(found), "javac")
    if not os.access(javac, os.X_OK):
        raise Missing(f"its job is written in Java, and {javac} does not exist (Debian: openjdk-17-jdk-headless)")
    python = environment("apache-flink-libraries", sources=["apache-flink-libraries"])
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    jars = [os.path.join(packages, "pyflink/lib/*"), *fetched("org/apache/flink/", "org/apache/hadoop/")]
    classes = compiled(javac, ":".join(jars), os.path.join(JOBS, "Flink.java"))
    return [found, f"-Xmx{memory}", *FLINK_OPENS, "-cp", ":".join([*jars, classes]), "Flink"]


def java():
    """The path of a Java that is new enough."""
    home = os.environ.get("JAVA_HOME")
    found = os.path.join(home, "bin/java") if home else shutil.which("java")
    if not found or not os.access(found, os.X_OK):
        raise Missing(f"it needs Java {JAVA_OLDEST} or newer")
    output = subprocess.run([found, "-XshowSettings:properties", "-version"], capture_output=True, text=True).stderr
    version = re.search(r"java\.specification\.version = (\d+)", output)
    if not version or int(version[1]) < JAVA_OLDEST:
        raise Missing(f"it needs Java {JAVA_OLDEST} or newer, and {found} is older")
    # The path may be a link; javac is beside its target.
    return os.path.realpath(found)


def compiled(javac, path, source):
    with open(source, "rb") as file:
        folder = os.path.join(CACHE, "classes", hashlib.sha256(file.read() + path.encode()).hexdigest()[:16])
    if not os.path.isdir(folder):
        partial = f"{folder}.partial"
        done = subprocess.run([javac, "-nowarn", "-d", partial, "-cp", path, source], capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(f"javac cannot compile its job: {done.stderr.strip()[:500]}")
        os.rename(partial, folder)
    return folder


def fetched(*prefixes):
    """The paths of the listed jars whose Maven path begins with one of `prefixes`."""
    with open(os.path.join(JOBS, "jars.txt")) as file:
        listed = [line.split() for line in file if line.strip() and not line.startswith("#")]
    folder = os.path.join(CACHE, "jars")
    os.makedirs(folder, exist_ok=True)
    paths = []
    for path, digest in listed:
        if path.startswith(prefixes):
            paths.append(os.path.join(folder, os.path.basename(path)))
            if not os.path.exists(paths[-1]):
                fetch(path, digest, paths[-1])
    return paths


def fetch(path, digest, to):
    partial = f"{to}.partial"
    os.makedirs(partial, exist_ok=True)
    file = os.path.join(partial, os.path.basename(path))
    # As in scripts/kafka: a named repository takes precedence, and mvn uses the mirrors that its
    # user has configured.
    if repository := os.environ.get("REPRISE_MAVEN_REPOSITORY"):
        download(f"{repository.rstrip('/')}/{path}", file)
    elif shutil.which("mvn"):
        by_mvn(path, partial)
    else:
        raise Missing("its jars need mvn or REPRISE_MAVEN_REPOSITORY, and there is neither")
    with open(file, "rb") as content:
        if hashlib.sha256(content.read()).hexdigest() != digest:
            raise Missing(f"{file} differs from the jar in benches/peers/jars.txt")
    os.rename(file, to)
    os.rmdir(partial)


def download(url, file):
    try:
        urllib.request.urlretrieve(url, file)
    except OSError as error:
        raise Missing(f"{url} cannot be fetched: {error}") from error


def by_mvn(path, folder):
    *group, artifact, version, _ = path.split("/")
    jar = f"{'.'.join(group)}:{artifact}:{version}"
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={jar}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"mvn could not fetch {jar}: {done.stdout.strip()[-300:]}")
