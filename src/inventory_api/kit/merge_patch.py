"""JSON Merge Patch, RFC 7396 section 2."""

from inventory_api.kit.json import JsonValue


def merge(target: JsonValue, patch: JsonValue) -> JsonValue:
    """`target` with `patch` applied: objects merge, null removes, everything else replaces.

    Neither argument is changed. Input from the wire is at most `kit.json.MAX_DEPTH` deep.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
