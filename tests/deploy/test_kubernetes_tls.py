"""TLS in Kubernetes: the documented commands make what pods and servers mount, with names that clients verify."""

import base64
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.documented_deployment import Documented, carry_out
from tests.support.kubernetes import AUTHORITY, Pod, operator_files, rendered

PODS = [pytest.param(pod, id=pod.name) for pod in rendered("production").pods()]
_AUTHORITY = f"{AUTHORITY}/ca.crt"


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Documented:
    return carry_out(tmp_path_factory.mktemp("documented"))


def certificate(documented: Documented, namespace: str) -> x509.Certificate:
    """Return the certificate in the Secret of a server."""
    text = documented.resources["Secret", namespace, f"{namespace}-tls"]["tls.crt"]
    return x509.load_pem_x509_certificate(base64.b64decode(text))


def names(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(extension.value.get_values_for_type(x509.DNSName))


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_verifies_nats_and_postgresql(pod: Pod) -> None:
    environment = rendered("production").environment(pod)
    assert environment["NATS_CA"] == _AUTHORITY
    if "DB_HOST" in environment:
        assert environment["DB_SSLMODE"] == "verify-full"
        assert environment["DB_SSLROOTCERT"] == _AUTHORITY


@pytest.mark.parametrize("pod", PODS)
def test_documented_commands_make_what_a_pod_mounts(pod: Pod, documented: Documented) -> None:
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in pod.container["volumeMounts"]}
    files = set()
    for volume in pod.spec["volumes"]:
        if "secret" in volume:
            keys = documented.keys("Secret", "mkstore", volume["secret"]["secretName"])
        elif "configMap" in volume:
            keys = documented.keys("ConfigMap", "mkstore", volume["configMap"]["name"])
        else:
            continue
        files |= {str(mounts[volume["name"]] / key) for key in keys}
    environment = rendered("production").environment(pod)
    named = {value for name, value in environment.items() if name.endswith(("_FILE", "_CA", "ROOTCERT"))}
    assert named <= files


def test_documented_commands_make_what_nats_mounts(documented: Documented) -> None:
    values = operator_files("nats-values.yaml")[0]
    for block in (values["config"]["nats"]["tls"], values["config"]["cluster"]["tls"], values["tlsCA"]):
        assert block["enabled"]
        # The names of the files are the chart's defaults.
        assert documented.keys("Secret", "nats", block["secretName"]) == {"tls.crt", "tls.key", "ca.crt"}
    passwords = {each["valueFrom"]["secretKeyRef"]["key"] for each in values["container"]["env"].values()}
    assert passwords <= documented.keys("Secret", "nats", "nats-passwords")


def test_servers_of_nats_verify_each_other(documented: Documented) -> None:
    values = operator_files("nats-values.yaml")[0]["config"]
    assert values["cluster"]["tls"]["merge"]["verify"] is True
    own = certificate(documented, "nats")
    usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
    assert names(own) >= {f"nats-{number}.nats-headless" for number in range(values["cluster"]["replicas"])}


def test_documented_commands_make_what_postgresql_mounts(documented: Documented) -> None:
    cluster = operator_files("postgres.yaml")[0]["spec"]
    for name in ("serverTLSSecret", "serverCASecret"):
        files = documented.keys("Secret", "postgres", cluster["certificates"][name])
        assert files == {"tls.crt", "tls.key", "ca.crt"}
    logins = [
        cluster["bootstrap"]["initdb"]["secret"],
        *(role["passwordSecret"] for role in cluster["managed"]["roles"]),
    ]
    for login in logins:
        assert documented.keys("Secret", "postgres", login["name"]) == {"username", "password"}


@pytest.mark.parametrize("pod", PODS)
def test_certificates_have_the_names_that_a_pod_connects_to(pod: Pod, documented: Documented) -> None:
    (secret,) = (volume["secret"]["secretName"] for volume in pod.spec["volumes"] if "secret" in volume)
    address = base64.b64decode(documented.resources["Secret", "mkstore", secret]["NATS_URL"]).decode()
    assert urlsplit(address).hostname in names(certificate(documented, "nats"))
    environment = rendered("production").environment(pod)
    if "DB_HOST" in environment:
        assert environment["DB_HOST"] in names(certificate(documented, "postgres"))


def test_authority_of_the_pods_has_signed_both_certificates(documented: Documented) -> None:
    text = documented.resources["ConfigMap", "mkstore", "authority"]["ca.crt"]
    authority = x509.load_pem_x509_certificate(text.encode())
    for server in ("nats", "postgres"):
        certificate(documented, server).verify_directly_issued_by(authority)
