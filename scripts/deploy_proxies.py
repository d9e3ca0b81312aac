"""What deploy/proxies.md says of proxies: by nginx and Caddy themselves, where they are installed, and by what has to be there."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile

from deploy_options import all_options


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def check_commands(complaints, path, text):
    """Every option of the commands is one that `reprise run` has."""
    known = {option.long for option in all_options()}
    commands = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line, comments=True) for line in commands if line.startswith("reprise ")]
    complaints.unless(commands, path, "has no command")
    for word in (word for command in commands for word in command):
        name = word.removeprefix("--").split("=")[0]
        complaints.unless(not word.startswith("--") or name in known, path, f"runs reprise with {word}, which it does not have")


def check_nginx(complaints, path, config):
    """Events are passed on as they come, the name that clients use is kept, and nginx can read all of it."""
    stream = re.search(r"location = /v1/stream \{(.*?)\n    \}", config, re.DOTALL)
    complaints.unless(stream and "proxy_buffering off;" in stream[1], path, "nginx would collect the events of /v1/stream")
    passed, named = config.count("proxy_pass "), config.count("proxy_set_header Host $host;")
    complaints.unless(passed == named > 0, path, "nginx does not pass on the name that clients ask for")
    if not shutil.which("nginx"):
        return print("deploy-check: LEFT OUT: nginx is not installed, so it has not read deploy/proxies.md")
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=charts.example", "-days", "1",
             "-keyout", key, "-out", certificate], check=True, capture_output=True)
        config = re.sub(r"(ssl_certificate) \S+;", rf"\1 {certificate};", config)
        config = re.sub(r"(ssl_certificate_key) \S+;", rf"\1 {key};", config)
        file = os.path.join(folder, "nginx.conf")
        with open(file, "w") as out:
            out.write(f"pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off;\n{config}\n}}\n")
        tested = subprocess.run(["nginx", "-t", "-p", folder, "-c", file], capture_output=True, text=True)
        complaints.unless(tested.returncode == 0, path, f"nginx: {tested.stderr.strip()}")


def check_caddy(complaints, path, config):
    complaints.unless("flush_interval -1" in config, path, "Caddy would collect the events of /v1/stream")
    if not shutil.which("caddy"):
        return print("deploy-check: LEFT OUT: caddy is not installed, so it has not read deploy/proxies.md")
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"]
    tested = subprocess.run(command, input=config, capture_output=True, text=True)
    complaints.unless(tested.returncode == 0, path, f"caddy: {tested.stderr.strip()}")


def check(complaints, path):
    if not os.path.isfile(path):
        return complaints.add(path, "is not there")
    with open(path) as file:
        text = file.read()
    check_commands(complaints, path, text)
    for language, look in (("nginx", check_nginx), ("caddyfile", check_caddy)):
        found = blocks(text, language)
        complaints.unless(len(found) == 1, path, f"has {len(found)} blocks of {language}, and should have one")
        for config in found:
            look(complaints, path, config)
