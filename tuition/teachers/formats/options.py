"""A wire format's own options, `teacher.options`: a free section of `params.yaml`, checked against the format's schema."""

from typing import TypeVar

from pydantic import ValidationError

from tuition.errors import UserError, unknown
from tuition.params.bounds import Section
from tuition.params.teacher import ServerSettings

Schema = TypeVar("Schema", bound=Section)


def parse_options(schema: type[Schema], settings: ServerSettings) -> Schema:
    """`settings.options` as a `schema`. UserError names each key that is unknown or of a wrong type."""
    for name in settings.options:
        if name not in schema.model_fields:
            raise unknown("teacher.options", name, schema.model_fields, f"(teacher.kind is {settings.kind!r})")
    try:
        return schema.model_validate(settings.options)
    except ValidationError as error:
        lines = [
            f"teacher.options.{'.'.join(map(str, one['loc']))}: found {one['input']!r}: {one['msg']}"
            for one in error.errors()
        ]
        raise UserError("; ".join(lines)) from None
