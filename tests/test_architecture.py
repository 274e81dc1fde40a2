"""Architecture: allowed imports, words that the gateway must not contain, and required docstrings."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from restmap.v1 import restmap_pb2

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "protos" / "backupsharing" / "image.binpb"


def modules(source: str, package: str) -> dict[str, Path]:
    """Return the modules of a package by dotted name, including the package's name; a package is its ``__init__``."""
    paths = sorted((ROOT / source / package.replace(".", "/")).rglob("*.py"))
    return {path.relative_to(ROOT / source).with_suffix("").as_posix().replace("/", "."): path for path in paths}


SERVER, GATEWAY = modules("server", "backup_sharing"), modules("gateway", "restmap_gateway")
CLIENT, COMMANDS = modules("protos", "backupsharing.client"), modules("protos", "backupsharing.commands")
RESTMAP = {name: path for name, path in modules("protos", "restmap").items() if not path.stem.endswith("_pb2")}
KIT, MULTIPLEXING = modules("gateway", "programkit"), modules("protos", "restmap.multiplexing")
BOTH = {**SERVER, **GATEWAY}
ALL = {**BOTH, **KIT, **MULTIPLEXING, **CLIENT, **COMMANDS}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every import of a module; ``from a import b`` yields both a and a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("name", GATEWAY)
def test_the_gateway_imports_neither_server_nor_sharing_api(name: str) -> None:
    assert not [found for found in imports(GATEWAY[name]) if within(found, "backup_sharing", "backupsharing", "tests")]


RUNS_THE_GATEWAY = "backup_sharing.gateway_program"
"""The only module that imports the gateway: the program that runs the gateway under this service's name and set."""


@pytest.mark.parametrize("name", [name for name in SERVER if name != RUNS_THE_GATEWAY])
def test_the_server_does_not_import_the_gateway(name: str) -> None:
    assert not [found for found in imports(SERVER[name]) if within(found, "restmap_gateway", "tests")]


@pytest.mark.parametrize("name", KIT)
def test_what_both_programs_share_knows_neither(name: str) -> None:
    others = ("backup_sharing", "restmap_gateway", "backupsharing", "restmap", "multiplex", "grpc", "tests")
    if not within(name, "programkit.admin_port", "programkit.admin_http"):
        others = (*others, "aiohttp", *(() if name == "programkit.metrics" else ("prometheus_client",)))
    assert not [found for found in imports(KIT[name]) if within(found, *others) or "_pb2" in found]


@pytest.mark.parametrize("name", MULTIPLEXING)
def test_multiplexing_knows_no_service_and_no_gateway(name: str) -> None:
    others = ("backup_sharing", "restmap_gateway", "backupsharing", "programkit", "restmap.v1", "structlog", "tests")
    assert not [found for found in imports(MULTIPLEXING[name]) if within(found, *others)]


@pytest.mark.parametrize("name", CLIENT)
def test_the_client_imports_nothing_but_stubs_and_itself(name: str) -> None:
    others = ("backup_sharing", "restmap_gateway", "backupsharing.commands", "programkit", "tests")
    assert not [found for found in imports(CLIENT[name]) if within(found, *others)]


@pytest.mark.parametrize("name", RESTMAP)
def test_restmap_imports_nothing_of_ours_but_its_stubs(name: str) -> None:
    others = ("backup_sharing", "restmap_gateway", "programkit", "backupsharing", "tests")
    assert not [found for found in imports(RESTMAP[name]) if within(found, *others)]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_for_people_import_nothing_but_the_client(name: str) -> None:
    others = ("backup_sharing", "restmap_gateway", "backupsharing.v2", "programkit", "tests", "restmap")
    assert not [found for found in imports(COMMANDS[name]) if within(found, *others)]


@pytest.mark.parametrize("name", [name for name in SERVER if not within(name, "backup_sharing.identity")])
def test_identity_services_are_spoken_to_only_inside_identity(name: str) -> None:
    assert not [found for found in imports(SERVER[name]) if within(found, "aiohttp")]


