"""Triton's protocol as `.proto` files, written from what tritonclient was generated from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from tritonclient.grpc import model_config_pb2, service_pb2


def write_protocol(directory: Path) -> None:
    """Write `grpc_service.proto` and `model_config.proto`, without comments and ``oneof``."""
    for module, name in ((service_pb2, "grpc_service"), (model_config_pb2, "model_config")):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        (directory / f"{name}.proto").write_text("\n".join(_file(file)))


def _file(file: FileDescriptorProto) -> Iterator[str]:
    yield 'syntax = "proto3";'
    yield f"package {file.package};"
    yield from (f'import "{each}";' for each in file.dependency)
    for service in file.service:
        yield f"service {service.name} {{"
        for method in service.method:
            taken, given = (
                f"{'stream ' * streams}{kind}"
                for streams, kind in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            )
            yield f"rpc {method.name}({taken}) returns ({given});"
        yield "}"
    for message in file.message_type:
        yield from _message(message)
    for enum in file.enum_type:
        yield from _enum(enum)


def _message(message: DescriptorProto) -> Iterator[str]:
    yield f"message {message.name} {{"
    entries = {each.name: each for each in message.nested_type if each.options.map_entry}
    for nested in message.nested_type:
        if nested.name not in entries:
            yield from _message(nested)
    for enum in message.enum_type:
        yield from _enum(enum)
    for field in message.field:
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            kind = f"map<{', '.join(_type(each) for each in entry.field)}>"
        else:
            repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
            kind = f"{'repeated ' * repeated}{_type(field)}"
        yield f"{kind} {field.name} = {field.number};"
    yield "}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    values = " ".join(f"{each.name} = {each.number};" for each in enum.value)
    yield f"enum {enum.name} {{ {values} }}"


def _type(field: FieldDescriptorProto) -> str:
    name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return field.type_name or name
