"""From the command line to `main`: flags, help, and one sentence for what the user can mend."""

import importlib
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable

from absl import flags
from absl import logging as absl_logging

from tvrl_jax import settings
from tvrl_jax.errors import UserError, closest, nearest

FLAGS = flags.FLAGS
OWN = ("config", "workdir", "resume", "checkpoint", "step")
KEY = re.compile(r"^\s*c\.([\w.]+) = (.+?)  # (.+)$", re.MULTILINE)


def run(main: Callable[[], None], *, doc: str, required: tuple[str, ...], template: str) -> None:
    """Parses flags, runs `main` and exits: 0 done, 2 the user can mend it, 1 a bug.

    Args:
      main: reads absl flags.
      doc: the script's docstring, which is its help.
      required: flags that must be given.
      template: module whose `get_config()` holds every key that a configuration must have.
    """
    _set_up_logging()
    try:
        if {"--help", "-h", "-help", "--helpfull"} & set(sys.argv[1:]):
            print(_help(doc, template))
            sys.exit(0)
        _parse(required, template)
        _set_up_jax()
        main()
    except UserError as error:
        sys.exit(_say(error))


def _say(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _help(doc: str, template: str) -> str:
    own = [FLAGS[name] for name in OWN if name in FLAGS]
    lines = [f"  --{flag.name:<12} {flag.help.splitlines()[0]}" for flag in own]
    source = inspect.getsource(importlib.import_module(template))
    keys = [f"  --config.{k}={v:<14} {what}" for k, v, what in KEY.findall(source)]
    return "\n".join([doc.strip(), "", "Flags:", *lines, "", "Settings and their defaults:", *keys])


def _parse(required: tuple[str, ...], template: str) -> None:
    try:
        rest = FLAGS(sys.argv)
        missing = [name for name in required if not getattr(FLAGS, name)]
        given = {} if "config" in missing else dict(FLAGS.config)  # a file that failed says so here
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"there is no flag --{error.flagname}.{_near_flag(error)}") from error
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(f"{_first_line(error)}.") from error
    except (AttributeError, KeyError) as error:
        raise UserError(_unknown_key(error, template)) from error
    except OSError as error:
        raise UserError(f"--config: {_config_file()} cannot be read; see configs/.") from error
    if len(rest) > 1:
        raise UserError(f'"{rest[1]}" is not understood: write flags as --name=value.')
    if missing:
        raise UserError(f"--{missing[0]} is missing; see --help.")
    whole = importlib.import_module(template).get_config()
    settings.check_sections(given, whole)


def _config_file() -> str:
    given = [a.split("=", 1)[1] for a in sys.argv[1:] if a.startswith("--config=")]
    return given[-1].split(":")[0] if given else "the file"


def _near_flag(error: flags.UnrecognizedFlagError) -> str:
    return nearest(error.flagname, [name for name in OWN if name in FLAGS])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _unknown_key(error: Exception, template: str) -> str:
    given = [a for a in sys.argv[1:] if a.startswith(("--config.", "--noconfig."))]
    whole = importlib.import_module(template).get_config()
    known = {name for name, _ in settings.leaves(whole)}
    for argument in given:
        key = argument.split("=")[0].split("config.", 1)[1]
        if key not in known and not key.startswith("objective."):
            near = closest(key, known)
            return f"--config.{key}: there is no such key." + (
                f' Did you mean "{near}"?' if near else " See --help."
            )
    return f"--config: {_first_line(error)}."


def _set_up_logging() -> None:
    """Our own sentences on stderr; of the libraries' (Orbax writes dozens a save) only warnings."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("tvrl_jax")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _set_up_jax() -> None:
    """A compilation cache that outlives the process, as the configuration says."""
    cache = FLAGS.config.log.compilation_cache if "log" in FLAGS.config else ""
    if cache:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