@pytest.mark.parametrize("name", [name for name in BOTH if not within(name, "backup_sharing.store")])
def test_drivers_are_imported_only_inside_the_store(name: str) -> None:
    assert not [
        found for found in imports(BOTH[name]) if within(found, "sqlite3", "sqlite_utils", "psycopg", "psycopg_pool")
    ]


MEASURES = ("backup_sharing.metrics", "restmap_gateway.metrics")


@pytest.mark.parametrize("name", [name for name in BOTH if not within(name, *MEASURES)])
def test_prometheus_is_known_only_to_the_metrics(name: str) -> None:
    """All other rooms report to a protocol of their own; each app makes the registry that is scraped."""
    found = {found for found in imports(BOTH[name]) if within(found, "prometheus_client")}
    assert found <= ({"prometheus_client", "prometheus_client.CollectorRegistry"} if name.endswith(".app") else set())


TRACES = ("programkit.tracing.otel", "programkit.tracing.exporting")
"""The only modules that import OpenTelemetry: an extra, which a program imports only when it sends traces."""


@pytest.mark.parametrize("name", ALL)
def test_opentelemetry_is_imported_only_where_traces_are_sent(name: str) -> None:
    found = [found for found in imports(ALL[name]) if within(found, "opentelemetry")]
    assert bool(found) == (name in TRACES)


@pytest.mark.parametrize("name", [name for name in ALL if name not in TRACES])
def test_modules_of_traces_are_imported_only_inside_functions(name: str) -> None:
    tree = ast.parse(ALL[name].read_bytes())
    at_start = {one.module for one in tree.body if isinstance(one, ast.ImportFrom)}
    assert not at_start & set(TRACES)


RECORDS_TRACES = ("rpc", "app", "running")


@pytest.mark.parametrize("name", SERVER)
def test_spans_are_begun_and_ended_only_in_rpc(name: str) -> None:
    if not within(_in_server(name), *RECORDS_TRACES, "__main__"):
        assert not [found for found in imports(SERVER[name]) if within(found, "programkit.tracing")]


KNOWS_ENGINES = (
    "store.opening",
    "store.sqlite",
    "store.postgres",
    "store.transfer",
    "store.examination",
    "admin.moving",
)


@pytest.mark.parametrize("name", SERVER)
def test_engines_are_known_only_where_databases_are_opened(name: str) -> None:
    if within(_in_server(name), *KNOWS_ENGINES):
        return
    engines = ("backup_sharing.store.sqlite", "backup_sharing.store.postgres")
    assert not [found for found in imports(SERVER[name]) if within(found, *engines)]


def test_checkpoints_and_connections_are_made_in_one_place_each() -> None:
    files = (ROOT / "server").rglob("*.py")
    lines = [(path.name, line) for path in files for line in path.read_text("utf-8").splitlines()]
    assert {name for name, line in lines if "PRAGMA wal_checkpoint" in line} == {"checkpoint.py"}
    opened = {name for name, line in lines if re.search(r'sqlite3\.connect\((?!":memory:")', line)}
    assert opened == {"connection.py"}


SPEAKS_GRPC = ("rpc", "app", "admin.importing", "admin.demo", "admin.demo_example", "admin.backup_line")


@pytest.mark.parametrize("name", SERVER)
def test_grpc_and_stubs_are_imported_only_in_rpc_and_clients(name: str) -> None:
    if within(_in_server(name), *SPEAKS_GRPC):
        return
    found = set(imports(SERVER[name]))
    assert not [one for one in found if re.fullmatch(r"grpc(_\w+)?(\..*)?|.*_pb2(_grpc)?(\..*)?", one)]


BELOW_ENGINES = (
    "store.interface store.engine store.change store.waiter store.rows store.listing store.migrations store.progress"
    " store.breakdown store.unusable store.history store.observing"
)
"""Modules that all engines share."""

