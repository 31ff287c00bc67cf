"""The container examples of doc/containers fit the programs: they take the pod's configuration, users agree, and the
images have the libraries that the programs are linked with."""
# run: seconds=2
import re
import subprocess
import unittest

import yaml

import harness

FOLDER = harness.ROOT / "doc" / "containers"
PROGRAMS = {"csrd": ("csrd", "csrctl"), "csrd-hsm": ("csrd-hsm",)}


def stages():
    """{name of the stage: its instructions} of the Dockerfile."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    parts = re.split(r"(?m)^FROM \S+ AS (\S+)\n", text)
    return dict(zip(parts[1::2], parts[2::2]))


def packages_of(program):
    """The Debian packages of the libraries that it is linked with, but for libc and what a sanitizer brings."""
    headers = harness.run(["readelf", "-d", harness.BIN / program]).stdout
    found = set()
    for library in re.findall(r"\(NEEDED\).*\[(.*)\]", headers):
        owners = harness.run(["dpkg", "-S", "*/" + library]).stdout
        found.add(re.search(r"(?m)^([^:]+?)(?:t64)?:(?!.*cross)", owners).group(1))  # the images are of Debian 12
    return {package for package in found if not re.fullmatch(r"libc6|libgcc-s1|lib\w+san\d+", package)}


class ContainersTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.documents = list(yaml.safe_load_all((FOLDER / "pod.yaml").read_text(encoding="utf-8")))
        self.pod = self.document("StatefulSet")["spec"]["template"]["spec"]
        self.containers = {item["name"]: item for item in self.pod["initContainers"] + self.pod["containers"]}

    def document(self, kind):
        return next(document for document in self.documents if document["kind"] == kind)

    def test_the_configuration_is_right(self):
        path = self.folder / "csrd.conf"
        path.write_text(self.document("ConfigMap")["data"]["csrd.conf"], encoding="utf-8")
        for command in (["csrd", "-t"], ["csrd-hsm", "-t", *self.containers["csrd-hsm"]["args"]]):
            harness.run([harness.BIN / command[0], "-c", path, *command[1:]])
        shown = harness.run([harness.BIN / "csrctl", "-c", path, "config", "show", "client_users"]).stdout
        self.assertIn(str(self.containers["csrd"]["securityContext"]["runAsUser"]), shown)

    def test_users_and_volumes_agree(self):
        users = {}
        for name, container in self.containers.items():
            users[name] = container["securityContext"]["runAsUser"]
            self.assertIn("\nUSER %d:%d\n" % (users[name], users[name]), stages()[name])
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            claims = self.document("StatefulSet")["spec"]["volumeClaimTemplates"]
            volumes = {item["name"] for item in self.pod["volumes"]} | {item["metadata"]["name"] for item in claims}
            self.assertLessEqual({item["name"] for item in container["volumeMounts"]}, volumes)
        self.assertEqual(len(set(users.values())), 2)
        pin = [item["name"] for item in self.containers.values()
               if any(mount["name"] == "pin" for mount in item["volumeMounts"])]
        self.assertEqual(pin, ["csrd-hsm"], "the PIN is the signer's alone")

    def test_the_images_have_the_libraries(self):
        for stage, programs in PROGRAMS.items():
            words = stages()[stage].split()
            for program in programs:
                for package in packages_of(program):
                    self.assertIn(package, words, "'%s' of '%s'" % (package, program))
                self.assertRegex(stages()[stage], r"COPY --from=build /out\S*/%s " % program)

    def test_programs_are_where_make_install_puts_them(self):
        done = subprocess.run(["make", "-n", "install", "DESTDIR=/out", "PREFIX=/usr"], cwd=harness.ROOT, check=False,
                              capture_output=True, text=True, timeout=60, env=harness.clean_environment())
        for path in re.findall(r"COPY --from=build (\S+) ", "\n".join(stages().values())):
            folder, program = path.rsplit("/", 1)
            self.assertRegex(done.stdout, r"(?m)^install .*/bin/%s\b.* %s$" % (program, folder))


if __name__ == "__main__":
    unittest.main()
