"""Certificate authorities for tests, made with openssl(1): certificates right and wrong, and CRLs."""
import datetime
import pathlib

import harness

CONFIG = """
[ca]
default_ca = this
[this]
dir = {folder}
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {certificate}
private_key = {key}
default_md = sha256
default_days = 90
policy = anything
email_in_dn = no
unique_subject = no
copy_extensions = none
[anything]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
"""
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def when(days):
    """A time as openssl ca takes it, so many days from now."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%Y%m%d%H%M%SZ")


class Ca:
    """A CA in a folder of its own; with `parent` an intermediate one."""

    def __init__(self, folder, name, parent=None, constraints=None):
        self.folder = pathlib.Path(folder) / ("ca-" + name)
        self.folder.mkdir()
        self.parent = parent
        self.name = name
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        if constraints:
            extensions.append("nameConstraints=critical," + constraints)
        if parent:
            self.certificate, self.key = parent.issue(name, extensions=extensions, folder=self.folder)
        else:
            self.certificate, self.key = self.folder / "ca.crt", self.folder / "ca.key"
            harness.run(["openssl", "req", "-x509", *KEY, "-keyout", self.key, "-out", self.certificate, "-days", "90",
                         "-subj", "/O=Test/CN=" + name] + [word for each in extensions for word in ("-addext", each)])
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "crlnumber").write_text("01\n")
        self.config = self.folder / "ca.cnf"
        self.config.write_text(CONFIG.format(folder=self.folder, certificate=self.certificate, key=self.key))

    def issue(self, name, san=None, subject=None, start=-1, end=30, usage="clientAuth", extensions=None, folder=None):
        """Certificate, followed by those of intermediate CAs, and key: their paths.  start, end: days from now."""
        folder = folder or self.folder
        request, key, certificate = (folder / (name + end_) for end_ in (".csr", ".key", ".crt"))
        harness.run(["openssl", "req", "-new", *KEY, "-keyout", key, "-out", request, "-subj",
                     "/O=Test/CN=" + name if subject is None else subject])
        lines = list(extensions or [])
        if not extensions and usage:
            lines.append("extendedKeyUsage=" + usage)
        if san:
            lines.append("subjectAltName=" + san)
        extfile = folder / (name + ".ext")
        extfile.write_text("basicConstraints=CA:FALSE\n" * (not extensions) + "\n".join(lines) + "\n")
        harness.run(["openssl", "ca", "-batch", "-notext", "-config", self.config, "-in", request, "-out", certificate,
                     "-startdate", when(start), "-enddate", when(end), "-extfile", extfile, "-preserveDN"])
        if self.parent:
            certificate.write_bytes(certificate.read_bytes() + self.certificate.read_bytes())
        return certificate, key

    def revoke(self, certificate):
        harness.run(["openssl", "ca", "-config", self.config, "-revoke", certificate])

    def crl(self, seconds=3600):
        """The PEM of a new CRL."""
        path = self.folder / "crl.pem"
        harness.run(["openssl", "ca", "-gencrl", "-config", self.config, "-crlsec", str(seconds), "-out", path])
        return path.read_bytes()