ARROWS = {
    "model": "",
    "errors": "model",
    "timers": "",
    "exit_status": "",
    "logs": "",
    "listening": "",
    "fair_queue": "errors",
    "rules": "model errors rules",
    "store.interface": "model rules.commands store.history.retention",
    "store.file_system": "store.unusable",
    "store.sqlite": f"model errors rules {BELOW_ENGINES} store.file_system store.sqlite",
    "store.postgres": f"model errors rules {BELOW_ENGINES} store.postgres",
    "store.transfer": f"model {BELOW_ENGINES} store.file_system store.opening store.sqlite store.postgres"
    " store.transfer",
    "store.examination": "store",
    "store.opening": "store",
    "store": f"model errors timers rules {BELOW_ENGINES} store.queue store.readiness",
    "metrics": "model fair_queue identity rpc store.batched store.listing store.observing usecases metrics",
    "identity.configured": "config identity model",
    "identity": "model errors fair_queue identity",
    "usecases.census": "errors store.listing",
    "usecases": "model errors timers rules store.interface usecases",
    "rpc": "model errors rules.commands store.interface identity.interface usecases fair_queue timers rpc",
    "readyz": "identity.state rpc.health store.batched",
    "password_advice": "",
    "config": "usecases.policy store.opening password_advice",
    "gateway_program": "",
    "admin.demo_example": "",
    "admin.arguments": "password_advice",
    "admin.permissions": "usecases.policy",
    "admin.tokens": "errors identity.token_file usecases.policy usecases.checks",
    "admin.cli": "",
    "admin.settings": "",
    "admin.demo": "admin.demo_example identity.static errors listening exit_status",
    "admin.doctor.command": "config gateway_program admin.doctor",
    "admin.doctor": (
        "config admin.doctor identity.configured identity.token_file store.examination store.opening store.unusable"
    ),
    "admin.backup_line": "",
    "admin.importing": "admin.backup_line",
    "admin.migrating": "store.opening store.migrations store.unusable",
    "admin.events": (
        "errors model admin.migrating store.batched store.interface store.opening store.unusable usecases.cursor"
    ),
    "admin.purge": (
        "errors model admin.migrating admin.moving store.batched store.interface store.opening store.unusable"
        " usecases.cursor usecases.purger"
    ),
    "admin.moving": "store.opening store.transfer admin.migrating store.progress store.sqlite.backup store.unusable",
}
"""Allowed imports of each part of the server; the first match counts. App, ``running`` and ``__main__`` use all."""


def _in_server(name: str) -> str:
    return name.removeprefix("backup_sharing.").removesuffix(".__init__")


@pytest.mark.parametrize("name", SERVER)
def test_the_arrows_of_the_server_point_inwards(name: str) -> None:
    room = next((room for room in ARROWS if within(_in_server(name), room)), None)
    if room is None:
        assert _in_server(name) in {"__init__", "__main__", "app", "admin", "running"}, f"{name} has no entry"
        return
    ours = {_in_server(found) for found in imports(SERVER[name]) if found in SERVER}
    assert {found for found in ours if not within(found, *ARROWS[room].split())} == set()


GATEWAY_ARROWS = {
    "errors": "",
    "program": "",
    "json_map": "errors json_map",
    "schema": "errors json_map schema",
    "upstream": "errors upstream",
    "config": "program schema.header_check upstream.resolver",
    "doctor": "config upstream",
    "crossing": "errors schema upstream.reply crossing",
    "transcode": "errors json_map schema crossing upstream.reply upstream.server_stream upstream.upstream transcode",
    "http": "errors crossing transcode http",
    "metrics": "errors transcode.stream http upstream metrics",
    "openapi": "errors json_map schema crossing transcode.failures transcode.pages openapi",
}
"""Allowed imports of each part of the gateway. The app, ``running`` and ``__main__`` use all parts."""


def _in_gateway(name: str) -> str:
    return name.removeprefix("restmap_gateway.").removesuffix(".__init__")


