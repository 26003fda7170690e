"""Components: the one way to extend radfuse.

A *family* is an abstract direct subclass of `Component` (`FusionMethod`, `Harmonizer`, ...). A *member* is a
final subclass whose ``method: Literal["name"] = "name"`` is its registration, in a file of the same name inside
the family's package. Writing that file is the whole change: the member validates, is listed by `radfuse list`,
can be named in a config, and is covered by its family's contract tests.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, PlainSerializer, SerializationInfo, ValidationError
from pydantic_core import CoreSchema, core_schema

LONGEST = 200
"""Characters of a rejected value that an error shows."""


BY_CONTENT = "by content"
"""The context in which settings are dumped for a key."""

SHIPPED = "shipped"


def _wherever(path: str, info: SerializationInfo) -> str:
    return BY_CONTENT if info.context == BY_CONTENT and path not in ("", SHIPPED) else path


KnownFile = Annotated[str, PlainSerializer(_wherever)]
"""A file whose SHA-256 stands in the setting beside it: results are remembered by that, wherever the file lies."""


class Frozen(BaseModel):
    """A value object read from YAML: frozen, refuses unknown keys, defaults are validated."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, serialize_by_alias=True)


class Stage(Frozen):
    """The settings of one stage and the call that does its work.

    ``name`` is the verb of the command line. ``version`` is raised by hand when the stage's numbers change, so
    that results of an older version are computed again.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that decide results, for their keys: a file counts by its SHA-256, not by where it lies."""
        return self.model_dump(mode="json", context=BY_CONTENT)


def describe(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Say each fault of a rejected config in one line: where, what was found, what was meant.

    Parameters
    ----------
    error : what pydantic raised for ``model``.
    model : where the places in the error start.
    """
    lines = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, fault["loc"][:-1])
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            lines.append(f"{place}: unknown setting{meant}")
        elif fault["type"] == "value_error":
            said = str(fault["msg"]).removeprefix("Value error, ")
            lines.append(f"{place}: {said}" if place else said)  # a fault of several settings together has no place
        elif fault["type"] == "missing":
            lines.append(f"{place}: must be given")
        else:
            place, meaning = _setting_at(model, fault["loc"])
            found = repr(fault["input"])  # of a file that is no JSON it is all of the file
            found = found if len(found) <= LONGEST else f"{found[:LONGEST]}..."
            lines.append(f"{place}: {fault['msg']}; found {found}{meaning}" if place else str(fault["msg"]))
    # A setting that may be one of several kinds gives a fault per kind; the first says enough.
    return list({line.partition(":")[0]: line for line in reversed(lines)}.values())[::-1]


def _setting_at(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[str, str]:
    """Give the setting that a fault is about, without pydantic's own additions, and what the setting means."""
    named: list[str] = []
    meaning = ""
    for part in place:
        field = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        if field is None:
            break
        named.append(str(part))
        meaning = f" ({field.description})" if field.description else ""
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return (".".join(named), meaning) if named else (".".join(map(str, place)), "")


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return list(model.model_fields)
        model = inner
    return list(model.model_fields)


class Component(Frozen):
    """A named, typed, frozen choice inside a family."""

    _known: ClassVar[dict[str, type["Component"]]]

    method: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls._is_family():
            cls._known = {}
            return
        default = cls.model_fields["method"].default
        if isinstance(default, str):
            cls._known[default] = cls

    @classmethod
    def members(cls) -> dict[str, type[Self]]:
        """Give every member of this family by name, importing the family's package to find them."""
        for name in cls._files():
            importlib.import_module(f"{cls._package()}.{name}")
        return {name: cls._known[name] for name in sorted(cls._known)}  # type: ignore[misc]

    @classmethod
    def choose(cls, value: object) -> Self:
        """Turn a name or a mapping with a ``method`` key into a validated member.

        Raises ``ValueError`` naming the known methods; pydantic adds the place in the config.
        """
        if isinstance(value, cls):
            return value
        settings = {"method": value} if isinstance(value, str) else value
        if not isinstance(settings, Mapping) or not isinstance(settings.get("method"), str):
            raise ValueError(f"name a method: one of {', '.join(cls.members())}; found {value!r}")
        name = settings["method"]
        if name not in cls._known and name in cls._files():
            importlib.import_module(f"{cls._package()}.{name}")
        if name not in cls._known:
            close = difflib.get_close_matches(name, cls.members(), n=1)
            meant = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(f"unknown method {name!r}{meant} Known: {', '.join(cls.members())}")
        try:
            return cls._known[name].model_validate(dict(settings))  # type: ignore[return-value]
        except ValidationError as error:
            raise ValueError("; ".join([*describe(error, cls._known[name]), *cls._of_others(error, name)])) from error

    @classmethod
    def _of_others(cls, error: ValidationError, name: str) -> list[str]:
        """Say of which method the settings are that a method does not know: it was changed, and they were left."""
        strange = [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
        unknown = [str(place[0]) for place in strange if len(place) == 1]  # deeper ones are of a setting that it knows
        others = [m for m, member in cls.members().items() if unknown and set(unknown) <= set(member.model_fields)]
        if not others:
            return []
        are = "is a setting" if len(unknown) == 1 else "are settings"
        return [
            f"{', '.join(unknown)} {are} of {', '.join(others)}; to change the method give all of it anew, without: "
            f"{name}, or {{method: {name}, ...}}"
        ]

    @classmethod
    def _is_family(cls) -> bool:
        # A family sits directly on Component, which sits directly on Frozen.
        return cls.__mro__[2] is Frozen

    @classmethod
    def _package(cls) -> str:
        """The package whose files are the family's members: where the family itself is defined."""
        module = importlib.import_module(cls.__module__)
        return module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]

    @classmethod
    def _files(cls) -> list[str]:
        package = importlib.import_module(cls._package())
        return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if not found.ispkg)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls._is_family():
            return handler(source)
        # A field typed with the family accepts any member and dumps all of that member's settings;
        # pydantic's default would dump the family's fields only, and two settings would share one cache key.
        return core_schema.no_info_plain_validator_function(
            cls.choose,
            serialization=core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True),
        )


def _dump(member: Component, info: SerializationInfo) -> dict[str, Any]:
    return member.model_dump(mode=info.mode, context=info.context)
