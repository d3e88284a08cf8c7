"""How a mapping of options is spelt on the command line: key=value, as often as wanted."""

from __future__ import annotations

from collections.abc import Mapping

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from metaweight.core.options import Options, parse_options, spelt_options

key_value = ConstructorRegistry()


@key_value.primitive_rule
def _options(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Options] | None:
    if info.type != Options:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[KEY=VALUE ...]",
        instance_from_str=parse_options,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=spelt_options,
    )