@pytest.mark.parametrize("name", GATEWAY)
def test_the_arrows_of_the_gateway_point_inwards(name: str) -> None:
    room = next((room for room in GATEWAY_ARROWS if within(_in_gateway(name), room)), None)
    if room is None:
        assert _in_gateway(name) in {"__init__", "__main__", "app", "running"}, f"{name} has no entry"
        return
    known = {*GATEWAY, *(found.removesuffix(".__init__") for found in GATEWAY)}
    ours = {_in_gateway(found) for found in imports(GATEWAY[name]) if found in known} - {"restmap_gateway"}
    assert {found for found in ours if not within(found, *GATEWAY_ARROWS[room].split())} == set()


def test_no_arrow_of_the_gateway_leads_back() -> None:
    before: set[str] = set()
    for room, others in GATEWAY_ARROWS.items():
        assert {other for other in others.split() if not within(other, room, *before)} == set(), room
        before.add(room)


MOST_MODULES = 15


@pytest.mark.parametrize("folder", sorted({path.parent for path in ALL.values()}), ids=lambda path: path.name)
def test_no_folder_has_more_modules_than_a_reader_can_take_in(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


ALLOWED = {
    "name": "descriptors, parameters and headers have names",
    "status": "of HTTP and of gRPC",
    "description": "of what is wrong with a request or a descriptor set",
    "detail": "of a google.rpc.Status",
    "container": "of the elements of a repeated field, as protobuf calls it",
    "count": "how often something is there, as in str.count",
    "offset": "of a time zone, and what the option offset_paging is about",
    "limit": "what the option offset_paging is about",
    "id": "what traces a request",
    "size": "of a body",
    "request_id": "the id that a gateway gives to each request",
    "time": "of a clock",
    "start_time": "when a span began, an argument of OpenTelemetry",
    "event": "a server-sent event, and of asyncio",
    "events": "server-sent events",
    "kind": "of a field or a failure",
    "allowed": "the only values of a field, an option of restmap",
    "watch": "to look at certificates, servers or connections again and again",
    "checks": "of a request or a schema",
    "INTERNAL": "a gRPC code",
    "UNAVAILABLE": "a gRPC code",
}
"""API names that have another meaning in the gateway, each with that meaning."""


def names_of_the_api() -> set[str]:
    """Return every identifier, path segment and code of the sharing API in our descriptor set."""
    pool, names = DescriptorPool(), set[str]()
    for proto in FileDescriptorSet.FromString(IMAGE.read_bytes()).file:
        file = pool.AddSerializedFile(proto.SerializeToString())
        if file.package.startswith("backupsharing"):
            names |= {file.package, *file.package.split(".")}
            names |= set(_names_of_file(file))
    return names


def _names_of_file(file: FileDescriptor) -> Iterator[str]:
    for message in file.message_types_by_name.values():
        yield from _names_of_message(message)
    for enum in file.enum_types_by_name.values():
        yield from _names_of_enum(enum)
    for service in file.services_by_name.values():
        yield from _names_of_service(service)
    mapping = file.GetOptions().Extensions[restmap_pb2.file]
    yield from (domain.domain for domain in mapping.error_domains)
    yield from (code for _, code in mapping.failure_codes.ListFields())


def _names_of_message(message: Descriptor) -> Iterator[str]:
    yield message.name
    for field in message.fields:
        option = field.GetOptions().Extensions[restmap_pb2.field]
        yield from (field.name, *option.query_aliases)
        if option.header:
            yield option.header
    for nested in message.nested_types:
        yield from _names_of_message(nested)
    for enum in message.enum_types:
        yield from _names_of_enum(enum)


def _names_of_enum(enum: EnumDescriptor) -> Iterator[str]:
    yield enum.name
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    for value in enum.values:
        yield from (value.name, value.name.removeprefix(prefix))
        code = value.GetOptions().Extensions[restmap_pb2.reason].code
        if code:
            yield code


def _names_of_service(service: ServiceDescriptor) -> Iterator[str]:
    yield service.name
    for method in service.methods:
        yield method.name
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        for one in (rule, *rule.additional_bindings):
            template = getattr(one, one.WhichOneof("pattern") or "custom")
            yield from (segment for segment in str(template).split("/") if segment and not segment.startswith("{"))
        links = method.GetOptions().Extensions[restmap_pb2.method].offset_paging.links_member
        if links:
            yield links


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every name, string and comment of a module."""
    kinds = {tokenize.NAME, tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in kinds:
            yield token.start[0], token.string


@pytest.mark.parametrize("name", [*GATEWAY, *KIT])
def test_the_gateway_knows_no_name_of_the_sharing_api(name: str) -> None:
    forbidden = sorted(names_of_the_api() - set(ALLOWED), key=len, reverse=True)
    pattern = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(map(re.escape, forbidden))})(?![A-Za-z0-9_])")
    found = [(line, match[0]) for line, text in words(ALL[name]) for match in pattern.finditer(text)]
    assert found == []


OF_OPENSTACK = re.compile(
    r"openstack|keystone|x-auth-token|x-service-token|x-subject-token|x-project-|x-user-|x-domain-|x-roles"
    r"|x-identity-status|\breq-|\b(nova|cinder|glance|vbs)\b|backup[-_]?sharing",
    re.IGNORECASE,
)
"""Words of OpenStack, and the names of this service's programs."""


@pytest.mark.parametrize(
    "path", sorted(path for path in (ROOT / "gateway").rglob("*.*") if path.suffix in (".py", ".md", ".toml"))
)
def test_the_gateway_knows_no_word_of_openstack(path: Path) -> None:
    assert OF_OPENSTACK.findall(path.read_text(encoding="utf-8")) == []


def test_every_allowed_word_is_needed() -> None:
    paths = (*GATEWAY.values(), *KIT.values())
    used = {word for path in paths for _, text in words(path) for word in re.findall(r"\w+", text)}
    assert set(ALLOWED) - (used & names_of_the_api()) == set()


def test_the_names_that_are_searched_for_are_all_kinds_of_names() -> None:
    names = names_of_the_api()
    assert {
        *("backupsharing", "ShareBackup", "BackupSharingService", "to_project_ids", "avalilability_zone", "v2"),
        *("os-vendor-backup-sharing", "detail", "VolumeBackup.0204", "BackupSharing.0504", "shared_links"),
        *("ERROR_REASON_ALREADY_SHARED", "ALREADY_SHARED", "ConflictPolicy", "Idempotency-Key"),
    } <= names


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def methods_of(node: ast.ClassDef) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the public methods of a class by name."""
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {one.name: one for one in methods if not one.name.startswith("_")}


def public(tree: ast.Module) -> Iterator[Documented]:
    """Yield the module, its public functions and classes, and the public methods that no Protocol documents."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                members = members_of(node)
                yield from (one for name, one in methods_of(node).items() if not is_promised(name, members))


def members_of(node: ast.ClassDef) -> Set[str]:
    """Return the names of a class's methods, and of the attributes that its body and its methods set."""
    attributes = (one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store))
    of_body = (ast.unparse(one.target) for one in node.body if isinstance(one, ast.AnnAssign))
    return methods_of(node).keys() | {one.attr for one in attributes} | set(of_body)


def is_promised(name: str, members: Set[str]) -> bool:
    """Return whether a class with these members implements a Protocol that documents the named method."""
    return any(name in documented and every <= members for every, documented in PROTOCOLS)


def protocols() -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """Yield the names of all methods of each Protocol of ours, and of those with a docstring."""
    for path in ALL.values():
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
                methods = methods_of(node)
                yield frozenset(methods), frozenset(name for name, one in methods.items() if ast.get_docstring(one))


PROTOCOLS = [(every, documented) for every, documented in protocols() if len(every) > 1]
"""Protocols of one method are left out: any class may have a method of that name by chance."""


@pytest.mark.parametrize("name", ALL)
def test_every_module_and_public_name_says_what_it_promises(name: str) -> None:
    tree = ast.parse(ALL[name].read_bytes())
    assert [getattr(node, "name", name) for node in public(tree) if not ast.get_docstring(node)] == []


def test_names_of_tests_have_at_most_sixty_characters() -> None:
    names = (
        name
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    )
    assert [name for name in names if len(name) > 60] == []
