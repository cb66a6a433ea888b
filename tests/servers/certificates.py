"""Certificates for servers of tests, made anew each time: one that is right, and wrong ones."""

import datetime
import ipaddress
import os
import ssl
import tempfile

KINDS = ("good", "expired", "other-host", "self-signed", "old-tls")


def make(folder, kind):
    """(context for a server, file with the certificate that clients should trust). Needs the
    package cryptography, which moto brings."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, issuer, key, signer, names):
        expired = kind == "expired" and names
        builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - 3 * day)
                   .not_valid_after(now - day if expired else now + 3 * day)
                   .add_extension(x509.BasicConstraints(ca=not names, path_length=None), True))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        return builder.sign(signer, hashes.SHA256())

    def write(path, *pieces):
        with open(os.path.join(folder, path), "wb") as file:
            file.write(b"".join(pieces))
        return file.name

    pem = serialization.Encoding.PEM
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = certificate("test authority", "test authority", authority_key, authority_key, [])
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.DNSName("*.localhost"), x509.DNSName("*.s3.test"),
             x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if kind == "other-host":
        names = [x509.DNSName("other.test")]
    if kind == "self-signed":
        own = certificate("127.0.0.1", "127.0.0.1", key, key, names)
    else:
        own = certificate("127.0.0.1", "test authority", key, authority_key, names)
    trusted = write("authority.pem", authority.public_bytes(pem))
    chain = write("server.pem", own.public_bytes(pem), key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    if kind == "old-tls":
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context, trusted


def make_in_new_folder(kind):
    """The same, in a directory that is removed with the object given last."""
    folder = tempfile.TemporaryDirectory(prefix="shardy-tls-")
    return (*make(folder.name, kind), folder)
