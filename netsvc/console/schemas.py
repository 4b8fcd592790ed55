"""The machine schemas by name, and as JSON Schema (quiet)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.console.carriertables import CARRIER, CARRIER_SETTING
from netsvc.console.healthtables import HEALTH
from netsvc.console.livetables import BLOCK, KICK, LISTENER, SESSION, SESSION_SUMMARY, TRACE
from netsvc.console.nametables import DNS, DNS_CACHE, GREYLIST
from netsvc.console.policytables import LIMIT, LISTED, POLICY, POLICY_SETTING
from netsvc.console.recipienttables import ADDRESS, ALIAS, DOMAIN, RECIPIENTS
from netsvc.console.routetables import CREDENTIAL, ROUTE, STEP
from netsvc.console.securitytables import CERTIFICATE, GRANT, LOCK
from netsvc.console.tables import (
    ATTEMPT,
    AUDIT,
    CHANGE,
    COUNT,
    DESTINATION,
    FIELD,
    HISTORY,
    ITEM,
    JOB,
    MAIL,
    MAIL_SOURCE,
    MAILBOX,
    MESSAGE,
    MESSAGE_SOURCE,
    REASON,
    SUMMARY,
    TERMINAL,
    TEXT,
    USER,
    VERSION,
    WHOAMI,
)
from netsvc.console.tlstables import TLS_POLICY

if TYPE_CHECKING:
    from netsvc.commands import Table

TABLES = {
    table.schema.partition("/")[0]: table
    for table in (
        *(ITEM, SUMMARY, REASON, MESSAGE, ATTEMPT, HISTORY, MAILBOX, MAIL, MAIL_SOURCE, MESSAGE_SOURCE),
        *(SESSION, SESSION_SUMMARY, TRACE, KICK, BLOCK, LISTENER),
        *(DESTINATION, JOB, AUDIT, DOMAIN, ALIAS, USER, VERSION, WHOAMI, TERMINAL, TEXT, COUNT, CHANGE, FIELD),
        *(ADDRESS, RECIPIENTS, CERTIFICATE, GRANT, LOCK),
        *(POLICY, POLICY_SETTING, LIMIT, LISTED, HEALTH, DNS, DNS_CACHE, GREYLIST),
        *(CARRIER, CARRIER_SETTING, ROUTE, STEP, CREDENTIAL, TLS_POLICY),
    )
}
"""Every table by its schema's name without the version."""

_JSON_TYPES: dict[str, Any] = {
    "time": {"type": ["string", "null"], "format": "date-time"},
    "duration": {"type": ["number", "null"], "description": "seconds"},
    "size": {"type": ["integer", "null"], "description": "octets"},
    "int": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "bool": {"type": ["boolean", "null"]},
    "list": {"type": ["array", "null"]},
    "rows": {"type": ["array", "null"]},
    "map": {"type": ["object", "null"]},
    "base64": {"type": ["string", "null"], "contentEncoding": "base64"},
}


def json_schema(table: Table) -> dict[str, Any]:
    """Return the JSON Schema of the table's rows in machine mode."""
    properties = {}
    for column in table.fields:
        shape = dict(_JSON_TYPES.get(column.type, {"type": ["string", "null"]}))
        if column.words:
            shape["enum"] = [*column.words, None]
        if column.inner is not None:
            shape["items"] = json_schema(column.inner)
        if column.help:
            unit = shape.get("description")
            shape["description"] = f"{column.help} ({unit})" if unit else column.help
        properties[column.name] = shape
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": table.schema,
        "description": table.help,
        "type": "object",
        "properties": properties,
        "required": [column.name for column in table.fields],
    }
